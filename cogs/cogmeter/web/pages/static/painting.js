// The look of a chart: axes, lines and bars; below them breaches and the selection, and on top of them markers, the
// threshold and labels.

import { UNITS } from "./format.js";
import { selected } from "./selecting.js";
import { clock, day, roundTimes, utcDay } from "./times.js";

const SECOND = 1e3;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const FONT = "system-ui, sans-serif";
const LINE_HIGH = 14; // of a label next to a line
const GAP = 3; // between two labels
const BAR_SHARE = 0.85; // of a step
const BAR_MOST = 60;
const powers = (from, to) => Array.from({ length: to - from + 1 }, (_, number) => 10 ** (from + number));
const rounds = (from, to) => powers(from, to).flatMap((power) => [1, 2, 5].map((times) => times * power));
// Steps of an axis that two digits show exactly.
const STEPS = rounds(-6, 12);
const STEPS_MS = [
  ...rounds(-4, 3), 10 * SECOND, 20 * SECOND, 30 * SECOND,
  ...[1, 2, 5, 10, 20, 30].map((times) => times * MINUTE),
  ...[1, 2, 3, 6, 12].map((times) => times * HOUR),
  ...rounds(0, 5).map((times) => times * DAY),
];
// Of the axis of time, in seconds. Its labels have no seconds: steps below a minute would repeat them.
const STEPS_TIME = [
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60),
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * 3_600),
  ...[1, 2, 3, 5, 10, 15, 30, 60, 90, 180, 365].map((days) => days * 86_400),
];
const STEPS_MS_FAR = [...powers(-3, 4), MINUTE, 10 * MINUTE, HOUR, ...powers(0, 5).map((times) => times * DAY)];

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const fade = (colour, share) => `${colour}${Math.round(share * 255).toString(16).padStart(2, "0")}`;

/** Return true if the values lie so far apart that small ones need a logarithmic axis. */
export function isLog(model) {
  if (!model.log) return false;
  const all = model.series.flatMap((one) => one.values).filter((value) => value > 0);
  return all.length > 0 && Math.max(...all) / Math.min(...all) > 50;
}

/** The model's numbers as uPlot takes them; a logarithmic axis has no place for 0. */
export function shown(model) {
  const log = isLog(model);
  return [model.x, ...model.series.map(({ values }) => (log ? values.map((value) => (value > 0 ? value : null)) : values))];
}

/** uPlot's options; `seen(place)` is called when the cursor moves. */
export function options(figure, model, place, { seen }) {
  const limit = Number(figure.dataset.limit) || 0;
  const modelOf = (u) => u.cogmeter ?? model;
  const { lines, wide } = namesOf(model);
  return {
    width: place.clientWidth || 600,
    height: figure.classList.contains("tall") ? 300 : 200,
    padding: [12, Math.max(wide, 22), 0, 0],
    legend: { show: false },
    cursor: { sync: { key: model.group ?? "time" }, drag: { x: false, y: false }, points: { size: 7 }, y: false },
    scales: {
      x: { time: true, range: (u) => modelOf(u).range ?? [model.x[0], model.x.at(-1)] },
      y: isLog(model)
        ? { distr: 3, range: (u, least, most) => [least * 0.8, Math.max(most, limit) * 1.3] }
        : { range: (u, least, most) => [Math.min(0, least ?? 0), Math.max(most ?? 0, nearLimit(limit, most), model.least ?? 1) * 1.08] },
    },
    axes: axes(model),
    series: [{}, ...model.series.map((one) => line(one, (u) => finished(modelOf(u))))],
    bands: (model.bands ?? []).map(([high, low, colour]) => ({ series: [high + 1, low + 1], fill: fade(css(colour), 0.3) })),
    hooks: {
      drawClear: [(u) => breaches(u, figure), selection],
      draw: [(u) => unfinished(u, modelOf(u)), (u) => labels(u, figure, limit, lines)],
      setCursor: [(u) => seen(u.cursor.idx)],
    },
  };
}

