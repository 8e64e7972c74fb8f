// Draws every figure[data-chart] with uPlot from the JSON at its data-src. A kind of chart is a function of that JSON
// and the figure, see kinds.js; register() adds one.

import { requestJson } from "./request.js";
import { KINDS } from "./kinds.js";
import { isLog, options, shown } from "./painting.js";
import { legend, numbers, steer } from "./reading.js";

const kinds = new Map(Object.entries(KINDS));
const drawn = new Map(); // figure -> { plot, model, shape }
const loaded = new Map(); // URL -> promise of its JSON, for one round of drawing
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const plot = drawn.get(target.closest("figure"))?.plot;
    if (plot && Math.abs(plot.width - target.clientWidth) > 1) plot.setSize({ width: target.clientWidth, height: plot.height });
  }
});
let zoom = () => {};

/** Add a kind of chart. */
export const register = (name, make) => kinds.set(name, make);

/** Set the action for a range of time (in seconds) that is selected in a chart. */
export const onZoom = (action) => (zoom = action);

/** Update all charts of the page. */
export async function draw() {
  loaded.clear();
  for (const figure of drawn.keys()) if (!figure.isConnected) forget(figure);
  await Promise.all([...document.querySelectorAll("figure[data-chart]")].map(update));
}

/** Draw all charts again with the present colours. */
export function recolour() {
  for (const [figure, one] of drawn) if (one.model) show(figure, one.model, true);
}

function forget(figure) {
  drawn.get(figure)?.plot?.destroy();
  drawn.delete(figure);
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
    const answer = await load(src);
    if (!figure.isConnected || figure.dataset.src !== src) return; // the figure shows something else by now
    one.model = kinds.get(figure.dataset.chart)(answer, figure);
    show(figure, one.model);
  } catch (error) {
    showState(figure, `Cannot draw this chart: ${error.message}`, "error");
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
  if (!model.x.length || !model.series.some((each) => known(each.values))) {
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
    one.plot = new uPlot(options(figure, model, place, { seen, chosen: (since, until) => zoom(since, until) }), shown(model), place);
    resized.observe(place);
    steer(figure, place, one, (since, until) => zoom(since, until));
  }
  legend(figure, model, null);
  numbers(figure, model);
}
