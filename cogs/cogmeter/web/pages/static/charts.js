// Draws every figure[data-chart] with uPlot from the JSON at its data-src. A kind of chart is a function of that JSON
// and the figure, see kinds.js; register() adds one.

import { requestJson } from "./request.js";
import { KINDS } from "./kinds.js";
import { breachAt, isLog, options, shown } from "./painting.js";
import { legend, numbers, steer } from "./reading.js";
import { rangeOfPoints, selectable } from "./selecting.js";

const BEFORE_MS = 300_000; // the previous period changes slowly and is read again only after this time

const kinds = new Map(Object.entries(KINDS));
const drawn = new Map(); // figure -> { plot, model, shape }
const loaded = new Map(); // URL -> promise of its JSON, for one round of drawing
const past = new Map(); // figure -> { name, until, answer } of the previous period
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const plot = drawn.get(target.closest("figure"))?.plot;
    if (plot && Math.abs(plot.width - target.clientWidth) > 1) plot.setSize({ width: target.clientWidth, height: plot.height });
  }
});
let zoom = () => {};
let select = () => {};
let isCompared = () => false;

/** Add a kind of chart. */
export const register = (name, make) => kinds.set(name, make);

/** Set the action for a range of time (in seconds) that charts zoom to. */
export const onZoom = (action) => (zoom = action);

/** Set the action for a range of time (in seconds) that is selected in a chart, and for the alert that is opened. */
export const onSelect = (action) => (select = action);

/** Set the function that says if the previous period is shown, too. */
export const compareIf = (condition) => (isCompared = condition);

/** Update all charts of the page. */
export async function draw() {
  loaded.clear();
  for (const figure of drawn.keys()) if (!figure.isConnected) forget(figure);
  await Promise.all([...document.querySelectorAll("figure[data-chart]")].map(update));
}

/** Draw all charts again with the present colours and time zone, with or without the previous period. */
export async function redraw({ isRead = false } = {}) {
  for (const [figure, one] of drawn) {
    if (!one.answer) continue;
    if (isRead) one.before = await previous(figure);
    one.model = modelOf(figure, one);
    show(figure, one.model, true);
  }
}

const modelOf = (figure, { answer, before }) => kinds.get(figure.dataset.chart)(answer, figure, isCompared() ? before : null);

function forget(figure) {
  drawn.get(figure)?.plot?.destroy();
  drawn.delete(figure);
  past.delete(figure);
}

const load = (src) => {
  if (!loaded.has(src)) loaded.set(src, requestJson(src));
  return loaded.get(src);
};

async function update(figure) {
  const one = drawn.get(figure) ?? {};
  drawn.set(figure, one);
  if (!one.model) showState(figure, "Loading \u2026", "loading");
  try {
    const { src } = figure.dataset;
    const earlier = previous(figure);
    const answer = await load(src);
    if (!figure.isConnected || figure.dataset.src !== src) return; // the figure shows something else by now
    one.answer = answer;
    one.before = await earlier;
    if (!figure.isConnected || figure.dataset.src !== src) return;
    one.model = modelOf(figure, one);
    show(figure, one.model);
  } catch (error) {
    showState(figure, `Cannot draw this chart: ${error.message}`, "error");
  }
}

/** Return the data of the previous period; null if it is not shown or cannot be read. */
async function previous(figure) {
  const { before } = figure.dataset;
  if (!before || !isCompared()) return null;
  const { searchParams } = new URL(before, location);
  const [since, until] = ["since", "until"].map((name) => Date.parse(searchParams.get(name)));
  // The same chart of a range of the same length that has moved on a little.
  const name = [searchParams.get("service"), searchParams.get("operation"), until - since].join();
  const known = past.get(figure);
  if (known?.name === name && Math.abs(until - known.until) < BEFORE_MS) return known.answer;
  try {
    const answer = await load(before);
    past.set(figure, { name, until, answer });
    return answer;
  } catch {
    return null; // the chart itself is more important
  }
}

function showState(figure, message, state) {
  const line = figure.querySelector(".state");
  line.textContent = message;
  line.hidden = !message;
  figure.dataset.state = state;
}

function show(figure, model, redraw = false) {
  const one = drawn.get(figure);
  const known = (values) => values.some((value) => value !== null && value !== undefined);
  if (!model.x.length || !model.series.some((each) => !each.ghost && known(each.values))) {
    one.plot?.destroy();
    one.plot = undefined;
    figure.querySelector(".plot").replaceChildren();
    figure.querySelector(".legend").replaceChildren();
    showState(figure, model.empty || "No operations in this period.", "empty");
    return;
  }
  showState(figure, "", "drawn");
  const shape = JSON.stringify([model.series.map((each) => each.label), isLog(model), figure.dataset.limit]);
  if (one.plot && one.shape === shape && !redraw) {
    one.plot.cogmeter = model;
    one.plot.setData(shown(model));
  } else {
    one.plot?.destroy();
    one.shape = shape;
    const place = figure.querySelector(".plot");
    place.replaceChildren();
    const seen = (number) => legend(figure, one.model, number);
    one.plot = new uPlot(options(figure, model, place, { seen }), shown(model), place);
    resized.observe(place);
    const choose = (at) => chooseAt(figure, one, at);
    selectable(one.plot, { dragged: (since, until) => select(since, until), clicked: choose });
    steer(figure, place, one, { zoom: (since, until) => zoom(since, until), select: (since, until) => select(since, until), choose });
  }
  legend(figure, model, null);
  numbers(figure, model);
}

/** Select what a chart shows at a time: the breach that is shaded there, and open its alert; else the nearest point. */
function chooseAt(figure, { plot, model }, at) {
  const [since, until, , alert] = breachAt(figure, at) ?? [];
  if (alert) return select(since, until ?? Date.now() / 1000, alert);
  const place = plot.valToIdx(at);
  select(...rangeOfPoints(model, place, place));
}
