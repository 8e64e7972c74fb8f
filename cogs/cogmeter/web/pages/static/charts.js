// Draws every figure[data-chart] by uPlot from the JSON at its data-src. A kind of chart is a function of that JSON and
// the figure: { x: [seconds], step, series: [{ label, values, unit, colour, ... }], ... }. register() adds one. A series that
// is drawn on top of others gives what it says itself as `said`.

import { clock, day, dayClock, UNITS } from "./format.js";

const kinds = new Map();
const drawn = new Map(); // figure -> { plot, model, src }
const asked = new Map(); // address -> promise of its JSON, for one round of drawing
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const plot = drawn.get(target.closest("figure"))?.plot;
    if (plot && Math.abs(plot.width - target.clientWidth) > 1) plot.setSize({ width: target.clientWidth, height: plot.height });
  }
});
let zoom = () => {};

/** Add a kind of chart. */
export const register = (name, make) => kinds.set(name, make);

/** What is done when a stretch of time (seconds) is dragged out in a chart. */
export const onZoom = (action) => (zoom = action);

/** Bring all charts of the page up to date. */
export async function draw() {
  asked.clear();
  for (const figure of drawn.keys()) if (!figure.isConnected) forget(figure);
  await Promise.all([...document.querySelectorAll("figure[data-chart]")].map(update));
}

/** Draw all charts anew with the colours that hold now. */
export function recolour() {
  for (const [figure, one] of drawn) if (one.model) show(figure, one.model, true);
}

function forget(figure) {
  drawn.get(figure)?.plot?.destroy();
  drawn.delete(figure);
}

const load = (src) => {
  if (!asked.has(src)) asked.set(src, read(src));
  return asked.get(src);
};

async function read(src) {
  const response = await fetch(src, { headers: { Accept: "application/json" } });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || `status ${response.status}`);
  return answer;
}

async function update(figure) {
  const one = drawn.get(figure) ?? {};
  drawn.set(figure, one);
  if (!one.model) say(figure, "Loading \u2026", "loading");
  try {
    const answer = await load(figure.dataset.src);
    if (!figure.isConnected) return;
    one.model = kinds.get(figure.dataset.chart)(answer, figure);
    show(figure, one.model);
  } catch (error) {
    say(figure, `This chart cannot be drawn now: ${error.message}`, "error");
  }
}

function say(figure, words, state) {
  const line = figure.querySelector(".state");
  line.textContent = words;
  line.hidden = !words;
  figure.dataset.state = state;
}

function show(figure, model, anew = false) {
  const known = (values) => values.some((value) => value !== null && value !== undefined);
  if (!model.x.length || !model.series.some((one) => known(one.values))) {
    drawn.get(figure).plot?.destroy();
    drawn.get(figure).plot = undefined;
    figure.querySelector(".plot").replaceChildren();
    figure.querySelector(".legend").replaceChildren();
    say(figure, model.empty || "No operations in this time.", "empty");
    return;
  }
  say(figure, "", "drawn");
  const one = drawn.get(figure);
  const shape = JSON.stringify([model.series.map((each) => each.label), isLog(model), figure.dataset.limit]);
  const data = [model.x, ...model.series.map((each) => each.values)];
  if (one.plot && one.shape === shape && !anew) {
    one.plot.cogmeter = model;
    one.plot.setData(data);
  } else {
    one.plot?.destroy();
    one.shape = shape;
    const place = figure.querySelector(".plot");
    place.replaceChildren();
    one.plot = new uPlot(options(figure, model, place), data, place);
    resized.observe(place);
    steer(figure, place, one);
  }
  legend(figure, model, null);
  numbers(figure, model);
}

// What is drawn ------------------------------------------------------------------------------------------------

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const fade = (colour, share) => `${colour}${Math.round(share * 255).toString(16).padStart(2, "0")}`;

/** Whether the values lie so far apart that a logarithmic axis is needed to see the small ones. */
function isLog(model) {
  if (!model.log) return false;
  const all = model.series.flatMap((one) => one.values).filter((value) => value > 0);
  return all.length > 0 && Math.max(...all) / Math.min(...all) > 50;
}

