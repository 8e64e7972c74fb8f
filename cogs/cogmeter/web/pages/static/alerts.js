// What can be done on the page of alerts. Every change goes through the API, and what came of it is said aloud.

import { refresh, send, toast } from "./app.js";
import { dollars, duration, percent } from "./format.js";

const API = "/api/performance";
const dialog = document.getElementById("threshold");
const form = document.getElementById("threshold-form");
const muteForm = document.getElementById("mute-form");
const said = document.getElementById("threshold-said");
let tried = ""; // the change that was tried last, as JSON: only that one can be saved

/** Do something with a button held down; a refusal is said in the API's own words. */
async function act(button, work, refused = (words) => toast(words, "bad")) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true"); // not disabled: it keeps the focus
  try {
    await work();
  } catch (error) {
    refused(error.message);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Renew the page, and put the focus where people expect it when the button that had it is gone. */
async function renewed(...places) {
  await refresh();
  if (document.activeElement !== document.body) return;
  places.map((place) => document.querySelector(place)).find(Boolean)?.focus();
}

const DO = {
  acknowledge: (button) =>
    act(button, async () => {
      const alert = await send("POST", `${API}/alerts/${button.dataset.id}/acknowledge`);
      toast(`Alert ${alert.number} is acknowledged by ${alert.acknowledgedBy}.`);
      await renewed(`#alert-${CSS.escape(button.dataset.id)}`, "#active");
    }),
  mute: (button) => {
    choose(muteForm.elements.service, button.dataset.service);
    muteForm.elements.rule.value = button.dataset.rule;
    muteForm.scrollIntoView({ block: "center" });
    muteForm.elements.seconds.focus();
    toast("Choose for how long, then press Mute.");
  },
  unmute: (button) =>
    act(button, async () => {
      await send("DELETE", `${API}/mutes/${button.dataset.id}`);
      toast("The mute is over.");
      await renewed("#mute-form select");
    }),
  edit: (button) => edit(button),
  save: (button) => act(button, () => save(), fail),
  close: () => dialog.close(),
  reset: (button) =>
    act(button, async () => {
      const answer = await send("PUT", `${API}/thresholds`, { values: { [button.dataset.limit]: null } });
      toast(`${button.dataset.limit} is as the settings have it again: ${worded(answer.changes[0].after)}.`);
      await renewed(`[data-key="edit-${CSS.escape(button.dataset.limit)}"]`, "#thresholds");
    }),
  test: (button) =>
    act(button, async () => {
      const list = document.getElementById("test-said");
      list.replaceChildren(line("Sending \u2026", ""));
      try {
        const { targets } = await send("POST", `${API}/test-alert`, { target: button.dataset.target ?? null });
        list.replaceChildren(...targets.map((one) => line(`${one.target}: ${one.delivered ? "told" : one.error}`, one.delivered ? "ok" : "critical")));
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

function line(words, style) {
  const item = document.createElement("li");
  const text = document.createElement("span");
  text.className = style ? `badge ${style}` : "";
  text.textContent = words;
  item.append(text);
  return item;
}

/** Choose a value of a select; one that is not there yet is added. */
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

/** Nothing that was tried before counts any more. */
function changed() {
  tried = "";
  said.textContent = "";
  said.className = "";
  allow(false);
  const { field, service, operation } = form.elements;
  operation.disabled = !service.value;
  const unit = field.value === "threshold" || field.value === "recovery" ? form.dataset.unit : { for: "seconds", recovery_delay: "seconds" }[field.value] ?? "";
  const words = { severity: "info, warning or critical", statistic: "average, p50, p95 or p99", min_operations: "a whole number" }[field.value];
  const off = field.value === "threshold" ? "; 0 switches the rule off" : "";
  document.getElementById("threshold-hint").textContent = words ?? `${EXAMPLES[unit] ? `Such as ${EXAMPLES[unit]}` : `In ${unit}`}${off}`;
}

/** Whether what stands there can be saved; the button to press next is the one that stands out. */
function allow(saving) {
  const save = dialog.querySelector('[data-do="save"]');
  save.disabled = !saving;
  save.classList.toggle("primary", saving);
  form.elements.try.classList.toggle("primary", !saving);
}

form.addEventListener("input", changed);

function wanted() {
  const { field, service, operation, value } = form.elements;
  let key = form.dataset.rule;
  if (service.value) key += `@${service.value}${operation.value ? `/${operation.value}` : ""}`;
  if (field.value !== "threshold") key += `.${field.value}`;
  return { values: { [key]: value.value.trim() } };
}

function fail(words) {
  said.className = "wrong";
  said.textContent = words;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = wanted();
  act(form.elements.try, async () => {
    said.className = "";
    said.textContent = "Trying \u2026";
    const { changes } = await send("PUT", `${API}/thresholds?dryRun=true`, body);
    if (JSON.stringify(body) !== JSON.stringify(wanted())) return; // it was changed meanwhile
    const [{ before, after, message }] = changes;
    said.textContent = `${worded(before)} \u2192 ${worded(after)}. ${message}`;
    tried = JSON.stringify(body);
    allow(true);
  }, fail);
});

async function save() {
  if (!tried) return;
  const answer = await send("PUT", `${API}/thresholds`, JSON.parse(tried));
  dialog.close();
  toast(`${answer.changes[0].key}: ${worded(answer.changes[0].after)}. It holds at once.`);
  await refresh();
}

/** A limit in people's words. */
function worded({ field, value, unit }) {
  if (typeof value === "string") return value || "depends on the value";
  if (!value && (field === "threshold" || field === "recovery")) return "off";
  if (unit?.startsWith("share")) return percent(value);
  if (unit === "milliseconds") return duration(value);
  if (unit === "seconds") return duration(value * 1000);
  if (unit === "US dollars a day") return `${dollars(value)} a day`;
  return `${value} ${unit ?? ""}`.trim();
}

// The history --------------------------------------------------------------------------------------------------

// Another choice of alerts begins at its first page.
document.addEventListener(
  "change",
  ({ target }) => {
    if (!["state", "service"].includes(target.name) || target.form?.id !== "controls") return;
    const url = new URL(location.href);
    url.searchParams.delete("page");
    history.replaceState(null, "", url);
  },
  { capture: true },
);
