// Before the page is painted: dark or light, as was chosen here the last time. Without a choice, the system's.
"use strict";
try {
  const kept = localStorage.getItem("cogmeter.theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch {
  // Storage is refused: the system's choice holds.
}
document.documentElement.classList.add("script");
