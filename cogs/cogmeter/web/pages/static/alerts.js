// The actions of the alerts page. Every change goes through the API, and its result is announced.

import { act, refreshed, restartPages } from "./actions.js";
import { refresh, send, toast } from "./app.js";
import { dollars, duration, percent } from "./format.js";

const API = "/api/performance";
const dialog = document.getElementById("threshold");
const form = document.getElementById("threshold-form");
const muteForm = document.getElementById("mute-form");
const result = document.getElementById("threshold-result");
let previewed = ""; // the change of the last preview, as JSON: only this one can be saved

const DO = {
  acknowledge: (button) =>
    act(button, async () => {
      const alert = await send("POST", `${API}/alerts/${button.dataset.id}/acknowledge`);
      toast(`Alert ${alert.number} acknowledged by ${alert.acknowledgedBy}.`);
      await refreshed(`#alert-${CSS.escape(button.dataset.id)}`, "#active");
    }),
  mute: (button) => {
    choose(muteForm.elements.service, button.dataset.service);
    muteForm.elements.rule.value = button.dataset.rule;
    muteForm.scrollIntoView({ block: "center" });
    muteForm.elements.seconds.focus();
    toast("Choose a duration, then press Mute.");
  },
  unmute: (button) =>
    act(button, async () => {
      await send("DELETE", `${API}/mutes/${button.dataset.id}`);
      toast("Mute ended.");
      await refreshed("#mute-form select");
    }),
  edit: (button) => edit(button),
  save: (button) => act(button, () => save(), fail),
  close: () => dialog.close(),
  reset: (button) =>
    act(button, async () => {
      const answer = await send("PUT", `${API}/thresholds`, { values: { [button.dataset.limit]: null } });
      toast(`${button.dataset.limit} reset to the configured value: ${valueText(answer.changes[0].after)}.`);
      await refreshed(`[data-key="edit-${CSS.escape(button.dataset.limit)}"]`, "#thresholds");
    }),
  test: (button) =>
    act(button, async () => {
      const list = document.getElementById("test-result");
      list.replaceChildren(line("Sending \u2026", ""));
      try {
        const { targets } = await send("POST", `${API}/test-alert`, { target: button.dataset.target ?? null });
        list.replaceChildren(...targets.map((one) => line(`${one.target}: ${one.delivered ? "delivered" : one.error}`, one.delivered ? "ok" : "critical")));
      } catch (error) {
        list.replaceChildren(line(error.message, "critical"));
      }
      await refresh();
    }),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  if (button) DO[button.dataset.do](button);
});

function line(message, style) {
  const item = document.createElement("li");
  const text = document.createElement("span");
  text.className = style ? `badge ${style}` : "";
  text.textContent = message;
  item.append(text);
  return item;
}

/** Select a value; add it if the list does not contain it. */
function choose(select, value) {
  if (![...select.options].some((one) => one.value === value)) select.add(new Option(value, value));
  select.value = value;
}

// Mutes --------------------------------------------------------------------------------------------------------

muteForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const { service, rule, seconds, reason } = muteForm.elements;
  const body = { seconds: Number(seconds.value), reason: reason.value };
  if (rule.value) body.rule = rule.value;
  if (service.value !== "*") body.service = service.value;
  else if (!rule.value) body.all = true;
  act(muteForm.querySelector("button"), async () => {
    await send("POST", `${API}/mutes`, body);
    toast(`Muted for ${seconds.selectedOptions[0].textContent}.`);
    muteForm.reset();
    await refresh();
  });
});

// Thresholds ---------------------------------------------------------------------------------------------------

const EXAMPLES = { share: "5% or 0.05", milliseconds: "1.9 s or 1900 ms", seconds: "5 m or 300 s" };

function edit(button) {
  const { rule, title, unit, now, limit, field } = button.dataset;
  form.reset();
  form.dataset.rule = rule;
  document.getElementById("threshold-title").textContent = title;
  document.getElementById("threshold-now").textContent = `Now ${limit}: ${now}`;
  form.dataset.unit = unit;
  form.elements.field.value = field;
  form.elements.field.querySelector('[value="statistic"]').hidden = !("statistic" in button.dataset);
  const place = limit.includes("@") ? limit.slice(limit.indexOf("@") + 1) : "";
  const services = [...form.elements.service.options].map((one) => one.value);
  const own = services.filter((one) => one && (place === one || place.startsWith(`${one}/`) || place === `${one}.${field}` || place.startsWith(`${one}.`)));
  form.elements.service.value = own.sort((a, b) => b.length - a.length)[0] ?? "";
  form.elements.service.closest("label").hidden = "whole" in button.dataset;
  form.elements.operation.closest("label").hidden = !("byOperation" in button.dataset);
  changed();
  dialog.showModal();
  form.elements.value.focus();
}

/** Drop the last preview. */
function changed() {
  previewed = "";
  result.textContent = "";
  result.className = "";
  allow(false);
  const { field, service, operation } = form.elements;
  operation.disabled = !service.value;
  const unit = field.value === "threshold" || field.value === "recovery" ? form.dataset.unit : { for: "seconds", recovery_delay: "seconds" }[field.value] ?? "";
  const hint = { severity: "info, warning or critical", statistic: "average, p50, p95 or p99", min_operations: "a whole number" }[field.value];
  const off = field.value === "threshold" ? "; 0 turns the rule off" : "";
  document.getElementById("threshold-hint").textContent = hint ?? `${EXAMPLES[unit] ? `For example ${EXAMPLES[unit]}` : `In ${unit}`}${off}`;
}

/** Enable or disable saving, and highlight the next button. */
function allow(saving) {
  const save = dialog.querySelector('[data-do="save"]');
  save.disabled = !saving;
  save.classList.toggle("primary", saving);
  form.elements.try.classList.toggle("primary", !saving);
}

form.addEventListener("input", changed);

/** Return the change in the form, as a body for the API. */
function enteredChange() {
  const { field, service, operation, value } = form.elements;
  let key = form.dataset.rule;
  if (service.value) key += `@${service.value}${operation.value ? `/${operation.value}` : ""}`;
  if (field.value !== "threshold") key += `.${field.value}`;
  return { values: { [key]: value.value.trim() } };
}

function fail(message) {
  result.className = "wrong";
  result.textContent = message;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = enteredChange();
  act(form.elements.try, async () => {
    result.className = "";
    result.textContent = "Calculating \u2026";
    const { changes } = await send("PUT", `${API}/thresholds?dryRun=true`, body);
    if (JSON.stringify(body) !== JSON.stringify(enteredChange())) return; // the form has changed since
    const [{ before, after, message }] = changes;
    result.textContent = `${valueText(before)} \u2192 ${valueText(after)}. ${message}`;
    previewed = JSON.stringify(body);
    allow(true);
  }, fail);
});

async function save() {
  if (!previewed) return;
  const answer = await send("PUT", `${API}/thresholds`, JSON.parse(previewed));
  dialog.close();
  toast(`${answer.changes[0].key}: ${valueText(answer.changes[0].after)}. It applies now.`);
  await refresh();
}

/** Format a limit. */
function valueText({ field, value, unit }) {
  if (typeof value === "string") return value || "depends on the value";
  if (!value && (field === "threshold" || field === "recovery")) return "off";
  if (unit?.startsWith("share")) return percent(value);
  if (unit === "milliseconds") return duration(value);
  if (unit === "seconds") return duration(value * 1000);
  if (unit === "US dollars per day") return `${dollars(value)}/day`;
  return `${value} ${unit ?? ""}`.trim();
}

restartPages("state", "service");
