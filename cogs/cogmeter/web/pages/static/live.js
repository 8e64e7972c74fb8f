// The stream of what happens, kept open: it says how it is, and comes again by itself when it is cut.

const WAITS_S = [1, 2, 5, 10, 30];
let source;
let tries = 0;
let timer;

function say(state, words) {
  const shown = document.getElementById("live");
  shown.dataset.state = state;
  const text = document.getElementById("live-text");
  if (text.textContent !== words) text.textContent = words;
}

/** Close the stream until it is listened to again. */
export function rest() {
  source?.close();
  clearTimeout(timer);
  say("off", "Not live");
}

/** Open the stream; `told(name, data)` is called for each of the named events. */
export function listen(address, names, told) {
  source?.close();
  clearTimeout(timer);
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
