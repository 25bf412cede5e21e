// The board's tables: what they are sorted by and which rows and columns they show.
const boards = [...document.querySelectorAll("#board table.board")];
const headsOf = new Map(boards.map((table) => [table, [...table.tHead.rows[0].cells]]));
const rowsOf = new Map(boards.map((table) => // as the board was built, whatever they are sorted by
  [table, [...table.querySelectorAll("tbody tr:not(.apart)")]]));

// A head's first click sorts best (or A, or smallest) first, the second the other way round.
const firstOrder = (head) => (head.dataset.better === "up" ? "descending" : "ascending");
const otherOrder = (order) => (order === "ascending" ? "descending" : "ascending");
const sortedBy = (table) => headsOf.get(table).find((head) => head.hasAttribute("aria-sort"));

// Sort by a head, or as the board was built. Rows without a figure stay last. Means are compared
// among complete models alone, so those of other models stand apart then.
function sortBy(table, head, order) {
  if (!head && !sortedBy(table)) return;
  sortedBy(table)?.removeAttribute("aria-sort");
  head?.setAttribute("aria-sort", order);
  const [place, sign] = [head?.cellIndex ?? -1, order === "ascending" ? 1 : -1];
  const keyed = rowsOf.get(table).map((row) => [row.cells[place]?.dataset.sort ?? "", row]);
  keyed.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (place > 0 ? a - b : a.localeCompare(b));
  });
  const together = head && !("mean" in head.dataset);
  const [complete, partial] = [table.tBodies[0], table.querySelector("tbody.partial")];
  const bodyOf = (row) => (partial && !together && "partial" in row.dataset ? partial : complete);
  const found = Map.groupBy(keyed.map(([, row]) => row), bodyOf);
  for (const [body, rows] of found) body.append(...rows);
  writeCaption(table);
}

function turn(table, head) {
  const order = head.getAttribute("aria-sort");
  sortBy(table, head, order === firstOrder(head) ? otherOrder(order) : firstOrder(head));
}

const byOrder = { up: ["best first", "worst first"], down: ["best first", "worst first"],
  name: ["A to Z", "Z to A"], size: ["smallest first", "largest first"] };
function orderWords(table) {
  const head = sortedBy(table);
  if (!head) return "best mean rank first";
  const words = byOrder[head.dataset.better][+(head.getAttribute("aria-sort") !== firstOrder(head))];
  return `sorted by ${columnOf.get(head.dataset.key)?.head ?? head.dataset.label}, ${words}`;
}

// Filters: rows by name and by what is ticked of their kind and size, columns by their boxes.
const boxes = (name) => [...document.querySelectorAll(`#board .controls input[name="${name}"]`)];
const plainName = (name) => name.normalize("NFKC").trim().toLocaleLowerCase();
const nameOf = new Map([...rowsOf.values()].flat().map((row) => [row, plainName(row.cells[0].dataset.sort)]));
const counted = (shown, all, thing) =>
  `${shown < all ? `${shown} of ` : ""}${all} ${thing}${all === 1 ? "" : "s"}`;
const columnsOf = (table) => headsOf.get(table).filter((head) => columnOf.has(head.dataset.key));
const isShown = (element) => !element.hidden;

function filterRows() {
  const wanted = plainName(document.getElementById("filter-name").value);
  const lists = ["kind", "size"].map((name) => [name, boxes(name)]).filter(([, all]) => all.length)
    .map(([name, all]) => [name, new Set(all.filter((box) => box.checked).map((box) => box.value))]);
  const hidesLeaking = boxes("leaking").some((box) => box.checked);
  for (const [row, name] of nameOf)
    row.hidden = !(name.includes(wanted) && !(hidesLeaking && "leaking" in row.dataset)
      && lists.every(([key, values]) => values.has(row.dataset[key])));
}

