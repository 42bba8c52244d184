"use strict";
// A table of any length: rows are data, and only those of one page are in the document.
const SIZE = 100;
const rows = JSON.parse(document.getElementById("data").textContent);
const pictures = new Map(JSON.parse(document.getElementById("pictures").textContent));
const table = document.getElementById("rows");
const heads = [...table.tHead.rows[0].cells];
const kinds = heads.map((head) => head.className);
const [NAME, LINK] = [0, heads.length]; // after the columns: a link
const VERDICT = heads.findIndex((head) => head.dataset.column === "verdict");
const SAID = heads.findIndex((head) => head.dataset.column === "warnings");
const byId = (id) => document.getElementById(id);
const viewer = byId("viewer");
const words = new Intl.Collator("en", { numeric: true });
let shown = []; // their numbers, in order
let start = 0;
let sorted = { column: -1, sign: 0 };

function element(tag, text, kind) {
  const made = document.createElement(tag);
  made.textContent = text; // never HTML: names are anybody's
  if (kind) made.className = kind;
  return made;
}

function nameCell(row, index) {
  const cell = element("th", "");
  cell.scope = "row";
  if (pictures.has(index)) {
    const button = element("button", row[NAME], "link");
    button.type = "button";
    button.addEventListener("click", () => view(row[NAME], pictures.get(index)));
    cell.append(button);
  } else if (row[LINK]) {
    const link = element("a", row[NAME]);
    link.href = row[LINK];
    cell.append(link);
  } else cell.textContent = row[NAME];
  return cell;
}

function listCell(sentences) {
  const cell = element("td", "", "prose");
  if (!sentences.length) return cell;
  const list = document.createElement("ul");
  for (const sentence of sentences) list.append(element("li", sentence));
  cell.append(list);
  return cell;
}

function line(index) {
  const row = rows[index];
  const made = document.createElement("tr");
  made.className = { use: "", care: "warned" }[row[VERDICT]] ?? "none";
  made.append(nameCell(row, index));
  for (let i = 1; i < heads.length; i++) {
    if (i === SAID) made.append(listCell(row[i]));
    else made.append(element("td", row[i] === null ? "" : row[i], kinds[i]));
  }
  return made;
}

function view(name, source) {
  byId("viewer.title").textContent = name;
  const image = viewer.querySelector("img");
  image.src = source;
  image.alt = `Phase space, saliency, posterior and place among the mocks of ${name}`;
  viewer.showModal();
}

function draw() {
  table.tBodies[0].replaceChildren(...shown.slice(start, start + SIZE).map(line));
  const last = Math.max(0, Math.floor((shown.length - 1) / SIZE) * SIZE);
  const end = Math.min(start + SIZE, shown.length);
  byId("page").textContent = shown.length ? `${start + 1} to ${end} of ${shown.length}` : "none";
  byId("count").textContent = `${shown.length} of ${rows.length} clusters`;
  for (const id of ["first", "previous"]) byId(id).disabled = start === 0;
  for (const id of ["next", "last"]) byId(id).disabled = start >= last;
}

function go(to) {
  const last = Math.max(0, Math.floor((shown.length - 1) / SIZE) * SIZE);
  start = Math.min(Math.max(0, to), last);
  draw();
  table.parentElement.scrollTop = 0;
}

const numbers = (value) => (value === null ? NaN : Number(value));
const empty = (value) => value === null || value.length === 0;

function compare(a, b, column) {
  if (column === SAID) return a.length - b.length;
  return kinds[column] === "number" ? numbers(a) - numbers(b) : words.compare(a, b);
}

function arrange() {
  const part = byId("filter").value.trim().toLocaleLowerCase("en");
  const which = byId("which").value;
  const wanted = (row) => which === "all" || row[VERDICT] === which;
  shown = [...rows.keys()].filter((i) => wanted(rows[i]) && rows[i][NAME].toLocaleLowerCase("en").includes(part));
  const { column, sign } = sorted;
  if (sign) {
    const full = shown.filter((i) => !empty(rows[i][column]));
    full.sort((a, b) => sign * compare(rows[a][column], rows[b][column], column) || a - b);
    shown = full.concat(shown.filter((i) => empty(rows[i][column])));
  }
  go(0);
}

function sort(column) {
  const sign = sorted.column === column ? { 1: -1, "-1": 0, 0: 1 }[sorted.sign] : 1;
  sorted = { column, sign };
  for (const head of heads) head.removeAttribute("aria-sort");
  if (sign) heads[column].setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  arrange();
}

heads.forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => sort(column));
});
byId("filter").addEventListener("input", arrange);
byId("which").addEventListener("change", arrange);
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("first").addEventListener("click", () => go(0));
byId("previous").addEventListener("click", () => go(start - SIZE));
byId("next").addEventListener("click", () => go(start + SIZE));
byId("last").addEventListener("click", () => go(shown.length - 1 - ((shown.length - 1) % SIZE)));
arrange();
