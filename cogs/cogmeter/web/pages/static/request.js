// Requests to the bot with a timeout; errors have readable messages.

const TIMEOUT_S = 20;

/** Fetch a URL and return the response with its text; `signal` aborts it. */
export async function request(url, { signal, timeoutS = TIMEOUT_S, ...options } = {}) {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), timeoutS * 1000);
  signal?.addEventListener("abort", () => end.abort());
  try {
    const response = await fetch(url, { ...options, signal: end.signal });
    return { response, text: await response.text() };
  } catch {
    throw new Error(end.signal.aborted ? `no response within ${timeoutS} s` : "cannot reach the bot");
  } finally {
    clearTimeout(timer);
  }
}

/** Fetch JSON; throw a problem with its message. */
export async function requestJson(url, options = {}) {
  const { response, text } = await request(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
  let content = {};
  try {
    content = JSON.parse(text);
  } catch {
    // Not JSON, for example of a proxy: the status is the message.
  }
  if (!response.ok) throw new Error(content.detail || `status ${response.status}`);
  return content;
}
