// The actions of the errors page: resolve a group, mute it, end its mute.

import { act, refreshed, restartPages } from "./actions.js";
import { send, toast } from "./app.js";

const API = "/api/performance/error-groups";

const DO = {
  resolve: (button) =>
    act(button, async () => {
      const group = await send("POST", `${API}/${button.dataset.id}/resolve`);
      toast(`Error ${group.id} resolved by ${group.resolvedBy}. It reopens when it comes back.`);
      await refreshed("#state-title");
    }),
  unmute: (button) =>
    act(button, async () => {
      await send("POST", `${API}/${button.dataset.id}/mute`, { seconds: null });
      toast("Mute ended.");
      await refreshed("#mute-form select");
    }),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  if (button) DO[button.dataset.do](button);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id !== "mute-form") return;
  event.preventDefault();
  const { seconds } = form.elements;
  act(form.querySelector("button"), async () => {
    await send("POST", `${API}/${form.dataset.id}/mute`, { seconds: Number(seconds.value) });
    toast(`Muted for ${seconds.selectedOptions[0].textContent}.`);
    await refreshed("#mute-form select");
  });
});

restartPages("service", "operation", "kind", "state", "period");
