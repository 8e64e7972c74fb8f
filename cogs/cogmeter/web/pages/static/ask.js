// Requests to the bot with a timeout; errors have readable messages.

const PATIENCE_S = 20;

/** Fetch a URL and return the response with its text; `signal` aborts it. */
export async function ask(address, { signal, patience = PATIENCE_S, ...options } = {}) {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), patience * 1000);
  signal?.addEventListener("abort", () => end.abort());
  try {
    const response = await fetch(address, { ...options, signal: end.signal });
    return { response, text: await response.text() };
  } catch {
    throw new Error(end.signal.aborted ? `no response within ${patience} s` : "cannot reach the bot");
  } finally {
    clearTimeout(timer);
  }
}

/** Fetch JSON; throw a problem with its message. */
export async function askJson(address, options = {}) {
  const { response, text } = await ask(address, { ...options, headers: { Accept: "application/json", ...options.headers } });
  let answer = {};
  try {
    answer = JSON.parse(text);
  } catch {
    // Not JSON, for example of a proxy: the status is the message.
  }
  if (!response.ok) throw new Error(answer.detail || `status ${response.status}`);
  return answer;
}
