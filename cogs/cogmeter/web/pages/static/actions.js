// Actions of buttons and forms: each is sent once, and its error is shown.

import { refresh, toast } from "./app.js";

/** Run an action with its button disabled; an error is shown with the API's message. */
export async function act(button, work, failed = (message) => toast(message, "bad")) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true"); // not disabled: it keeps the focus
  try {
    await work();
  } catch (error) {
    failed(error.message);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Refresh the page, and move the focus to the first of these places if the focused button is gone. */
export async function refreshed(...places) {
  await refresh();
  if (document.activeElement !== document.body) return;
  places.map((place) => document.querySelector(place)).find(Boolean)?.focus();
}

/** A list that is filtered by one of these parameters again starts at its first page. */
export function restartPages(...names) {
  document.addEventListener(
    "change",
    ({ target }) => {
      if (!names.includes(target.name) || target.form?.id !== "controls") return;
      const url = new URL(location.href);
      url.searchParams.delete("page");
      history.replaceState(null, "", url);
    },
    { capture: true },
  );
}
