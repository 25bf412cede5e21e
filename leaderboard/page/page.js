"use strict";
// What the other parts share: the data, and elements made without ever parsing text as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const columnOf = new Map(data.columns.map((column) => [column.id, column]));
const modelOf = new Map(data.models.map((model) => [model.id, model]));
const modelsIn = (column) => data.models.filter((model) => model.results[column.id]);

// Make an element: attributes by name, `style` as properties, children as text or elements.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") {
      for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    } else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== ""));
  return element;
}

const route = (kind, ...ids) => `#/${[kind, ...ids.map(encodeURIComponent)].join("/")}`;
const sourceName = (source) => (source === "measured" ? "measured here" : "reported elsewhere");
const signed = (number, digits = 1) =>
  `${number > 0 ? "+" : number < 0 ? "−" : ""}${Math.abs(number).toFixed(digits)}`;
const mark = (model) => make("i", { class: `dot ${model.mark}`, "aria-hidden": "true" });
const modelLink = (model) =>
  make("a", { href: route("model", model.id), dir: "auto" }, model.name);
const leaks = (model) => (model.leaking ? make("span", { class: "tag leaks" }, data.leaks) : null);
const named = (model) => make("div", { class: "who" }, mark(model),
  make("div", { class: "name" }, modelLink(model), leaks(model)));
const columnLink = (column) => make("a", { href: route("task", column.id), dir: "auto" },
  column.head.replace(/ (?=[↑↓]$)/, "\u00a0")); // an arrow alone would begin a line

// A table in a frame that scrolls by itself: behind a row's head stand figures, { words } or { none }.
function grid(caption, heads, rows) {
  const cells = (contents, tag, scope) => contents.map((content, place) => {
    const kind = place === 0 ? null : content.words ? "words" : content.none ? "number none" : "number";
    return make(place ? tag : "th", { scope: place && tag === "td" ? null : scope, class: kind },
      content.words ?? content.none ?? content);
  });
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    make("table", { class: "board" },
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, cells(heads, "th", "col"))),
      make("tbody", {}, rows.map((row) => make("tr", {}, cells(row, "td", "row"))))));
}

// A figure with its interval drawn on the scale [low, high] of its column.
function scaled(result, [low, high], kind) {
  const at = (value) => (high > low ? `${(100 * (value - low)) / (high - low)}%` : "50%");
  const line = result.low === null ? null : make("span", { class: "span",
    style: { left: at(result.low), right: `calc(100% - ${at(result.high)})` } });
  return [make("span", { class: `value place-${result.medal}` }, result.text),
    result.leaking ? make("span", { class: "leak", title: "trained on some of this split" }, "†") : null,
    result.interval ? make("span", { class: "interval" }, result.interval) : null,
    make("span", { class: "scale", "aria-hidden": "true" }, line,
      make("span", { class: `point ${kind}`, style: { left: at(result.value) } }))];
}

function scaleOf(column) {
  const results = modelsIn(column).map((model) => model.results[column.id]);
  return [Math.min(...results.map((each) => each.low ?? each.value)),
    Math.max(...results.map((each) => each.high ?? each.value))];
}

// The paired test of two models: [difference, low, high, p, p by Holm, test], first minus second.
function paired(column, first, second) {
  for (const test of column.tests) {
    const [a, b] = [test.models.indexOf(first.id), test.models.indexOf(second.id)];
    if (a < 0 || b < 0 || a === b) continue;
    const [difference, low, high, p, holm] = test.pairs[Math.max(a, b)][Math.min(a, b)];
    return [...(a > b ? [difference, low, high] : [-difference, -high, -low]), p, holm, test];
  }
  return null;
}
const range = (low, high) => `[${signed(low)}, ${signed(high)}]`;
const pValue = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(4));