function axes(model) {
  const common = { stroke: css("muted"), grid: { stroke: css("grid"), width: 1 }, ticks: { show: false }, font: `12px ${FONT}` };
  const timed = (u, splits, _axis, _space, step) => splits.map((at) => (step >= 86_400 || clock(at) === "00:00" ? day(at) : clock(at)));
  const x = model.days
    ? { ...common, grid: { show: false }, splits: someDays, values: (u, splits) => splits.map(utcDay) }
    : { ...common, incrs: STEPS_TIME, splits: (u, _axis, least, most, step) => roundTimes(least, most, step), values: timed };
  const format = UNITS[model.unit];
  const y = {
    ...common,
    incrs: model.unit === "ms" ? STEPS_MS : STEPS,
    values: (u, splits) => splits.map((value) => (value === null ? "" : format(value))),
    ...(isLog(model) && { splits: (u, _axis, least, most) => farApart(least, most), filter: (u, splits) => splits }),
  };
  return [{ ...x, size: 28 }, { ...y, size: widthOf }];
}

const LEAST_WIDTH = 62; // of the labels of the vertical axis: charts above each other begin at the same place

/** Return the width that the labels of an axis need, such as "$1,000,000". */
function widthOf(u, labels, index, cycle) {
  const axis = u.axes[index];
  if (cycle > 1) return axis._size;
  u.ctx.font = axis.font[0];
  const widest = Math.max(0, ...(labels ?? []).map((label) => u.ctx.measureText(label ?? "").width / devicePixelRatio));
  return Math.max(LEAST_WIDTH, Math.ceil(widest + axis.gap + 8));
}

/** Return the days whose labels fit, with the last one. */
function someDays(u) {
  const days = u.data[0];
  const every = Math.max(Math.ceil((days.length * 56 * devicePixelRatio) / u.bbox.width), 1);
  return days.filter((_, place) => (days.length - 1 - place) % every === 0);
}

/** The ticks of a logarithmic axis of durations. */
function farApart(least, most) {
  return (most / least > 2e3 ? STEPS_MS_FAR : STEPS_MS).filter((at) => at >= least && at <= most);
}

/** Return 0 for a threshold far above all values, which would flatten the line. */
const nearLimit = (limit, most) => (limit && limit <= (most || 0) * 3 ? limit : 0);

/** Return the place of the last point whose step is over. */
const finished = (model) => model.x.length - (model.partial ? 2 : 1);

/** Return the look of a series up to the point `lastOf(plot)`; unfinished() draws what is after that. */
function line(one, lastOf) {
  const colour = css(one.colour);
  const whole = one.bars ? uPlot.paths.bars({ size: [BAR_SHARE, BAR_MOST], align: 0 }) : uPlot.paths.linear();
  const paths = (u, number, from, to) => whole(u, number, from, Math.min(to, lastOf(u)));
  if (one.bars) {
    return { label: one.label, stroke: colour, fill: colour, width: 0, paths, points: { show: false } };
  }
  const points = { show: true, size: 5, fill: colour, filter: lonely };
  const dash = one.ghost ? [4, 4] : undefined;
  return { label: one.label, stroke: colour, dash, width: one.width ?? 1.5, paths, points, fill: one.area ? fade(colour, 0.25) : undefined };
}

const isGap = (value) => value === null || value === undefined;

/** Draw points for values between two gaps, which a line does not show. */
function lonely(u, number) {
  const values = u.data[number];
  return [...values.keys()].filter((place) => !isGap(values[place]) && isGap(values[place - 1]) && isGap(values[place + 1]));
}

/** Draw the point of a step that is still filling: dashed lines, fainter bars. */
function unfinished(u, model) {
  if (!model.partial) return;
  const last = model.x.length - 1;
  painting(u, (ctx, { bottom, ratio }) => {
    const xs = [last - 1, last].map((place) => u.valToPos(u.data[0][place], "x", true));
    const wide = Math.min(BAR_SHARE * (xs[1] - xs[0]), BAR_MOST * ratio);
    for (const [number, one] of model.series.entries()) {
      const values = u.data[number + 1];
      if (isGap(values[last])) continue;
      const ys = [last - 1, last].map((place) => u.valToPos(values[place], "y", true));
      ctx.strokeStyle = css(one.colour);
      ctx.fillStyle = one.bars ? fade(css(one.colour), 0.5) : css(one.colour);
      ctx.lineWidth = (one.width ?? 1.5) * ratio;
      if (one.bars) ctx.fillRect(xs[1] - wide / 2, ys[1], wide, bottom - ys[1]);
      else if (!isGap(values[last - 1])) dashed(ctx, [4, 3], ratio, [xs[0], ys[0]], [xs[1], ys[1]]);
    }
  });
}