function options(figure, model, place) {
  const log = isLog(model);
  const format = UNITS[model.unit];
  const axis = { stroke: css("muted"), grid: { stroke: css("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const limit = Number(figure.dataset.limit) || 0;
  return {
    width: place.clientWidth || 600,
    height: figure.classList.contains("tall") ? 300 : 200,
    padding: [12, 22, 0, 0],
    legend: { show: false },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    cursor: {
      sync: { key: model.group ?? "time" },
      drag: { x: true, y: false, setScale: false },
      points: { size: 7 },
      y: false,
    },
    scales: {
      x: { time: true, range: (u) => u.cogmeter?.range ?? model.range ?? [model.x[0], model.x.at(-1)] },
      y: log
        ? { distr: 3, range: (u, least, most) => [least * 0.8, Math.max(most, limit) * 1.3] }
        : { range: (u, least, most) => [Math.min(0, least ?? 0), Math.max(most ?? 0, nearLimit(limit, most), model.least ?? 1) * 1.08] },
    },
    axes: [
      { ...axis, size: 28, values: (u, splits, _axis, _space, step) => splits.map((at) => (step >= 86_400 ? day(at) : clock(at) === "00:00" ? day(at) : clock(at))) },
      { ...axis, size: 62, ...(log && { splits: (u, _axis, least, most) => decades(least, most) }), values: (u, splits) => splits.map((value) => (value === null ? "" : format(value))) },
    ],
    series: [{}, ...model.series.map((one) => line(one))],
    bands: (model.bands ?? []).map(([high, low, colour]) => ({ series: [high + 1, low + 1], fill: fade(css(colour), 0.3) })),
    hooks: {
      drawClear: [(u) => breaches(u, figure)],
      draw: [(u) => marks(u, figure), (u) => threshold(u, figure, limit)],
      setCursor: [(u) => legend(figure, u.cogmeter ?? model, u.cursor.idx)],
      setSelect: [(u) => dragged(u)],
    },
  };
}

/** The ticks of a logarithmic axis: 1, 2 and 5 of each power of ten; of many powers, 1 alone. */
function decades(least, most) {
  const powers = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) powers.push(power);
  const steps = powers.length > 4 ? [1] : [1, 2, 5];
  return powers.flatMap((power) => steps.map((step) => step * 10 ** power)).filter((at) => at >= least && at <= most);
}

/** A threshold far above everything that happened would press the line flat against the ground: it is left out. */
const nearLimit = (limit, most) => (limit && limit <= (most || 0) * 3 ? limit : 0);

function line(one) {
  const colour = css(one.colour);
  const common = { label: one.label, stroke: colour, width: one.width ?? 1.5, points: { show: true, size: 5, fill: colour, filter: lonely } };
  if (one.bars) {
    const paths = uPlot.paths.bars({ size: [0.85, 60], align: 0 });
    return { ...common, paths, fill: colour, width: 0, points: { show: false } };
  }
  return { ...common, fill: one.area ? fade(colour, 0.25) : undefined, dash: one.dash };
}

/** Points are drawn where a value stands alone between two gaps, which a line does not show. */
function lonely(u, number) {
  const values = u.data[number];
  const none = (place) => values[place] === null || values[place] === undefined;
  return [...values.keys()].filter((place) => !none(place) && none(place - 1) && none(place + 1));
}

const surroundings = (figure) => JSON.parse(figure.closest("[data-marks]")?.dataset.marks || "{}");

function breaches(u, figure) {
  const { left, top, width, height } = u.bbox;
  u.ctx.save();
  u.ctx.fillStyle = fade(css("failed"), 0.14);
  const rules = figure.dataset.rules?.split(" ");
  for (const [since, until, rule] of surroundings(figure).breaches ?? []) {
    if (rules && !rules.includes(rule)) continue;
    const from = Math.max(u.valToPos(since, "x", true), left);
    const to = Math.min(u.valToPos(until ?? u.scales.x.max, "x", true), left + width);
    if (to > from) u.ctx.fillRect(from, top, Math.max(to - from, 2), height);
  }
  u.ctx.restore();
}

function marks(u, figure) {
  const { left, top, width, height } = u.bbox;
  const ratio = devicePixelRatio;
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = css("muted");
  ctx.lineWidth = ratio;
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  let free = left; // names that would stand on one another are left out; the list below the charts has them all
  for (const [at, name] of surroundings(figure).marks ?? []) {
    const x = Math.round(u.valToPos(at, "x", true));
    if (x < left || x > left + width) continue;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    const words = name.length > 24 ? `${name.slice(0, 23)}\u2026` : name;
    const wide = ctx.measureText(words).width + 8 * ratio;
    const start = x + wide > left + width ? x - wide : x;
    if (start >= free) {
      ctx.fillText(words, start + 4 * ratio, top + 11 * ratio);
      free = start + wide;
    }
  }
  ctx.restore();
}

function threshold(u, figure, limit) {
  if (!limit) return;
  const y = u.valToPos(limit, "y", true);
  const { left, top, width, height } = u.bbox;
  if (!(y >= top && y <= top + height)) return;
  const { ctx } = u;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = css("failed");
  ctx.lineWidth = 1.5 * ratio;
  ctx.setLineDash([7 * ratio, 5 * ratio]);
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(left + width, y);
  ctx.stroke();
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.fillText(figure.dataset.limitText || "", left + 4 * ratio, y - 5 * ratio);
  ctx.restore();
}

// What is done with it -----------------------------------------------------------------------------------------

function dragged(u) {
  const { left, width } = u.select;
  if (width < 8) return;
  const [since, until] = [left, left + width].map((x) => u.posToVal(x, "x"));
  u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  zoom(Math.floor(since / 60) * 60, Math.ceil(until / 60) * 60);
}

/** The chart as a slider over its points: arrow keys move through them, and each is said. */
function steer(figure, place, one) {
  place.tabIndex = 0;
  place.setAttribute("role", "slider");
  place.setAttribute("aria-label", `${figure.querySelector("h2").textContent}: arrow keys move through time`);
  place.setAttribute("aria-valuemin", "1");
  place.onkeydown = (event) => {
    const { plot, model } = one;
    const last = model.x.length - 1;
    const now = plot.cursor.idx ?? last;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, PageUp: now + 10, PageDown: now - 10 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const place_ = Math.min(Math.max(to, 0), last);
    plot.setCursor({ left: plot.valToPos(model.x[place_], "x"), top: 10 });
  };
}

function legend(figure, model, place) {
  const list = figure.querySelector(".legend");
  const format = UNITS[model.unit];
  const words = model.series.map((one) => (place === null || place === undefined ? "" : (UNITS[one.unit] ?? format)((one.said ?? one.values)[place])));
  const items = model.series.map((one, number) => {
    const item = document.createElement("li");
    item.dataset.colour = one.colour;
    item.textContent = one.label;
    if (words[number]) {
      const value = document.createElement("b");
      value.textContent = words[number];
      item.append(" ", value);
    }
    return item;
  });
  const at = document.createElement("li");
  at.className = "at";
  at.textContent = place === null || place === undefined ? (isLog(model) ? "logarithmic" : "") : dayClock(model.x[place]);
  list.replaceChildren(...items, at);
  const plot = figure.querySelector(".plot");
  const shown = place ?? model.x.length - 1;
  const told = model.series.map((one) => `${one.label} ${(UNITS[one.unit] ?? format)((one.said ?? one.values)[shown])}`).join(", ");
  plot.setAttribute("aria-valuemax", String(model.x.length));
  plot.setAttribute("aria-valuenow", String(shown + 1));
  plot.setAttribute("aria-valuetext", `${dayClock(model.x[shown])}: ${told}`);
}

/** The same numbers as a table, made when it is opened. */
function numbers(figure, model) {
  const details = figure.querySelector("details.numbers");
  const fill = () => {
    if (!details.open) return;
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const label of ["Time (UTC)", ...model.series.map((one) => one.label)]) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = label;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const [place, at] of model.x.entries()) {
      const row = body.insertRow();
      row.insertCell().textContent = dayClock(at);
      for (const one of model.series) row.insertCell().textContent = (UNITS[one.unit] ?? UNITS[model.unit])((one.said ?? one.values)[place]);
    }
    details.querySelector(".scroll").replaceChildren(table);
  };
  details.ontoggle = fill;
  fill();
}

