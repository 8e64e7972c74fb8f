// The erasure of a user's data: checked, confirmed in a dialog, sent in a body. The id is in no address.

import { act } from "./actions.js";
import { send } from "./app.js";

const form = document.getElementById("forget-form");
const dialog = document.getElementById("forget");
const result = document.getElementById("forget-result");

function show(message, style = "") {
  result.className = style;
  result.textContent = message;
}

/** Return the user in the form as a body for the API. */
function enteredUser() {
  const { user, name } = form.elements;
  const body = { userId: user.value.trim() };
  if (name.value.trim()) body.name = name.value.trim();
  return body;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { userId, name } = enteredUser();
  if (!new RegExp(form.dataset.pattern).test(userId)) {
    show(`${userId || "An empty text"} ${form.dataset.wrong}.`, "wrong");
    return form.elements.user.focus();
  }
  show("");
  document.getElementById("forget-who").textContent = name ? `${userId} (${name})` : userId;
  dialog.returnValue = ""; // Escape leaves it as it was
  dialog.showModal();
});

dialog.addEventListener("close", () => {
  if (dialog.returnValue !== "erase") return show("Nothing was erased.");
  act(
    form.querySelector("button"),
    async () => {
      show("Erasing \u2026");
      const { message } = await send("POST", "/api/performance/forget", enteredUser());
      form.reset();
      show(message);
    },
    (message) => show(`Not erased: ${message}.`, "wrong"),
  );
});
