// The stream of what happens, kept open: it says how it is, and comes again by itself when it is cut.

const WAITS_S = [1, 2, 5, 10, 30];
const SILENCE_MS = 15_000; // the server says something every second
let source;
let tries = 0;
let timer;
let silence;

function say(state, words) {
  const shown = document.getElementById("live");
  shown.dataset.state = state;
  const text = document.getElementById("live-text");
  if (text.textContent !== words) text.textContent = words;
}

function close() {
  source?.close();
  clearTimeout(timer);
  clearTimeout(silence);
}

/** Close the stream until it is listened to again. */
export function rest() {
  close();
  say("off", "Not live");
}

/** Open the stream; `told(name, data)` is called for each of the named events. */
export function listen(address, names, told) {
  close();
  // A connection that broke without a word, as when a laptop slept, is not told from one that is silent but by the clock.
  const alive = () => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      tries += 1;
      listen(address, names, told);
    }, SILENCE_MS);
  };
  alive();
  say(tries ? "reconnecting" : "connecting", tries ? "Reconnecting" : "Connecting");
  source = new EventSource(address);
  source.onopen = () => {
    tries = 0;
    say("live", "Live");
  };
  source.onerror = () => {
    say("reconnecting", "Reconnecting");
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    const wait = WAITS_S[Math.min(tries++, WAITS_S.length - 1)];
    timer = setTimeout(() => listen(address, names, told), wait * 1000);
  };
  for (const name of names) {
    source.addEventListener(name, (event) => {
      alive();
      let data = null;
      try {
        data = JSON.parse(event.data);
      } catch {
        return; // cut short: the next one says it whole
      }
      told(name, data);
    });
  }
}
