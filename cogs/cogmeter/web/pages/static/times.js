// Times as text in the reader's time zone: the browser's own one, or UTC by choice. The server writes every time in
// UTC, and localize() replaces it. Times are seconds since 1970.

import { recall, remember } from "./memory.js";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY = 86_400;
const HOUR = 3_600;
const own = new Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
let inUtc = recall("zone") === "utc";
const pad = (number) => String(number).padStart(2, "0");

/** The name of the time zone. */
export const zone = () => (inUtc || /^(Etc\/)?(UTC|GMT)$/.test(own) ? "UTC" : own);

/** Switch between UTC and the browser's own time zone. */
export function switchZone() {
  inUtc = !inUtc;
  remember("zone", inUtc ? "utc" : null);
}

/** By how many seconds the zone is ahead of UTC at a time. Daylight saving changes it. */
export const offset = (at) => (inUtc ? 0 : -60 * new Date(at * 1000).getTimezoneOffset());

/** The offset as text: UTC, UTC+2, UTC-3:30. */
export function offsetText(at) {
  const minutes = offset(at) / 60;
  if (!minutes) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "-" : "+"}${hours}${rest ? `:${pad(rest)}` : ""}`;
}

/** Return true if the zone has the same offset at all these times. */
export const isSteady = (times) => new Set(times.map(offset)).size < 2;

/** The clock on the wall as a Date whose UTC parts are read. */
const wall = (at) => new Date((at + offset(at)) * 1000);

/** A day: 17 Aug. */
export const day = (at) => dayOf(wall(at));
export const utcDay = (at) => dayOf(new Date(at * 1000));
const dayOf = (date) => `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;

/** A time of day: 10:30. */
export const clock = (at) => `${pad(wall(at).getUTCHours())}:${pad(wall(at).getUTCMinutes())}`;

/** A time of day with seconds: 10:30:05. */
export const clockSeconds = (at) => `${clock(at)}:${pad(wall(at).getUTCSeconds())}`;

/** Both: 17 Aug 10:30; with the offset where the day has two hours of the same name. */
export const dayClock = (at, steady = true) => `${day(at)} ${clock(at)}${steady ? "" : ` ${offsetText(at)}`}`;

/** A range as in frame.py: 17 Aug 10:30 to 11:45 Europe/Berlin; with the year unless it is this one. */
export function rangeText(since, until) {
  const isMidnight = (until + offset(until)) % DAY === 0; // shown as the last minute of the day before
  const end = until - (isMidnight ? 60 : 0);
  const thisYear = wall(Date.now() / 1000).getUTCFullYear();
  const dated = (at) => {
    const year = wall(at).getUTCFullYear();
    return `${day(at)}${year === thisYear ? "" : ` ${year}`} ${clock(at)}`;
  };
  const to = day(since) === day(end) && end - since < DAY ? clock(end) : dated(end);
  if (offset(since) === offset(end)) return `${dated(since)} to ${to} ${zone()}`;
  return `${dated(since)} ${offsetText(since)} to ${to} ${offsetText(end)}`;
}

/** Return the times between two that are round on the clock, also where daylight saving begins or ends. */
export function roundTimes(least, most, step) {
  const found = [];
  if (step <= HOUR) {
    const shift = offset(least) % step;
    for (let at = Math.ceil((least + shift) / step) * step - shift; at <= most; at += step) found.push(at);
    return found;
  }
  for (let clockTime = Math.ceil((least + offset(least)) / step) * step; ; clockTime += step) {
    const at = clockTime - offset(clockTime - offset(clockTime));
    if (at > most) return found;
    if (at >= least && at > (found.at(-1) ?? -Infinity)) found.push(at);
  }
}

const isToday = (at) => day(at) === day(Date.now() / 1000) && Math.abs(at - Date.now() / 1000) < 2 * DAY;
const STYLES = {
  clock: (at) => (isToday(at) ? clock(at) : dayClock(at)),
  moment: (at) => (isToday(at) ? clockSeconds(at) : `${day(at)} ${clockSeconds(at)}`),
  date: (at) => dayClock(at),
};
const seconds = (text) => Date.parse(text) / 1000;

/** Show every time in a part of a page in the zone, and name the zone. */
export function localize(root) {
  for (const element of root.querySelectorAll("time[data-time]")) {
    const at = seconds(element.dateTime);
    const style = STYLES[element.dataset.time]; // the time since then is the same in every zone
    if (style) element.textContent = style(at);
    element.title = `${day(at)} ${wall(at).getUTCFullYear()} ${clockSeconds(at)} ${offsetText(at)}`;
  }
  for (const element of root.querySelectorAll("[data-range]")) {
    element.textContent = rangeText(...element.dataset.range.split(" ").map(seconds));
  }
  for (const element of root.querySelectorAll("[data-zone]")) element.textContent = zone();
}
