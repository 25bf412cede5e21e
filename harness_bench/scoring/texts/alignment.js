"use strict";
const main = document.getElementById("rows");
const all = [...main.children];
const order = document.getElementById("order");
const wrong = document.getElementById("wrong");
const find = document.getElementById("find");

function sort() {
  const key = order.value;
  const number = (row) => Number(row.dataset[key]);
  const upwards = key === "place" ? 1 : -1;
  all.sort((a, b) => upwards * (number(a) - number(b)) || a.dataset.place - b.dataset.place);
  main.append(...all);
}

function filter() {
  const wanted = find.value.trim().toLowerCase();
  let shown = 0;
  for (const row of all) {
    const right = wrong.checked && row.dataset.errors === "0";
    row.hidden = right || !(wanted === "" || row.textContent.toLowerCase().includes(wanted));
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("shown").value = `${shown} of ${all.length} shown`;
}

order.addEventListener("change", sort);
wrong.addEventListener("change", filter);
find.addEventListener("input", filter);
document.querySelector(".bar").addEventListener("submit", (event) => event.preventDefault());
sort();
filter();
