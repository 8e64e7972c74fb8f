// The live stream: shows its state, reconnects by itself, and says since when the bot has not answered.

import { clockSeconds, offsetText } from "./times.js";

const WAITS_S = [1, 2, 5, 10, 30];
const SILENCE_MS = 15_000; // the server sends something every second
const STALE_MS = 3_000;
const banner = document.getElementById("stale");
let source;
let tries = 0;
let timer;
let silence;
let staleness;
let lastData = Date.now() / 1000; // this page

function show(state, message) {
  const shown = document.getElementById("live");
  shown.dataset.state = state;
  const since = `${clockSeconds(lastData)} ${offsetText(lastData)}`;
  const said = banner.hidden ? message : `Stale, last data ${since}`;
  const text = document.getElementById("live-text");
  if (text.textContent !== said) text.textContent = said;
  if (!banner.hidden) banner.textContent = `The bot does not answer. The last data came at ${since}; what you see is as of then.`;
}

function setStale(isStale) {
  if (banner.hidden !== isStale) return;
  banner.hidden = !isStale;
  document.getElementById("live").toggleAttribute("data-stale", isStale);
  const { state } = document.getElementById("live").dataset;
  show(state, state === "live" ? "Live" : "Reconnecting");
}

/** Note that the bot has answered now. */
export function answered() {
  lastData = Date.now() / 1000;
  setStale(false);
  clearTimeout(staleness);
  if (!document.hidden) staleness = setTimeout(() => setStale(true), STALE_MS);
}

document.addEventListener("cogmeter:zone", () => {
  const { state } = document.getElementById("live").dataset;
  if (!banner.hidden) show(state, "");
});

function close() {
  source?.close();
  clearTimeout(timer);
  clearTimeout(silence);
}

/** Close the stream until the next `listen`. */
export function rest() {
  close();
  clearTimeout(staleness);
  setStale(false);
  show("off", "Not live");
}

/** Open the stream; `received(name, data)` is called for each of the named events. */
export function listen(url, names, received) {
  close();
  // A connection that broke silently, for example while a laptop slept, is noticed only by this timer.
  const alive = () => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      tries += 1;
      listen(url, names, received);
    }, SILENCE_MS);
  };
  alive();
  show(tries ? "reconnecting" : "connecting", tries ? "Reconnecting" : "Connecting");
  source = new EventSource(url);
  source.onopen = () => {
    tries = 0;
    show("live", "Live");
  };
  source.onerror = () => {
    show("reconnecting", "Reconnecting");
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    const wait = WAITS_S[Math.min(tries++, WAITS_S.length - 1)];
    timer = setTimeout(() => listen(url, names, received), wait * 1000);
  };
  for (const name of names) {
    source.addEventListener(name, (event) => {
      alive();
      answered();
      let data = null;
      try {
        data = JSON.parse(event.data);
      } catch {
        return; // cut off: the next event is complete
      }
      received(name, data);
    });
  }
}
