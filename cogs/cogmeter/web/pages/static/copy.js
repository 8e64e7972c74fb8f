// Buttons that copy a text, an element's text, or a link.

import { toast } from "./app.js";

function textOf({ copy, copyFrom, copyLink }) {
  if (copy !== undefined) return copy;
  if (copyFrom !== undefined) return document.getElementById(copyFrom).innerText;
  const url = new URL(location.href);
  if (copyLink) url.hash = copyLink;
  return url.href;
}

async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Browsers offer the clipboard only to pages of this machine or over HTTPS.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  if (!isDone) throw new Error("the browser refused it");
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button.copy");
  if (!button) return;
  try {
    await write(textOf(button.dataset));
    toast("Copied.");
  } catch (error) {
    toast(`Cannot copy: ${error.message}.`, "bad");
  }
  button.focus();
});
