// The board's address, #/?…, says in what its controls and the order of its rows differ from the
// start. Boxes of one name are one choice: the ticked ones stand there or, if they are fewer, the
// others. What an address names and the page lacks is passed over.
const controls = [...Map.groupBy(document.querySelectorAll("#board .controls input"),
  (input) => input.name)];
const valuesOf = (inputs) => inputs.map((input) => input.value);

function choices(name, inputs) {
  if (inputs[0].type === "search") return inputs[0].value ? [[name, inputs[0].value]] : [];
  if (inputs.every((input) => input.checked === input.defaultChecked)) return [];
  const [ticked, others] = [true, false].map((on) => inputs.filter((input) => input.checked === on));
  const isFewer = inputs.length > 1 && inputs[0].type === "checkbox" && others.length < ticked.length;
  const [key, named] = isFewer ? [`no-${name}`, others] : [name, ticked];
  return named.length ? valuesOf(named).map((value) => [key, value]) : [[key, ""]];
}

function boardAddress() {
  const found = controls.flatMap(([name, inputs]) => choices(name, inputs));
  for (const head of boards.map(sortedBy).filter(Boolean)) {
    const turned = head.getAttribute("aria-sort") === firstOrder(head) ? "" : "-";
    found.push(["sort", turned + head.dataset.key]);
  }
  const text = String(new URLSearchParams(found)).replaceAll("%3A", ":");
  return text ? `#/?${text}` : "#/";
}

function restore(hash) {
  const given = new URLSearchParams(hash.split("?").slice(1).join("?"));
  for (const [name, inputs] of controls) {
    const known = new Set(["", ...valuesOf(inputs)]);
    const [only, without] = [name, `no-${name}`].map((key) =>
      given.getAll(key).filter((value) => known.has(value)));
    for (const input of inputs) {
      if (input.type === "search") input.value = given.get(name) ?? "";
      else if (only.length) input.checked = only.includes(input.value);
      else input.checked = without.length ? !without.includes(input.value) : input.defaultChecked;
    }
    if (inputs[0].type === "radio" && !inputs.some((input) => input.checked))
      for (const input of inputs) input.checked = input.defaultChecked;
  }
  filter();
  for (const table of boards) {
    const heads = headsOf.get(table);
    const [turned, head] = given.getAll("sort").map((key) => [key[0] === "-",
      heads.find((each) => each.dataset.key === key.replace(/^-/, ""))]).find(([, each]) => each) ?? [];
    sortBy(table, head, head && (turned ? otherOrder(firstOrder(head)) : firstOrder(head)));
  }
}

// A choice makes an entry to go back to; letters typed one after another make one together.
let [current, typed] = ["", null];
function writeAddress(isTyping = false) {
  const address = boardAddress();
  if (address === current) return;
  if (isTyping && typed === location.hash) location.replace(address);
  else location.hash = address;
  current = location.hash;
  typed = isTyping ? current : null;
}

// Bring the board into the state of an address; return whether it was in another one.
function showAddress(hash) {
  if (hash === current) return false;
  restore(hash);
  [current, typed] = [hash, null];
  return true;
}

function startBoard() {
  for (const element of document.querySelectorAll(".script")) element.hidden = false;
  if (!boards.length) return;
  for (const [table, heads] of headsOf)
    for (const head of heads)
      head.querySelector("button").addEventListener("click", () => { turn(table, head); writeAddress(); });
  document.getElementById("filter-name").addEventListener("input", () => { filter(); writeAddress(true); });
  document.getElementById("show-all").addEventListener("click", () => {
    document.getElementById("filter-name").value = "";
    for (const box of ["kind", "size", "leaking", "column"].flatMap(boxes)) box.checked = box.defaultChecked;
    filter();
    writeAddress();
    document.getElementById("filter-name").focus();
  });
  document.querySelector(".controls").addEventListener("change", (event) => {
    if (event.target.type !== "search") { filter(); writeAddress(); }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("input.pick")) pick(event.target);
  });
  document.querySelectorAll("input.pick:checked").forEach(pick);
  // On a phone the tables come first.
  if (matchMedia("(max-width: 40rem)").matches)
    for (const each of document.querySelectorAll("details[data-narrow]")) each.open = false;
}
