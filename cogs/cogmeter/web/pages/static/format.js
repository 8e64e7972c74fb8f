// Numbers as text, in the form of render/formatting.py; for times see times.js.

const NOTHING = "\u2013";

/** Format a number of at least 0: one decimal below ten, none above. */
export function short(number) {
  if (number > 0 && number < 0.1) return number < 0.005 ? "<0.01" : String(Number(number.toPrecision(1)));
  return number < 9.95 ? String(Number(number.toFixed(1))) : Math.round(number).toLocaleString("en");
}

/** A duration in milliseconds: 145 ms, 1.2 s, 2 min 5 s, 3 h 12 min. */
export function duration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return NOTHING;
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms === 0) return "0 ms";
  if (ms < 0.9995) return `${short(ms * 1000)} \u00b5s`;
  if (ms < 999.5) return `${short(ms)} ms`;
  if (ms < 59_500) return `${short(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return pair(seconds, 60, "min", 1, "s");
  const minutes = Math.floor((seconds + 30) / 60);
  if (minutes < 1440) return pair(minutes, 60, "h", 1, "min");
  return pair(Math.floor((minutes + 30) / 60), 24, "d", 1, "h");
}

function pair(amount, large, largeName, small, smallName) {
  const rest = Math.floor((amount % large) / small);
  return `${Math.floor(amount / large).toLocaleString("en")} ${largeName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

/** An amount on the axis of a chart: 945, 12.4 k, 1.2 M. */
export function count(number) {
  if (number === null || number === undefined) return NOTHING;
  if (number < 0) return `-${count(-number)}`;
  if (number < 999.5) return short(number);
  const [size, unit] = number < 999_950 ? [1e3, "k"] : number < 999_950_000 ? [1e6, "M"] : [1e9, "G"];
  return `${Number((number / size).toFixed(1)).toLocaleString("en")} ${unit}`;
}

/** A share of 0 to 1: 97.2%. */
export function percent(share) {
  if (share === null || share === undefined) return NOTHING;
  if (share <= 0) return "0%";
  const value = share * 100;
  return `${value < 0.05 ? "<0.1" : Number(value.toFixed(1))}%`;
}

/** Bytes: 54.3 MB, 77.7 GB. */
export function bytes(number) {
  if (number === null || number === undefined) return NOTHING;
  for (const [unit, size] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (number < size) continue;
    const value = number / size;
    return `${value < 99.95 ? Number(value.toFixed(1)) : Math.round(value).toLocaleString("en")} ${unit}`;
  }
  return `${Math.round(number)} B`;
}

/** Dollars: $18.40, $1,204, $0.0042, $0.000015. */
export function dollars(number) {
  if (number === null || number === undefined) return NOTHING;
  if (number >= 1000) return `$${Math.round(number).toLocaleString("en")}`;
  return `$${number.toFixed(number > 0 && number < 0.0001 ? 6 : number > 0 && number < 0.1 ? 4 : 2)}`;
}

/** The formatter of each unit of a chart. */
export const UNITS = {
  ms: duration,
  s: (value) => duration(value === null ? null : value * 1000),
  bytes,
  dollars,
  share: percent,
  count,
};
