// The live stream: shows its state and reconnects by itself.

const WAITS_S = [1, 2, 5, 10, 30];
const SILENCE_MS = 15_000; // the server sends something every second
let source;
let tries = 0;
let timer;
let silence;

function show(state, message) {
  const shown = document.getElementById("live");
  shown.dataset.state = state;
  const text = document.getElementById("live-text");
  if (text.textContent !== message) text.textContent = message;
}

function close() {
  source?.close();
  clearTimeout(timer);
  clearTimeout(silence);
}

/** Close the stream until the next `listen`. */
export function rest() {
  close();
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
