// The charts of the resources page, all from /api/performance/resources.

import { register } from "./charts.js";

const seconds = (time) => Date.parse(time) / 1000;
const UNITS = { percent: "share", bytes: "bytes", duration: "ms", "bytes/s": "bytes", count: "count" };
const NOTHING = "No data in this period.";

const FACTORS = { duration: 1 / 1000, percent: 1 / 100 }; // to milliseconds and shares

/** Return the x axis, and a function for the values of a resource along it. */
function along(answer) {
  const x = answer.timestamps.map(seconds);
  const of = (name) => answer.resources.find((one) => one.name === name);
  const values = (name) => {
    const one = of(name);
    if (!one) return x.map(() => null);
    const factor = FACTORS[one.unit] ?? 1;
    return one.values.map((value) => (value === null ? null : value * factor));
  };
  return { x, of, values, range: [seconds(answer.timeRange.since), seconds(answer.timeRange.until)] };
}

register("resource", (answer, figure) => {
  const { x, of, values, range } = along(answer);
  const name = figure.id.slice("chart-".length);
  const one = of(name);
  const series = [{ label: one?.title ?? name, values: values(name), colour: "p50", width: 2, area: true }];
  return { x, range, unit: UNITS[one?.unit] ?? "count", empty: NOTHING, series };
});

register("network", (answer) => {
  const { x, values, range } = along(answer);
  const series = [
    { label: "sent per s", values: values("sent"), colour: "p50", width: 2 },
    { label: "received per s", values: values("received"), colour: "p99", width: 2 },
  ];
  return { x, range, unit: "bytes", empty: NOTHING, series };
});
