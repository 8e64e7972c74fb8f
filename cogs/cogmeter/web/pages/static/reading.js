// A chart as text: the legend above it, its points by keyboard, and its data as a table.

import { UNITS } from "./format.js";
import { isLog } from "./painting.js";
import { mark, rangeOfPoints } from "./selecting.js";
import { dayClock, isSteady, offsetText, rangeText, utcDay, zone } from "./times.js";

const AFTER_MS = 700; // a selection by keyboard ends when Shift is released, or after this time

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
  const scale = isLog(model) ? "logarithmic, " : "";
  at.textContent = outside ? `${scale}${zoneOf(model)}` : timeOf(model, place, true);
  figure.querySelector(".legend").replaceChildren(...items, at);
  announce(figure.querySelector(".plot"), model, place ?? model.x.length - 1);
}

const zoneOf = (model) => (model.days ? "UTC" : zone());

/** Return the time of a point; the offset is named if it changes within the chart, or if `always`. */
function timeOf(model, place, always = false) {
  const at = model.x[place];
  if (model.days) return `${utcDay(at)}${always ? " UTC" : ""}`;
  const soFar = model.partial && place === model.x.length - 1 ? ", so far" : "";
  return (always ? `${dayClock(at)} ${offsetText(at)}` : dayClock(at, isSteady(model.x))) + soFar;
}

function announce(plot, model, place) {
  const values = model.series.map((one) => `${one.label} ${wordOf(model, one, place)}`).join(", ");
  plot.setAttribute("aria-valuemax", String(model.x.length));
  plot.setAttribute("aria-valuenow", String(place + 1));
  plot.setAttribute("aria-valuetext", `${timeOf(model, place)}: ${values}`);
}

/** Make the chart a slider over its points: arrow keys move, with Shift they select; plus and minus zoom. */
export function steer(figure, place, one, { zoom, select, choose }) {
  const keys = "arrow keys move through time, with Shift they select it, Enter selects a point or opens an alert, plus and minus zoom";
  place.tabIndex = 0;
  place.setAttribute("role", "slider");
  place.setAttribute("aria-label", `${figure.querySelector("h2").textContent}: ${keys}`);
  place.setAttribute("aria-valuemin", "1");
  const selection = byKeyboard(place, one, select);
  place.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // these belong to the browser
    const { plot, model } = one;
    const last = model.x.length - 1;
    const now = plot.cursor.idx ?? last;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, PageUp: now + 10, PageDown: now - 10 }[event.key];
    const factor = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (event.key === "Escape") return selection.cancel();
    if (to === undefined && factor === undefined && event.key !== "Enter") return;
    event.preventDefault();
    if (factor) return zoom(...around(plot.scales.x, model.x[now], factor));
    if (event.key === "Enter") return selection.end() || choose(model.x[now]);
    const place = Math.min(Math.max(to, 0), last);
    plot.setCursor({ left: plot.valToPos(model.x[place], "x"), top: 10 });
    if (event.shiftKey) selection.extend(now, place);
    else selection.cancel();
  };
  place.onkeyup = (event) => event.key === "Shift" && selection.end();
}

/** Return the actions of a selection by keyboard: it is marked while it grows, and made at its end. */
function byKeyboard(place, one, select) {
  let points = null; // the first and the last
  let timer;
  const range = () => rangeOfPoints(one.model, ...points);
  const cancel = () => {
    clearTimeout(timer);
    points = null;
    mark(one.plot, null);
  };
  const end = () => {
    if (!points) return false;
    const chosen = range();
    cancel();
    select(...chosen);
    return true;
  };
  const extend = (from, to) => {
    points = [points?.[0] ?? from, to];
    const [since, until] = range();
    mark(one.plot, ...[since, until].map((at) => one.plot.valToPos(at, "x")));
    place.setAttribute("aria-valuetext", `selected ${rangeText(since, until)}`);
    clearTimeout(timer);
    timer = setTimeout(end, AFTER_MS);
  };
  return { extend, end, cancel };
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
  for (const label of [`Time (${zoneOf(model)})`, ...model.series.map((one) => one.label)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = label;
    head.append(cell);
  }
  const body = made.createTBody();
  for (const place of model.x.keys()) {
    const row = body.insertRow();
    row.insertCell().textContent = timeOf(model, place);
    for (const one of model.series) row.insertCell().textContent = wordOf(model, one, place);
  }
  return made;
}
