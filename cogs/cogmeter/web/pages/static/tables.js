// Sorts tables by a click on a column's head, filters them by name, lists the problems first, and divides long tables
// into pages. All of it stays when the table is refreshed.

import { recall, remember } from "./memory.js";

const PAGE = 50; // rows
const OTHERS = 10; // services that are found but not in a table
const chosen = new Map(); // a table's data-key -> [column, ascending]
const pages = new Map(); // a table's data-key -> its page, from 0
let wanted = ""; // the text of the search
let problemsFirst = recall("problems") === "first";

const valueOf = (row, column) => {
  const cell = row.cells[column];
  return cell?.dataset.value ?? cell?.textContent.trim() ?? "";
};

/** Sort, filter and divide one table. */
function arrange(table) {
  if (!table.tBodies.length) return;
  const rows = sorted(table, [...table.tBodies[0].rows]);
  table.tBodies[0].append(...rows);
  const isSearched = "searched" in table.dataset;
  const found = isSearched && wanted ? rows.filter((row) => row.cells[0].textContent.toLowerCase().includes(wanted)) : rows;
  const count = Math.max(Math.ceil(found.length / PAGE), 1);
  const page = Math.min(pages.get(table.dataset.key) ?? 0, count - 1);
  const visible = new Set(isSearched ? found.slice(page * PAGE, (page + 1) * PAGE) : found);
  for (const row of rows) row.hidden = !visible.has(row);
  if (isSearched) showPager(table, { page, count, found: found.length, all: rows.length });
}

/** Return rows in the chosen order; those of a table that was never sorted stay as they are. */
function sorted(table, rows) {
  const [column, ascending] = chosen.get(table.dataset.key) ?? [];
  const byProblem = column === undefined && problemsFirst && "searched" in table.dataset;
  const heads = [...table.tHead.rows[0].cells];
  if (column === undefined && !byProblem) {
    return "searched" in table.dataset ? rows.sort((a, b) => a.dataset.place - b.dataset.place) : rows;
  }
  for (const [place, head] of heads.entries()) {
    if (place === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  if (byProblem) return rows.sort((a, b) => b.dataset.problem - a.dataset.problem || a.dataset.place - b.dataset.place);
  const byNumber = heads[column]?.dataset.sort === "number";
  const compare = byNumber
    ? (a, b) => (a === "" ? -Infinity : Number(a)) - (b === "" ? -Infinity : Number(b)) || 0
    : (a, b) => a.localeCompare(b, "en", { numeric: true });
  const valued = rows.map((row) => [valueOf(row, column), row]);
  return valued.sort((a, b) => (ascending ? 1 : -1) * compare(a[0], b[0])).map(([, row]) => row);
}

/** Show the page's number and buttons below a table; nothing if all rows are on one page. */
function showPager(table, { page, count, found, all }) {
  const pager = table.closest(".scroll").nextElementSibling;
  if (!pager?.matches(".pager")) return;
  pager.hidden = count === 1 && found === all;
  const first = page * PAGE + 1;
  const of = found === all ? `${all}` : `${found} found of ${all}`;
  pager.querySelector("span").textContent = found ? `${first} to ${Math.min(first + PAGE - 1, found)} of ${of}` : of;
  const [back, next] = pager.querySelectorAll("button");
  back.disabled = page === 0;
  next.disabled = page >= count - 1;
  back.hidden = next.hidden = count === 1;
}

/** Arrange every table in a part of a page, before it is shown. */
export function arrangeAll(root) {
  for (const table of root.querySelectorAll("table[data-key]")) arrange(table);
  showOthers(root);
  root.querySelector("#problems")?.setAttribute("aria-pressed", String(problemsFirst));
}

// The search ---------------------------------------------------------------------------------------------------

const ownDocument = (root) => (root === document ? document : root.ownerDocument ?? root);

/** List services that match the search and are in no table, because they are quiet or too many. */
function showOthers(root) {
  const list = root.querySelector("#other-services");
  if (!list) return;
  const page = ownDocument(root);
  const listed = new Set([...root.querySelectorAll("table[data-searched] tbody tr")].map((row) => row.dataset.key));
  const names = [...root.querySelectorAll("#controls [name=service] option")].map((one) => one.value);
  const found = wanted ? names.filter((name) => name && name.toLowerCase().includes(wanted) && !listed.has(name)) : [];
  list.replaceChildren(
    ...found.slice(0, OTHERS).map((name) => {
      const item = page.createElement("li");
      const link = page.createElement("a");
      link.href = `/performance/services/${encodeURIComponent(name)}${location.search}`;
      link.textContent = name;
      item.append(link);
      return item;
    }),
  );
  list.hidden = !found.length;
}

document.addEventListener("input", ({ target }) => {
  if (target.id !== "search") return;
  wanted = target.value.trim().toLowerCase();
  pages.clear();
  arrangeAll(document);
});
document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  const isTyped = event.target.closest("input, textarea, select, dialog");
  if (event.key === "/" && search && !isTyped && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
    search.select();
  }
  if (event.target !== search) return;
  if (event.key === "Escape" && search.value) {
    search.value = "";
    search.dispatchEvent(new Event("input", { bubbles: true }));
    event.preventDefault();
  }
  if (event.key === "Enter") {
    event.preventDefault();
    document.querySelector("table[data-searched] tbody tr:not([hidden]) a, #other-services a")?.click();
  }
});

// Buttons ------------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.id === "problems") {
    problemsFirst = !problemsFirst;
    remember("problems", problemsFirst ? "first" : null);
    for (const table of document.querySelectorAll("table[data-searched]")) unsort(table);
    arrangeAll(document);
  } else if (button?.dataset.page) {
    const table = button.closest(".pager").previousElementSibling.querySelector("table");
    pages.set(table.dataset.key, Math.max((pages.get(table.dataset.key) ?? 0) + Number(button.dataset.page), 0));
    arrange(table);
  } else if (button) {
    sortBy(event.target.closest("th[data-sort]"));
  }
});

function unsort(table) {
  chosen.delete(table.dataset.key);
  pages.delete(table.dataset.key);
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
}

function sortBy(head) {
  const table = head?.closest("table[data-key]");
  if (!table) return;
  const focused = document.activeElement;
  const now = head.getAttribute("aria-sort");
  // Numbers are first shown from the largest, names from A.
  const ascending = now ? now === "descending" : head.dataset.sort !== "number";
  chosen.set(table.dataset.key, [head.cellIndex, ascending]);
  pages.delete(table.dataset.key);
  arrange(table);
  focused?.focus();
}
