// The kinds of charts that more than one page has. Each is a function of the API's answer and the figure that gives
// { x: [seconds], range: [since, until], unit, series: [{ label, values, colour, ... }] }, and of what is special:
// `log` (logarithmic when the values lie far apart), `least` (the axis reaches up to it at least), `bands`, `empty` (the
// words when there is nothing to draw), `days` (each value is of a day), `group` (charts that share the cursor).
// A series that is drawn otherwise than it is said, such as on top of others, gives what it says as `said`.

const seconds = (time) => Date.parse(time) / 1000;

/** What all charts of /api/performance/series have in common: each value stands in the middle of its step. */
function timeline(answer) {
  const edges = answer.timestamps.map(seconds);
  const step = answer.stepSeconds;
  const { since, until } = answer.timeRange;
  return {
    x: edges.map((at) => at + step / 2),
    // The last step is shown whole, also while it is still filling: its middle may lie ahead of now.
    range: [Math.min(seconds(since), ...edges.slice(0, 1)), Math.max(seconds(until), ...edges.slice(-1).map((at) => at + step))],
  };
}

/** Bars of nothing are not drawn, and still said. */
export const above = (values) => ({ values: values.map((value) => (value === 0 ? null : value)), said: values });

const latency = (answer) => ({
  ...timeline(answer),
  unit: "ms",
  log: true,
  series: [
    { label: "p50", values: answer.p50ResponseTime, colour: "p50", width: 2.5 },
    { label: "p95", values: answer.p95ResponseTime, colour: "p95", width: 1.5 },
    { label: "p99", values: answer.p99ResponseTime, colour: "p99", width: 2 },
  ],
  bands: [[1, 0, "p50"]],
});

/** Operations a minute; of a bot with little to do an hour or a day, so that there is something to see. */
function throughput(answer) {
  const most = Math.max(0, ...answer.operationsPerMinute);
  const [minutes, each] = most >= 1 ? [1, "a minute"] : most * 60 >= 1 ? [60, "an hour"] : [1440, "a day"];
  const times = (values) => above(values.map((value) => value * minutes));
  return {
    ...timeline(answer),
    unit: "count",
    series: [
      { label: `operations ${each}`, ...times(answer.operationsPerMinute), colour: "bars", bars: true },
      { label: "failed", ...times(answer.failuresPerMinute), colour: "failed", bars: true },
    ],
  };
}

const errors = (answer) => ({
  ...timeline(answer),
  unit: "share",
  least: 0.01,
  series: [
    {
      label: "error rate",
      values: answer.operationsPerMinute.map((all, place) => (all ? answer.failuresPerMinute[place] / all : null)),
      colour: "failed",
      area: true,
      width: 2,
    },
  ],
});

/** By name, as templates have it in data-chart. */
export const KINDS = { latency, throughput, errors };
