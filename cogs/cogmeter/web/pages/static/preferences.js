// The choices of the reader that are remembered: dark or light, the time zone, and the previous period in charts.

import { compareIf, redraw } from "./charts.js";
import { recall, remember } from "./memory.js";
import { localize, switchZone, zone } from "./times.js";

const root = document.documentElement;
const THEMES = ["system", "dark", "light"];
const themeButton = document.getElementById("theme");
const zoneButton = document.getElementById("zone");

// Dark and light -----------------------------------------------------------------------------------------------

const theme = () => root.dataset.theme ?? "system";

themeButton.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (next === "system") delete root.dataset.theme;
  else root.dataset.theme = next;
  remember("theme", next === "system" ? null : next);
  nameButtons();
  redraw();
});
matchMedia("(prefers-color-scheme: light)").addEventListener("change", redraw);

// The time zone ------------------------------------------------------------------------------------------------

zoneButton.addEventListener("click", () => {
  switchZone();
  localize(document);
  nameButtons();
  redraw();
  document.dispatchEvent(new CustomEvent("cogmeter:zone"));
});

// The previous period ------------------------------------------------------------------------------------------

let isPrinted = false;
const isCompared = () => recall("before") !== "off" && !isPrinted;
compareIf(isCompared);

document.addEventListener("click", (event) => {
  if (!event.target.closest("button.compare")) return;
  remember("before", isCompared() ? "off" : null);
  nameButtons();
  redraw({ isRead: true });
});
for (const [name, value] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(name, () => {
    isPrinted = value;
    redraw();
  });
}

function nameButtons() {
  themeButton.textContent = `Theme: ${theme()}`;
  zoneButton.textContent = `Times: ${zone()}`;
  themeButton.hidden = zoneButton.hidden = false;
  for (const button of document.querySelectorAll("button.compare")) button.setAttribute("aria-pressed", String(isCompared()));
}
nameButtons();
localize(document);
