// Choices of the reader that the browser remembers.

/** Return a remembered choice; null without one. */
export function recall(name) {
  try {
    return localStorage.getItem(`cogmeter.${name}`);
  } catch {
    return null; // storage is not available
  }
}

/** Remember a choice; null forgets it. */
export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(`cogmeter.${name}`);
    else localStorage.setItem(`cogmeter.${name}`, value);
  } catch {
    // Storage is not available: the choice lasts until the page is closed.
  }
}
