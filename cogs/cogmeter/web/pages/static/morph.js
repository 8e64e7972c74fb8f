// Updates a part of the page to new HTML and changes only what differs: focus, open details and typed text stay.
// Elements with data-own belong to a script: their attributes and content do not change.

/** Make `old` equal to `fresh`, an element of the same kind. */
export function morph(old, fresh) {
  if (old.hasAttribute("data-own")) return;
  attributes(old, fresh);
  children(old, fresh);
}

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset?.key || node.id || "" : "");

function attributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
  }
  if (old.localName === "option" && document.activeElement !== old.parentElement) old.selected = fresh.selected;
}

/** Opened details, and a chart's state until it is drawn again. */
const kept = (node, name) => (name === "open" && node.localName === "details") || name === "data-state";

function children(old, fresh) {
  const wantedKeys = new Set([...fresh.children].map(keyOf));
  const keyed = new Map();
  for (const child of [...old.children]) {
    const key = keyOf(child);
    if (key && !wantedKeys.has(key)) child.remove();
    else if (key) keyed.set(key, child);
  }
  let at = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    const key = keyOf(node);
    const match = key ? keyed.get(key) : alike(at, node);
    if (!match || match.nodeName !== node.nodeName) {
      old.insertBefore(document.importNode(node, true), at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else old.insertBefore(match, at);
    if (match.nodeType === Node.ELEMENT_NODE) morph(match, node);
    else if (match.data !== node.data) match.data = node.data;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** Return the next node of the same kind without a key. */
function alike(at, node) {
  while (at && (keyOf(at) || at.nodeName !== node.nodeName)) at = at.nextSibling;
  return at;
}
