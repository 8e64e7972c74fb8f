// The kinds of charts of several pages. Each is a function of the API's response and the figure that returns
// { x: [seconds], range: [since, until], unit, series: [{ label, values, colour, ... }] }, and optionally:
// `log` (logarithmic when the values lie far apart), `least` (the smallest maximum of the axis), `bands`, `empty` (the
// text without data), `days` (each value is of a day in UTC), `step` (seconds that each value is of), `partial` (the
// last step is still filling), `group` (charts with this name share the cursor).
// The third argument is the response for the previous period, if it is shown: a series with `ghost` is of that period.
// A series whose drawn values differ from its values, such as a stacked one, has the latter in `shown`.

const seconds = (time) => Date.parse(time) / 1000;

/** The common part of charts of /api/performance/series: each value is drawn in the middle of its step. */
function timeline(answer) {
  const edges = answer.timestamps.map(seconds);
  const step = answer.stepSeconds;
  const [since, until] = [answer.timeRange.since, answer.timeRange.until].map(seconds);
  const ends = edges.slice(-1).map((at) => at + step);
  return {
    x: edges.map((at) => at + step / 2),
    step,
    partial: edges.length > 1 && ends[0] > until,
    // The last step is shown whole while it is still filling: its middle may lie in the future.
    range: [Math.min(since, ...edges.slice(0, 1)), Math.max(until, ...ends)],
  };
}

/** Zeros have no bar, but a value in the legend. */
export const above = (values) => ({ values: values.map((value) => (value === 0 ? null : value)), shown: values });

/** Return a series of the previous period at the times of this one; none without values. */
function ghost(answer, before, label, valuesOf) {
  if (!before) return [];
  const length = seconds(before.timeRange.until) - seconds(before.timeRange.since);
  const edges = before.timestamps.map(seconds);
  const past = valuesOf(before);
  const values = timeline(answer).x.map((at) => {
    const place = edges.findLastIndex((edge) => edge <= at - length);
    return place >= 0 && at - length < edges[place] + before.stepSeconds ? past[place] : null;
  });
  return values.some((value) => value) ? [{ label: `${label} before`, values, colour: "muted", ghost: true }] : [];
}

/** A threshold is drawn with the statistic that its rule judges: the average has a line of its own. */
const latency = (answer, figure, before) => ({
  ...timeline(answer),
  unit: "ms",
  log: true,
  series: [
    { label: "p50", values: answer.p50ResponseTime, colour: "p50", width: 2.5 },
    { label: "p95", values: answer.p95ResponseTime, colour: "p95", width: 1.5 },
    { label: "p99", values: answer.p99ResponseTime, colour: "p99", width: 2 },
    ...(figure.dataset.statistic === "average" ? [{ label: "average", values: answer.averageResponseTime, colour: "mean", width: 2.5 }] : []),
    ...ghost(answer, before, "p95", (one) => one.p95ResponseTime),
  ],
  bands: [[1, 0, "p50"]],
});

/** Operations per minute; per hour or day for a bot with little traffic. */
function throughput(answer, _figure, before) {
  const most = Math.max(0, ...answer.operationsPerMinute);
  const [minutes, each] = most >= 1 ? [1, "min"] : most * 60 >= 1 ? [60, "h"] : [1440, "day"];
  const times = (values) => above(values.map((value) => value * minutes));
  return {
    ...timeline(answer),
    unit: "count",
    series: [
      { label: `operations/${each}`, ...times(answer.operationsPerMinute), colour: "bars", bars: true },
      { label: "failed", ...times(answer.failuresPerMinute), colour: "failed", bars: true },
      ...ghost(answer, before, `operations/${each}`, (one) => one.operationsPerMinute.map((value) => value * minutes)),
    ],
  };
}

const failedShare = (answer) => answer.operationsPerMinute.map((all, place) => (all ? answer.failuresPerMinute[place] / all : null));

const errors = (answer, _figure, before) => ({
  ...timeline(answer),
  unit: "share",
  least: 0.01,
  series: [
    {
      label: "error rate",
      values: failedShare(answer),
      colour: "failed",
      area: true,
      width: 2,
    },
    ...ghost(answer, before, "error rate", failedShare),
  ],
});

/** Times to the first response. One that was missed has no time: a bar up to the limit shows that there were some. */
function responses(answer, figure) {
  const limit = Number(figure.dataset.limit);
  const missed = answer.failuresPerMinute.map((rate) => Math.round((rate * answer.stepSeconds) / 60));
  const lines = latency(answer, figure);
  const inTime = ({ values, ...line }) => ({ ...line, values: values.map((value) => (value >= limit ? null : value)) });
  const bars = { label: "missed", values: missed.map((number) => (number ? limit : null)), shown: missed, unit: "count" };
  return { ...lines, log: false, series: [...lines.series.map(inTime), { ...bars, colour: "failed", bars: true }] };
}

/** By the name in data-chart. */
export const KINDS = {
  latency,
  throughput,
  errors,
  responses,
};
