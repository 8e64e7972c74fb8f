// Questions to the bot that give up at some time, and whose failures are words for people.

const PATIENCE_S = 20;

/** fetch() with what came back as text; `signal` ends it before its time. */
export async function ask(address, { signal, patience = PATIENCE_S, ...options } = {}) {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), patience * 1000);
  signal?.addEventListener("abort", () => end.abort());
  try {
    const response = await fetch(address, { ...options, signal: end.signal });
    return { response, text: await response.text() };
  } catch {
    throw new Error(end.signal.aborted ? `no answer within ${patience} s` : "the bot cannot be reached");
  } finally {
    clearTimeout(timer);
  }
}

/** The JSON that is answered; a problem is raised with its own words. */
export async function askJson(address, options = {}) {
  const { response, text } = await ask(address, { ...options, headers: { Accept: "application/json", ...options.headers } });
  let answer = {};
  try {
    answer = JSON.parse(text);
  } catch {
    // Not from us: the status says what there is to say.
  }
  if (!response.ok) throw new Error(answer.detail || `status ${response.status}`);
  return answer;
}
