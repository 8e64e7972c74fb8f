// A chart as text: the legend above it, its points by keyboard, and its data as a table.

import { dayClock, UNITS } from "./format.js";
import { isLog } from "./painting.js";

const wordOf = (model, one, place) => (UNITS[one.unit] ?? UNITS[model.unit])((one.shown ?? one.values)[place]);

/** Fill the legend: the series, with their values if the cursor is at a point. */
export function legend(figure, model, place) {
  const outside = place === null || place === undefined;
  const items = model.series.map((one) => {
    const item = document.createElement("li");
    item.dataset.colour = one.colour;
    item.textContent = one.label;
    if (!outside) {
      const value = document.createElement("b");
      value.textContent = wordOf(model, one, place);
      item.append(" ", value);
    }
    return item;
  });
  const at = document.createElement("li");
  at.className = "at";
  at.textContent = outside ? (isLog(model) ? "logarithmic, UTC" : "UTC") : `${dayClock(model.x[place])} UTC`;
  figure.querySelector(".legend").replaceChildren(...items, at);
  announce(figure.querySelector(".plot"), model, place ?? model.x.length - 1);
}

function announce(plot, model, place) {
  const values = model.series.map((one) => `${one.label} ${wordOf(model, one, place)}`).join(", ");
  plot.setAttribute("aria-valuemax", String(model.x.length));
  plot.setAttribute("aria-valuenow", String(place + 1));
  plot.setAttribute("aria-valuetext", `${dayClock(model.x[place])}: ${values}`);
}

/** Make the chart a slider over its points: arrow keys move, plus and minus zoom. */
export function steer(figure, place, one, zoom) {
  place.tabIndex = 0;
  place.setAttribute("role", "slider");
  const keys = "arrow keys move through time, plus and minus zoom";
  place.setAttribute("aria-label", `${figure.querySelector("h2").textContent}: ${keys}`);
  place.setAttribute("aria-valuemin", "1");
  place.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // these belong to the browser
    const { plot, model } = one;
    const last = model.x.length - 1;
    const now = plot.cursor.idx ?? last;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, PageUp: now + 10, PageDown: now - 10 }[event.key];
    const factor = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (to === undefined && factor === undefined) return;
    event.preventDefault();
    if (factor) zoom(...around(plot.scales.x, model.x[now], factor));
    else plot.setCursor({ left: plot.valToPos(model.x[Math.min(Math.max(to, 0), last)], "x"), top: 10 });
  };
}

const LEAST_S = 300;

/** Return a range `factor` times as long as the scale's, with `at` at about the same place. */
function around({ min, max }, at, factor) {
  const length = Math.max((max - min) * factor, LEAST_S);
  const share = Math.min(Math.max((at - min) / (max - min), 0.25), 0.75); // time beyond an edge comes into view
  return [at - share * length, at + (1 - share) * length];
}

/** Show the data as a table, made when it is opened. */
export function numbers(figure, model) {
  const details = figure.querySelector("details.numbers");
  const fill = () => {
    if (details.open) details.querySelector(".scroll").replaceChildren(table(model));
  };
  details.ontoggle = fill;
  fill();
}

function table(model) {
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const label of ["Time (UTC)", ...model.series.map((one) => one.label)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = label;
    head.append(cell);
  }
  const body = made.createTBody();
  for (const [place, at] of model.x.entries()) {
    const row = body.insertRow();
    row.insertCell().textContent = dayClock(at);
    for (const one of model.series) row.insertCell().textContent = wordOf(model, one, place);
  }
  return made;
}
