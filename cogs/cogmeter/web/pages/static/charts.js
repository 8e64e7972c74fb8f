// Draws every figure[data-chart] by uPlot from the JSON at its data-src. A kind of chart is a function of that JSON and
// the figure, see kinds.js; register() adds one.

import { askJson } from "./ask.js";
import { KINDS } from "./kinds.js";
import { isLog, options, shown } from "./painting.js";
import { legend, numbers, steer } from "./reading.js";

const kinds = new Map(Object.entries(KINDS));
const drawn = new Map(); // figure -> { plot, model, shape }
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

/** What is done when a stretch of time (seconds) is chosen in a chart. */
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
  if (!asked.has(src)) asked.set(src, askJson(src));
  return asked.get(src);
};

async function update(figure) {
  const one = drawn.get(figure) ?? {};
  drawn.set(figure, one);
  if (!one.model) say(figure, "Loading \u2026", "loading");
  try {
    const { src } = figure.dataset;
    const answer = await load(src);
    if (!figure.isConnected || figure.dataset.src !== src) return; // something else is asked for by now
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
  const one = drawn.get(figure);
  const known = (values) => values.some((value) => value !== null && value !== undefined);
  if (!model.x.length || !model.series.some((each) => known(each.values))) {
    one.plot?.destroy();
    one.plot = undefined;
    figure.querySelector(".plot").replaceChildren();
    figure.querySelector(".legend").replaceChildren();
    say(figure, model.empty || "No operations in this time.", "empty");
    return;
  }
  say(figure, "", "drawn");
  const shape = JSON.stringify([model.series.map((each) => each.label), isLog(model), figure.dataset.limit]);
  if (one.plot && one.shape === shape && !anew) {
    one.plot.cogmeter = model;
    one.plot.setData(shown(model));
  } else {
    one.plot?.destroy();
    one.shape = shape;
    const place = figure.querySelector(".plot");
    place.replaceChildren();
    const seen = (number) => legend(figure, one.model, number);
    one.plot = new uPlot(options(figure, model, place, { seen, chosen: (since, until) => zoom(since, until) }), shown(model), place);
    resized.observe(place);
    steer(figure, place, one, (since, until) => zoom(since, until));
  }
  legend(figure, model, null);
  numbers(figure, model);
}
