// Refreshes the page, keeps its parameters in the URL, and draws charts. Tables and figures come from the server as
// HTML that replaces the old one; the data of charts comes from /api/performance.

import { request, requestJson } from "./request.js";
import { draw, onSelect, onZoom } from "./charts.js";
import "./copy.js";
import { showEvent } from "./feed.js";
import { answered, listen, rest } from "./live.js";
import { morph } from "./morph.js";
import "./preferences.js";
import { selected, selectionParams } from "./selecting.js";
import { arrangeAll } from "./tables.js";
import { localize } from "./times.js";

const main = document.getElementById("main");
const hasCharts = document.documentElement.dataset.charts === "uplot" && typeof uPlot === "function";
const TIMEOUT_S = 60; // for changes: a test alert is sent to one target after the other
let timer;
let running;

// Refreshing ---------------------------------------------------------------------------------------------------

/** Show the page of the present URL. Other modules call it after a change. */
export async function refresh() {
  clearTimeout(timer);
  running?.abort();
  const mine = (running = new AbortController());
  main.setAttribute("aria-busy", "true");
  try {
    await load(mine.signal);
    trouble("");
  } catch (error) {
    if (running !== mine) return; // a newer refresh runs
    trouble(`Could not refresh: ${error.message}.${retries() ? " Retrying." : ""}`);
  }
  main.removeAttribute("aria-busy");
  later();
}

async function load(signal) {
  const { response, text } = await request(location.href, { headers: { Accept: "text/html" }, signal });
  if (response.redirected) return location.assign(response.url); // the session is over
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const freshMain = fresh.getElementById("main");
  if (!response.ok || !freshMain) throw new Error(fresh.querySelector("main p")?.textContent || `status ${response.status}`);
  answered();
  arrangeAll(fresh);
  localize(fresh);
  const focused = document.activeElement;
  document.title = fresh.title;
  document.body.dataset.refresh = fresh.body.dataset.refresh;
  for (const part of document.querySelectorAll("header [data-part]")) {
    morph(part, fresh.querySelector(`header [data-part="${part.dataset.part}"]`));
  }
  morph(main, freshMain);
  if (focused !== document.activeElement && focused?.isConnected) focused.focus();
  document.dispatchEvent(new CustomEvent("cogmeter:refreshed"));
  if (hasCharts) await draw();
}

const retries = () => Number(document.body.dataset.refresh) > 0;

function later() {
  clearTimeout(timer);
  const seconds = Number(document.body.dataset.refresh);
  if (seconds > 0 && !document.hidden) timer = setTimeout(refresh, seconds * 1000);
}

/** Refresh in a second, once for several events; not if the page never refreshes. */
function soon() {
  if (!Number(document.body.dataset.refresh)) return;
  clearTimeout(timer);
  timer = setTimeout(refresh, 1000);
}

function trouble(message) {
  const banner = document.getElementById("trouble");
  if (banner.textContent !== message) banner.textContent = message;
  banner.hidden = !message;
}

// The URL ------------------------------------------------------------------------------------------------------

/** Change parameters of the page: values by name, null removes one; and the place on it. */
function go(changes, place = "") {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  url.hash = place;
  return show(url);
}

function show(url) {
  if (url.href !== location.href) history.pushState(null, "", url);
  return refresh();
}

const iso = (at) => new Date(at * 1000).toISOString().replace(".000Z", "Z");

/** Return the parameters of a range in whole minutes; without an end if it reaches now. */
function rangeOf(since, until) {
  const now = Date.now() / 1000;
  const begin = Math.floor(Math.min(since, now - 300) / 60) * 60;
  const end = Math.ceil(until / 60) * 60;
  return { since: iso(begin), until: end < now ? iso(end) : null, period: null };
}
onZoom((since, until) => go(rangeOf(since, until)));

onSelect(async (since, until, alert) => {
  await go(selectionParams(since, until), alert ? `cause-${alert}` : "");
  if (!openPlace()) document.querySelector("#selection > header")?.scrollIntoView({ block: "nearest" });
});

/** Open and show the part of the page that the address names, such as an alert; return false without one. */
function openPlace() {
  const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!place) return false;
  if (place.localName === "details") place.open = true;
  place.scrollIntoView({ block: "center" });
  (place.querySelector("summary") ?? place).focus({ preventScroll: true });
  return true;
}

document.addEventListener("keydown", (event) => {
  const isElsewhere = event.defaultPrevented || event.target.closest("input, select, textarea, dialog");
  if (event.key === "Escape" && !isElsewhere && selected()) go({ from: null, to: null });
});

// Back and forward: selections follow the URL, also the focused one.
addEventListener("popstate", async () => {
  await refresh();
  for (const one of document.getElementById("controls").elements) {
    if (one.localName === "select") one.value = one.querySelector("option[selected]")?.value ?? one.options[0].value;
  }
});

document.addEventListener("change", (event) => {
  const { form, name, value } = event.target;
  if (form?.id !== "controls") return;
  const range = ["period", "days"].includes(name) ? { since: null, until: null, from: null, to: null } : {};
  const other = name === "service" ? { operation: null } : {}; // another service has other operations
  go({ ...range, ...other, [name]: value });
});
document.addEventListener("submit", (event) => {
  if (event.target.id === "controls") event.preventDefault();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(new URL(link.href));
});

// Changes ------------------------------------------------------------------------------------------------------

/** Send a change to the API and return the response; throw a problem with its message. */
export function send(method, path, body) {
  const token = document.querySelector('meta[name="csrf"]').content;
  const headers = { "X-CSRF-Token": token };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return requestJson(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), timeoutS: TIMEOUT_S });
}

/** Show a message for some seconds; screen readers announce it. */
export function toast(message, style = "") {
  const line = document.createElement("p");
  line.className = `toast ${style}`;
  line.textContent = message;
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), 8000);
}

// The live stream ------------------------------------------------------------------------------------------------

function follow() {
  listen("/api/performance/live", ["snapshot", "alert", "marker", "trouble"], (name, data) => {
    showEvent(name, data);
    document.dispatchEvent(new CustomEvent(`cogmeter:${name}`, { detail: data }));
    if (name === "alert" || name === "marker") soon();
  });
}

// A hidden page sends no requests.
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.hidden) return rest();
  follow();
  if (Number(document.body.dataset.refresh)) refresh();
});

// The start ----------------------------------------------------------------------------------------------------

arrangeAll(document);
openPlace();
if (hasCharts) draw();
answered();
follow();
later();
