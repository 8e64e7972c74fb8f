// The live panel: operations per second, and alerts and markers as they happen.

import { duration, percent, short } from "./format.js";
import { clockSeconds } from "./times.js";

const SECONDS = 60;
const SHOWN = 20;
const rates = []; // of the last minute: [operations, failures] per second

/** Show one event of the live stream, if the page has the panel. */
export function showEvent(name, data) {
  if (name === "snapshot") {
    rates.push([data.operationsPerSecond, data.failuresPerSecond]);
    rates.splice(0, rates.length - SECONDS);
    pulse(data);
  } else if (name === "alert") {
    const state = { firing: "fired", acknowledged: "acknowledged", muted: "muted", resolved: "resolved" }[data.state];
    if (state) add(data.state === "firing" ? data.severity : data.state, `${data.service}: ${people(data.message)}`, state);
  } else if (name === "marker") {
    add("info", data.name, data.kind);
  } else if (name === "trouble") {
    caption(data.detail);
  }
}

/** A message of the API in the formats of the pages: 8.2 s, 120/min. */
const people = (message) =>
  message.replace(/\b(of|for|usually|than|after) (\d[\d.,]*)(ms|s)\b/g, "$1 $2 $3").replace(" operations/minute ", "/min ");

function caption(text) {
  const place = document.getElementById("pulse-words");
  if (place && place.textContent !== text) place.textContent = text;
}

function pulse(data) {
  const shown = document.querySelector(".pulse");
  if (!shown) return;
  const most = Math.max(1, ...rates.map(([all]) => all));
  const bars = (place) =>
    rates
      .map((rate, at) => {
        const high = rate[place] ? Math.max(Math.round((rate[place] / most) * 46), 2) : 0;
        return high ? `M${(SECONDS - rates.length + at) * 10} 48h8v-${high}h-8z` : "";
      })
      .join("");
  shown.querySelector(".all").setAttribute("d", bars(0));
  shown.querySelector(".bad").setAttribute("d", bars(1));
  const minutes = (Date.parse(data.timeRange.until) - Date.parse(data.timeRange.since)) / 60_000;
  caption(`${short(data.totalOperations / minutes)}/min, p95 ${duration(data.p95ResponseTime)}, ${percent(data.errorRate)} failed`);
}

function add(style, text, what) {
  const feed = document.getElementById("feed");
  if (!feed) return;
  feed.querySelector(".hint:only-child")?.remove();
  const item = document.createElement("li");
  const head = document.createElement("span");
  head.className = "row";
  const badge = document.createElement("span");
  badge.className = `badge ${style}`;
  badge.textContent = what;
  const at = document.createElement("time");
  const now = new Date();
  at.dateTime = now.toISOString();
  at.textContent = clockSeconds(now / 1000);
  head.append(badge, at);
  const line = document.createElement("span");
  line.textContent = text;
  item.append(head, line);
  feed.prepend(item);
  while (feed.children.length > SHOWN) feed.lastChild.remove();
}