// On top of the series ---------------------------------------------------------------------------------------------

const surroundings = (figure) => JSON.parse(figure.closest("[data-marks]")?.dataset.marks || "{}");

/** Draw and restore the context afterwards; sizes are CSS pixels times `ratio`. */
function painting(u, work) {
  const { left, top, width, height } = u.bbox;
  u.ctx.save();
  u.ctx.textAlign = "left";
  u.ctx.textBaseline = "alphabetic";
  work(u.ctx, { left, top, right: left + width, bottom: top + height, ratio: devicePixelRatio });
  u.ctx.restore();
}

/** Draw text with an outline, readable on every background. */
function drawText(ctx, text, x, y, ratio) {
  const { strokeStyle, lineWidth } = ctx;
  ctx.setLineDash([]);
  ctx.lineJoin = "round";
  ctx.strokeStyle = css("surface");
  ctx.lineWidth = 4 * ratio;
  ctx.strokeText(text, x, y);
  ctx.fillText(text, x, y);
  Object.assign(ctx, { strokeStyle, lineWidth });
}

function dashed(ctx, pattern, ratio, [fromX, fromY], [toX, toY]) {
  ctx.setLineDash(pattern.map((length) => length * ratio));
  ctx.beginPath();
  ctx.moveTo(fromX, fromY);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}

/** Return the breaches of the figure's rules. */
function breachesOf(figure) {
  const rules = figure.dataset.rules?.split(" ");
  return (surroundings(figure).breaches ?? []).filter(([, , rule]) => !rules || rules.includes(rule));
}

/** Return the shortest breach that is shaded at a time; undefined without one. */
export function breachAt(figure, at) {
  const now = Date.now() / 1000;
  const length = ([since, until]) => (until ?? now) - since;
  const there = breachesOf(figure).filter(([since, until]) => since <= at && at <= (until ?? now));
  return there.sort((a, b) => length(a) - length(b))[0];
}

/** Shade the selected range. */
function selection(u) {
  const range = selected();
  if (!range) return;
  painting(u, (ctx, { left, top, right, bottom, ratio }) => {
    const [from, to] = range.map((at) => Math.min(Math.max(u.valToPos(at, "x", true), left), right));
    ctx.fillStyle = fade(css("p50"), 0.16);
    ctx.fillRect(from, top, Math.max(to - from, 2), bottom - top);
    ctx.strokeStyle = css("p50");
    ctx.lineWidth = ratio;
    for (const x of [from, to]) dashed(ctx, [], ratio, [x, top], [x, bottom]);
  });
}

function breaches(u, figure) {
  painting(u, (ctx, { left, top, right, bottom }) => {
    ctx.fillStyle = fade(css("failed"), 0.14);
    for (const [since, until] of breachesOf(figure)) {
      const from = Math.max(u.valToPos(since, "x", true), left);
      const to = Math.min(u.valToPos(until ?? Date.now() / 1000, "x", true), right);
      if (to > from) ctx.fillRect(from, top, Math.max(to - from, 2), bottom - top);
    }
  });
}

/** Draw markers, the threshold and the names of lines; no text touches another. */
function labels(u, figure, limit, lines) {
  const taken = []; // boxes of the texts that are drawn
  marks(u, figure, taken);
  threshold(u, figure, limit, taken);
  names(u, lines, taken);
}

/** Return the first box that lies within `GAP` of this one. */
const touched = (taken, box, ratio) =>
  taken.find(
    (one) =>
      one.left < box.right + GAP * ratio && box.left < one.right + GAP * ratio && one.top < box.bottom + GAP * ratio && box.top < one.bottom + GAP * ratio,
  );

/** The box of a text whose baseline begins there. */
function boxOf(ctx, text, x, y, ratio) {
  return { left: x, right: x + ctx.measureText(text).width, top: y - 11 * ratio, bottom: y + 3 * ratio };
}