function filterColumns() {
  const hidden = new Set(boxes("column").filter((box) => !box.checked).map((box) => box.value));
  for (const table of boards) {
    for (const head of headsOf.get(table)) {
      if (head.hidden === hidden.has(head.dataset.key)) continue;
      head.hidden = !head.hidden;
      for (const row of rowsOf.get(table)) row.cells[head.cellIndex].hidden = head.hidden;
    }
  }
}

// Plots follow the columns, wherever they are: one lent to its task's page is always shown there.
function filterPlots() {
  const hidden = new Set(boxes("column").filter((box) => !box.checked).map((box) => box.value));
  const filtered = [...rowsOf.values()].flat().some((row) => row.hidden);
  for (const section of document.querySelectorAll("#board [data-plots]")) {
    const groups = [...section.querySelectorAll(".plots")];
    for (const plots of groups) plots.hidden = hidden.has(plots.dataset.column);
    section.querySelector(".empty").hidden = groups.some(isShown);
    section.querySelector(".whole").hidden = !filtered;
  }
}

function writeCaption(table) {
  const [rows, columns] = [rowsOf.get(table), columnsOf(table)];
  const [models, shown] = [rows.filter(isShown).length, columns.filter(isShown).length];
  const counts = `${counted(models, rows.length, "model")}, ${counted(shown, columns.length, "column")}`;
  const whole = models < rows.length ? "; ranks and marks are of the whole board" : "";
  table.querySelector(".counts").textContent = `${counts}, ${orderWords(table)}${whole}.`;
  const empty = table.closest("section").querySelector(".empty");
  empty.hidden = models > 0 && shown > 0;
  empty.textContent = models ? "Nothing matches: no column of this table is chosen."
    : "Nothing matches: no model here fits the filters.";
  const apart = table.querySelector("tbody.partial");
  if (apart) apart.hidden = ![...apart.rows].some((row) => !row.matches(".apart") && isShown(row));
}

// What the filters leave, in each caption and once for all, which is read out as it changes.
function filter() {
  const board = document.getElementById("board"); // by class: rules with :has() make filters slow
  board.classList.toggle("dense", boxes("rows").some((box) => box.checked && box.value === "dense"));
  board.classList.toggle("ranks", boxes("ranks").some((box) => box.checked));
  filterRows();
  filterColumns();
  filterPlots();
  boards.forEach(writeCaption);
  const source = boxes("show").find((box) => box.checked)?.value ?? "both";
  const tables = boards.filter((table) => source === "both" || table.closest(`section.${source}`));
  const [rows, columns] = [tables.flatMap((table) => rowsOf.get(table)), tables.flatMap(columnsOf)];
  const [models, shown] = [rows.filter(isShown).length, columns.filter(isShown).length];
  const all = models === rows.length && shown === columns.length;
  document.getElementById("shown").textContent = all ? ""
    : models && shown ? `${counted(models, rows.length, "model")}, ${counted(shown, columns.length, "column")}.`
    : "Nothing matches.";
  document.getElementById("show-all").hidden = all;
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

// The names get an edge where other columns have moved below them.
const markMoved = ({ target }) => target.classList?.toggle("moved", target.scrollLeft > 0);
document.addEventListener("scroll", markMoved, { capture: true, passive: true });

// What the keyboard reaches lies below the head and beside the names, never under them.
function uncover({ target }) {
  const frame = target.closest?.(".scroll");
  if (!frame || target === frame || !target.matches(":focus-visible")) return;
  const [box, head, corner, here] = [frame, frame.querySelector("thead"),
    frame.querySelector("thead th"), target].map((each) => each.getBoundingClientRect());
  const [over, beside] = [head.bottom + 8 - here.top, corner.right + 8 - here.left];
  if (over > 0 && !target.closest("thead")) frame.scrollTop -= over;
  if (target.closest("tr > :first-child")) return;
  if (beside > 0) frame.scrollLeft -= beside;
  else if (here.right + 8 > box.right) frame.scrollLeft += Math.min(-beside, here.right + 8 - box.right);
}
document.addEventListener("focusin", uncover);
