// Selects a range of time in a chart, by mouse or finger; reading.js does it by keyboard. The selection is in the
// address as `from` and `to`, and the page lists below the charts what happened in it.

const LEAST_PX = 8; // a shorter drag is a click
const MINUTE = 60;

/** Return the selected range in seconds; null without one. */
export function selected() {
  const query = new URLSearchParams(location.search);
  const [from, to] = ["from", "to"].map((name) => Date.parse(query.get(name)) / 1000);
  if (Number.isNaN(from)) return null;
  return [from, Number.isNaN(to) ? Date.now() / 1000 : to];
}

const iso = (at) => new Date(at * 1000).toISOString().replace(".000Z", "Z");

/** Return the parameters of a selection, in whole minutes. */
export function selectionParams(since, until) {
  const from = Math.floor(Math.min(since, until, Date.now() / 1000 - 1) / MINUTE) * MINUTE;
  return { from: iso(from), to: iso(Math.max(Math.ceil(Math.max(since, until) / MINUTE) * MINUTE, from + MINUTE)) };
}

/** Return the seconds that a point of a chart is of. */
export function stepOf({ x, step }) {
  return step ?? Math.max(x.length > 1 ? (x.at(-1) - x[0]) / (x.length - 1) : 0, MINUTE);
}

/** Return the range from one point of a chart to another, with the whole of both. */
export function rangeOfPoints(model, one, other) {
  const half = stepOf(model) / 2;
  return [model.x[Math.min(one, other)] - half, model.x[Math.max(one, other)] + half];
}

/** Mark a range of a chart while it is being selected; null removes the mark. */
export function mark(plot, from, to) {
  const height = plot.over.clientHeight;
  const none = from === null;
  plot.setSelect(none ? { left: 0, width: 0, top: 0, height: 0 } : { left: Math.min(from, to), width: Math.abs(to - from), top: 0, height }, false);
}

/** Select by mouse and finger: `dragged(since, until)` and `clicked(at)` are called with seconds. */
export function selectable(plot, { dragged, clicked }) {
  const { over } = plot;
  const placeOf = (event) => Math.min(Math.max(event.clientX - over.getBoundingClientRect().left, 0), over.clientWidth);
  let start = null;
  let isDrag = false;
  const stop = () => {
    start = null;
    isDrag = false;
    mark(plot, null);
  };
  over.addEventListener("pointerdown", (event) => {
    if (event.isPrimary && !event.button) start = placeOf(event);
  });
  over.addEventListener("pointermove", (event) => {
    if (start === null || !event.isPrimary) return;
    const at = placeOf(event);
    if (!isDrag && Math.abs(at - start) < LEAST_PX) return;
    if (!isDrag) over.setPointerCapture(event.pointerId); // the drag continues outside of the chart
    isDrag = true;
    mark(plot, start, at);
    if (event.pointerType !== "mouse") plot.setCursor({ left: at, top: 10 });
  });
  over.addEventListener("pointerup", (event) => {
    if (start === null || !event.isPrimary) return;
    const [from, to] = [start, placeOf(event)].map((x) => plot.posToVal(x, "x"));
    const wasDrag = isDrag;
    stop();
    if (wasDrag) dragged(Math.min(from, to), Math.max(from, to));
    else clicked(to);
  });
  over.addEventListener("pointercancel", stop); // the finger scrolls the page
}
