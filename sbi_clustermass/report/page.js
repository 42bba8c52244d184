"use strict";
// Sortable tables: a click on a heading sorts by its column, a second one turns the order, a third restores it.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];

  function number(text) {
    const found = text.replace(/\u2212/g, "-").match(/[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf/i);
    return found ? Number(found[0].toLowerCase().replace("inf", "Infinity")) : NaN;
  }

  function compare(a, b, numeric) {
    return numeric ? number(a) - number(b) || 0 : a.localeCompare(b, "en", { numeric: true });
  }

  function sort(column) {
    const before = heads[column].getAttribute("aria-sort");
    const order = { ascending: "descending", descending: null }[before];
    const next = before === null ? "ascending" : order;
    for (const head of heads) head.removeAttribute("aria-sort");
    let rows = original;
    if (next) {
      heads[column].setAttribute("aria-sort", next);
      const numeric = heads[column].classList.contains("number");
      const text = (row) => row.cells[column].textContent.trim();
      const empty = (row) => (numeric ? Number.isNaN(number(text(row))) : text(row) === "");
      const sign = next === "ascending" ? 1 : -1;
      const full = original.filter((row) => !empty(row));
      full.sort((a, b) => sign * compare(text(a), text(b), numeric));
      rows = full.concat(original.filter(empty));
    }
    body.append(...rows);
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(column));
  });
}
