// The page's own life: it renews itself, keeps what is shown in its address, and draws charts. Tables and figures come
// from the server as HTML and are put in place of the old ones; what charts draw comes from /api/performance.

import { ask, askJson } from "./ask.js";
import { draw, onZoom, recolour } from "./charts.js";
import { morph } from "./morph.js";
import { listen, rest } from "./live.js";
import { tell } from "./feed.js";
import { arrangeAll } from "./tables.js";

const root = document.documentElement;
const main = document.getElementById("main");
const hasCharts = root.dataset.charts === "uplot" && typeof uPlot === "function";
const PATIENCE_S = 60; // for changes: a test tries one target after the other
let timer;
let running;

// Renewing -----------------------------------------------------------------------------------------------------

/** Show what this page's address says now. Other modules may call it after a change. */
export async function refresh() {
  clearTimeout(timer);
  running?.abort();
  const mine = (running = new AbortController());
  main.setAttribute("aria-busy", "true");
  try {
    await renew(mine.signal);
    trouble("");
  } catch (error) {
    if (running !== mine) return; // something newer is asked for
    trouble(`This page could not be renewed: ${error.message}. What it shows may be old${again()}.`);
  }
  main.removeAttribute("aria-busy");
  later();
}

async function renew(signal) {
  const { response, text } = await ask(location.href, { headers: { Accept: "text/html" }, signal });
  if (response.redirected) return location.assign(response.url); // the session is over
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const wanted = fresh.getElementById("main");
  if (!response.ok || !wanted) throw new Error(fresh.querySelector("main p")?.textContent || `status ${response.status}`);
  arrangeAll(fresh);
  const focused = document.activeElement;
  document.title = fresh.title;
  document.body.dataset.refresh = fresh.body.dataset.refresh;
  for (const part of document.querySelectorAll("header [data-part]")) {
    morph(part, fresh.querySelector(`header [data-part="${part.dataset.part}"]`));
  }
  morph(main, wanted);
  if (focused !== document.activeElement && focused?.isConnected) focused.focus();
  document.dispatchEvent(new CustomEvent("cogmeter:renewed"));
  if (hasCharts) await draw();
}

const again = () => (Number(document.body.dataset.refresh) > 0 ? "; it is tried again" : "");

function later() {
  clearTimeout(timer);
  const seconds = Number(document.body.dataset.refresh);
  if (seconds > 0 && !document.hidden) timer = setTimeout(refresh, seconds * 1000);
}

/** Renew soon, once for many reasons; a page that is never to renew itself is left alone. */
function soon() {
  if (!Number(document.body.dataset.refresh)) return;
  clearTimeout(timer);
  timer = setTimeout(refresh, 1000);
}

function trouble(words) {
  const banner = document.getElementById("trouble");
  if (banner.textContent !== words) banner.textContent = words;
  banner.hidden = !words;
}

// The address --------------------------------------------------------------------------------------------------

/** Show another stretch of time, service or refresh: parameters by name, null to leave one out. */
export function go(changes) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  show(url);
}

function show(url) {
  if (url.href !== location.href) history.pushState(null, "", url);
  refresh();
}

const iso = (at) => new Date(at * 1000).toISOString().replace(".000Z", "Z");

/** A stretch of whole minutes; one that reaches to now goes on with the time. */
function stretch(since, until) {
  const now = Date.now() / 1000;
  const begin = Math.floor(Math.min(since, now - 300) / 60) * 60;
  const end = Math.ceil(until / 60) * 60;
  return { since: iso(begin), until: end < now ? iso(end) : null, period: null };
}
onZoom((since, until) => go(stretch(since, until)));

// The way back: what is chosen shows what the address says, also where the focus is.
addEventListener("popstate", async () => {
  await refresh();
  for (const one of document.getElementById("controls").elements) {
    if (one.localName === "select") one.value = one.querySelector("option[selected]")?.value ?? one.options[0].value;
  }
});

document.addEventListener("change", (event) => {
  const { form, name, value } = event.target;
  if (form?.id !== "controls") return;
  const stretched = ["period", "days"].includes(name) ? { since: null, until: null } : {};
  go({ ...stretched, [name]: value });
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

/** Send a change to the API, and give its answer; a problem is raised with its own words. */
export function send(method, path, body) {
  const token = document.querySelector('meta[name="csrf"]').content;
  const headers = { "X-CSRF-Token": token };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return askJson(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), patience: PATIENCE_S });
}

/** Say something for a moment, aloud for screen readers. */
export function toast(words, style = "") {
  const line = document.createElement("p");
  line.className = `toast ${style}`;
  line.textContent = words;
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), 8000);
}

// Dark and light -----------------------------------------------------------------------------------------------

const THEMES = ["system", "dark", "light"];
const themeButton = document.getElementById("theme");

function theme() {
  return root.dataset.theme ?? "system";
}

function nameTheme() {
  themeButton.textContent = `Theme: ${theme()}`;
  themeButton.hidden = false;
}

themeButton.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (next === "system") delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    if (next === "system") localStorage.removeItem("cogmeter.theme");
    else localStorage.setItem("cogmeter.theme", next);
  } catch {
    // Storage is refused: it holds until the page is left.
  }
  nameTheme();
  recolour();
});
matchMedia("(prefers-color-scheme: light)").addEventListener("change", recolour);

// What happens ---------------------------------------------------------------------------------------------------

function follow() {
  listen("/api/performance/live", ["snapshot", "alert", "marker", "trouble"], (name, data) => {
    tell(name, data);
    document.dispatchEvent(new CustomEvent(`cogmeter:${name}`, { detail: data }));
    if (name === "alert" || name === "marker") soon();
  });
}

// A page that nobody looks at asks for nothing.
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.hidden) return rest();
  follow();
  if (Number(document.body.dataset.refresh)) refresh();
});

// The start ----------------------------------------------------------------------------------------------------

nameTheme();
arrangeAll(document);
if (hasCharts) draw();
follow();
later();
