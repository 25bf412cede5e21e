// Sorting by a column's head: first click best (or A) first, second click the other way round.
// Rows without a figure stay last.
const boards = [...document.querySelectorAll("#board table.board")];

function sortBy(table, heads, column) {
  const head = heads[column];
  const first = head.dataset.better === "up" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  heads.forEach((each) => each.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const keyed = [...table.tBodies[0].rows].map((row) => [row.cells[column].dataset.sort, row]);
  keyed.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (column > 0 ? a - b : a.localeCompare(b));
  });
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

for (const table of boards) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) =>
    head.querySelector("button").addEventListener("click", () => sortBy(table, heads, column)));
}

// Filters: rows by name and kind, columns by their boxes. The count is read out as it changes.
const checked = (name) => [...document.querySelectorAll(`input[name=${name}]`)];
function filter() {
  const wanted = document.getElementById("filter-name").value.trim().toLocaleLowerCase();
  const kinds = new Set(checked("kind").filter((box) => box.checked).map((box) => box.value));
  const every = checked("kind").length === 0;
  let [shown, all] = [0, 0];
  for (const table of boards) {
    let here = 0;
    for (const row of table.tBodies[0].rows) {
      const name = row.cells[0].dataset.sort.toLocaleLowerCase();
      row.hidden = !(name.includes(wanted) && (every || kinds.has(row.dataset.kind)));
      here += row.hidden ? 0 : 1;
    }
    table.closest("section").querySelector(".empty").hidden = here > 0;
    shown += here;
    all += table.tBodies[0].rows.length;
  }
  document.getElementById("shown").textContent = shown < all ? `${shown} of ${all} models.` : "";
}

function showColumn(box) {
  for (const table of boards) {
    const heads = [...table.tHead.rows[0].cells];
    const at = heads.findIndex((head) => head.dataset.column === box.value);
    if (at < 0) continue;
    for (const row of table.rows) row.cells[at].hidden = !box.checked;
  }
  for (const plots of document.querySelectorAll(".plots[data-column]"))
    if (plots.dataset.column === box.value) plots.hidden = !box.checked;
}

// Two ticked models of one table can be compared; a third tick lets go of the first.
let picked = [];
function pick(box) {
  const table = box.closest("table");
  picked = picked.filter((each) => each !== box && each.closest("table") === table);
  if (box.checked) picked.push(box);
  for (const each of document.querySelectorAll("input.pick:checked"))
    if (!picked.slice(-2).includes(each)) each.checked = false;
  picked = picked.slice(-2);
  const link = document.getElementById("compare-link");
  link.hidden = picked.length < 2;
  if (picked.length === 2) {
    const [first, second] = picked.map((each) => modelOf.get(each.value));
    link.href = route("compare", first.id, second.id);
    link.textContent = `Compare ${first.name} with ${second.name}`;
  }
}

function startTables() {
  for (const element of document.querySelectorAll(".script")) element.hidden = false;
  if (!boards.length) return;
  document.getElementById("filter-name").addEventListener("input", filter);
  checked("kind").forEach((box) => box.addEventListener("change", filter));
  checked("column").forEach((box) => box.addEventListener("change", () => showColumn(box)));
  document.addEventListener("change", (event) => {
    if (event.target.matches("input.pick")) pick(event.target);
  });
  // A browser that comes back to the page keeps the boxes: make the rest agree with them.
  filter();
  checked("column").forEach(showColumn);
  document.querySelectorAll("input.pick:checked").forEach(pick);
}