function marks(u, figure, taken) {
  painting(u, (ctx, { left, top, right, bottom, ratio }) => {
    ctx.strokeStyle = ctx.fillStyle = css("muted");
    ctx.lineWidth = ratio;
    ctx.font = `${11 * ratio}px ${FONT}`;
    let free = left; // overlapping names are left out
    for (const [at, name] of surroundings(figure).marks ?? []) {
      const x = Math.round(u.valToPos(at, "x", true));
      if (x < left || x > right) continue;
      dashed(ctx, [2, 3], ratio, [x, top], [x, bottom]);
      const label = name.length > 24 ? `${name.slice(0, 23)}\u2026` : name;
      const wide = ctx.measureText(label).width + 8 * ratio;
      const start = x + wide > right ? x - wide : x;
      if (start < free) continue;
      drawText(ctx, label, start + 4 * ratio, top + 11 * ratio, ratio);
      taken.push(boxOf(ctx, label, start + 4 * ratio, top + 11 * ratio, ratio));
      free = start + wide;
    }
  });
}

function threshold(u, figure, limit, taken) {
  const y = limit ? u.valToPos(limit, "y", true) : NaN;
  painting(u, (ctx, { left, top, right, bottom, ratio }) => {
    if (!(y >= top && y <= bottom)) return;
    ctx.strokeStyle = ctx.fillStyle = css("failed");
    ctx.lineWidth = 1.5 * ratio;
    dashed(ctx, [7, 5], ratio, [left, y], [right, y]);
    ctx.font = `${12 * ratio}px ${FONT}`;
    const text = figure.dataset.limitText || "";
    const lefts = [left, ...taken.map((one) => one.right)].map((x) => x + 4 * ratio);
    const under = taken.map((one) => one.bottom + (GAP + 12) * ratio); // the names of markers
    const places = lefts.flatMap((x) => [y - 5 * ratio, y + 14 * ratio, ...under].map((base) => [x, base]));
    const fits = places.filter(([x, base]) => {
      const box = boxOf(ctx, text, x, base, ratio);
      return box.top >= top && box.bottom <= bottom && box.right <= right && !touched(taken, box, ratio);
    });
    if (!fits.length) return; // names of markers are everywhere: the line is known by its colour
    drawText(ctx, text, ...fits[0], ratio);
    taken.push(boxOf(ctx, text, ...fits[0], ratio));
  });
}

/** Return the lines with a label at their end, and the width of the longest label. */
function namesOf(model) {
  const lines = model.series.length > 1 ? [...model.series.entries()].filter(([, one]) => !one.bars && !one.ghost) : [];
  const longest = Math.max(0, ...lines.map(([, one]) => one.label.length));
  return { lines: lines.reverse(), wide: longest * 7.5 + 8 }; // if two end together, p99 is above p95
}

function names(u, lines, taken) {
  painting(u, (ctx, { top, bottom, ratio }) => {
    ctx.font = `${12 * ratio}px ${FONT}`;
    const ends = lines.map(([number, one]) => endOf(u, number + 1, one)).filter(Boolean).sort((a, b) => a.y - b.y);
    let free = top + 4 * ratio;
    for (const one of ends) {
      one.y = Math.max(one.y, free);
      const hit = () => touched(taken, boxOf(ctx, one.name, one.x + 6 * ratio, one.y + 4 * ratio, ratio), ratio);
      for (let other = hit(); other; other = hit()) one.y = other.bottom + (GAP + 8) * ratio; // always further down
      free = one.y + LINE_HIGH * ratio;
    }
    let most = bottom; // and from below, so that the last ones fit
    for (const one of ends.reverse()) most = (one.y = Math.min(one.y, most)) - LINE_HIGH * ratio;
    for (const { x, y, name, colour } of ends) {
      ctx.fillStyle = colour;
      drawText(ctx, name, x + 6 * ratio, y + 4 * ratio, ratio);
    }
  });
}

/** Where a line ends. */
function endOf(u, number, { label, colour }) {
  const place = u.data[number].findLastIndex((value) => !isGap(value));
  if (place < 0) return null;
  const [x, y] = [u.valToPos(u.data[0][place], "x", true), u.valToPos(u.data[number][place], "y", true)];
  return { x, y, name: label, colour: css(colour) };
}