// The kinds ----------------------------------------------------------------------------------------------------

const seconds = (time) => Date.parse(time) / 1000;

/** What all charts of /api/performance/series have in common: each value stands in the middle of its step. */
function timeline(answer) {
  const edges = answer.timestamps.map(seconds);
  return {
    x: edges.map((at) => at + answer.stepSeconds / 2),
    range: [Math.min(seconds(answer.timeRange.since), ...edges.slice(0, 1)), seconds(answer.timeRange.until)],
  };
}

const above = (values) => values.map((value) => (value === 0 ? null : value));

register("latency", (answer) => ({
  ...timeline(answer),
  unit: "ms",
  log: true,
  series: [
    { label: "p50", values: above(answer.p50ResponseTime), colour: "p50", width: 2.5 },
    { label: "p95", values: above(answer.p95ResponseTime), colour: "p95", width: 1.5 },
    { label: "p99", values: above(answer.p99ResponseTime), colour: "p99", width: 2 },
  ],
  bands: [[1, 0, "p50"]],
}));

register("throughput", (answer) => ({
  ...timeline(answer),
  unit: "count",
  empty: answer.operationsPerMinute.some((value) => value > 0) ? "" : "No operations in this time.",
  series: [
    { label: "operations a minute", values: above(answer.operationsPerMinute), colour: "bars", bars: true },
    { label: "failed", values: above(answer.failuresPerMinute), colour: "failed", bars: true },
  ],
}));

register("errors", (answer) => ({
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
}));

/** One gauge of /api/performance/gauges: its mean, and the band between the lowest and the highest sample. */
register("gauge", (answer, figure) => {
  const found = answer.gauges[figure.dataset.name] ?? { timestamps: [], mean: [], lowest: [], highest: [] };
  return {
    x: found.timestamps.map(seconds),
    range: [seconds(answer.timeRange.since), seconds(answer.timeRange.until)],
    unit: figure.dataset.unit || "count",
    least: 0,
    empty: "Nothing was measured in this time.",
    series: [
      { label: "mean", values: found.mean, colour: "p50", width: 2 },
      { label: "lowest", values: found.lowest, colour: "grid", width: 1 },
      { label: "highest", values: found.highest, colour: "p95", width: 1 },
    ],
    bands: [[2, 1, "p50"]],
  };
});
