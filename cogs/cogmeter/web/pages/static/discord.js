// The charts of the Discord page, all from /api/performance/gauges.

import { register } from "./charts.js";

const COLOURS = ["p50", "p99", "healthy", "p95"];
const seconds = (time) => Date.parse(time) / 1000;

/** Return one x axis for gauges with different sample times, and a function for a gauge's values along it. */
function aligned(answer) {
  const times = new Set(Object.values(answer.gauges).flatMap((one) => one.timestamps));
  const x = [...times].map(seconds).sort((a, b) => a - b);
  const place = new Map(x.map((at, number) => [at, number]));
  const along = (name, which = "mean") => {
    const values = new Array(x.length).fill(null);
    const gauge = answer.gauges[name];
    gauge?.timestamps.forEach((time, number) => (values[place.get(seconds(time))] = gauge[which][number]));
    return values;
  };
  return { x, along, range: [seconds(answer.timeRange.since), seconds(answer.timeRange.until)] };
}

const NOTHING = "No data in this period.";

register("shards", (answer) => {
  const { x, along, range } = aligned(answer);
  const names = Object.keys(answer.gauges).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const alone = names.length === 1;
  const series = names.map((name, number) => ({
    label: `shard ${name.split("_").at(-1)}`,
    values: along(name),
    colour: COLOURS[number % COLOURS.length],
    width: 2,
  }));
  if (alone) series.push({ label: "highest", values: along(names[0], "highest"), colour: "p95", width: 1 });
  return { x, range, unit: "ms", empty: NOTHING, series, bands: alone ? [[1, 0, "p50"]] : [] };
});

register("lag", (answer) => {
  const { x, along, range } = aligned(answer);
  return {
    x,
    range,
    unit: "ms",
    log: true,
    empty: NOTHING,
    series: [
      { label: "p50", values: along("loop.lag_p50_ms"), colour: "p50", width: 2 },
      { label: "p99", values: along("loop.lag_p99_ms"), colour: "p99", width: 2 },
      { label: "longest", values: along("loop.lag_max_ms", "highest"), colour: "failed", width: 1 },
    ],
  };
});

register("limits", (answer) => {
  const { x, along, range } = aligned(answer);
  // A limit that was never hit has no line at 0, which would hide the others.
  const hit = (name) => {
    const shown = along(name, "highest");
    return { shown, values: shown.some((value) => value > 0) ? shown : shown.map(() => null) };
  };
  return {
    x,
    range,
    unit: "count",
    least: 5,
    empty: x.length ? "No rate limits hit in this period." : NOTHING,
    series: [
      { label: "per bot", ...hit("rest.rate_limited.user"), colour: "p50", width: 2 },
      { label: "shared", ...hit("rest.rate_limited.shared"), colour: "p95", width: 1.5 },
      { label: "global", ...hit("rest.rate_limited.global"), colour: "failed", width: 2 },
    ],
  };
});

register("memory", (answer) => {
  const { x, along, range } = aligned(answer);
  return {
    x,
    range,
    unit: "bytes",
    empty: NOTHING,
    series: [{ label: "memory", values: along("resources.memory_bytes"), colour: "p50", width: 2, area: true }],
  };
});
