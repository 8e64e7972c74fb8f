// Sorts tables by a click on a column's head. The order stays when the table is refreshed.

const chosen = new Map(); // a table's data-key -> [column, ascending]

const valueOf = (row, column) => {
  const cell = row.cells[column];
  return cell?.dataset.value ?? cell?.textContent.trim() ?? "";
};

/** Sort the rows of a table by the chosen column. */
function arrange(table) {
  const [column, ascending] = chosen.get(table.dataset.key) ?? [];
  if (column === undefined || !table.tBodies.length) return;
  const heads = [...table.tHead.rows[0].cells];
  for (const [place, head] of heads.entries()) {
    if (place === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  const byNumber = heads[column]?.dataset.sort === "number";
  const compare = byNumber
    ? (a, b) => (a === "" ? -Infinity : Number(a)) - (b === "" ? -Infinity : Number(b)) || 0
    : (a, b) => a.localeCompare(b, "en", { numeric: true });
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
  rows.sort((a, b) => (ascending ? 1 : -1) * compare(a[0], b[0]));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

/** Sort every table in a part of a page, before it is shown. */
export function arrangeAll(root) {
  for (const table of root.querySelectorAll("table[data-key]")) arrange(table);
}

document.addEventListener("click", (event) => {
  const head = event.target.closest("th[data-sort]");
  const table = head?.closest("table[data-key]");
  if (!table || !event.target.closest("button")) return;
  const focused = document.activeElement;
  const now = head.getAttribute("aria-sort");
  // Numbers are first shown from the largest, names from A.
  const ascending = now ? now === "descending" : head.dataset.sort !== "number";
  chosen.set(table.dataset.key, [head.cellIndex, ascending]);
  arrange(table);
  focused?.focus();
});
