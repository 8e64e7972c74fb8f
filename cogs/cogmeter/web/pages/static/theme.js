// Sets the stored theme before the page is painted; without one, the system's theme applies.
"use strict";
try {
  const kept = localStorage.getItem("cogmeter.theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch {
  // Storage is not available: the system's theme applies.
}
document.documentElement.classList.add("script");
