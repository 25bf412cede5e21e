// Two models side by side, with the paired test of every column that both have.
function select(label, models, chosen) {
  const box = make("select", {}, models.map((model) =>
    make("option", { value: model.id, selected: model === chosen }, model.name)));
  return [make("label", {}, `${label} `, box), box];
}

function compareForm(model, rivals) {
  const [label, box] = select("Compare with", rivals, null);
  const button = make("button", { type: "button" }, "Compare");
  button.addEventListener("click", () => { location.hash = route("compare", model.id, box.value); });
  return make("p", { class: "form" }, label, " ", button);
}

// What the data say of two figures; never more than the test allows.
function verdict(column, first, second, test) {
  const [a, b] = [first.results[column.id].value, second.results[column.id].value];
  const better = (column.up ? a > b : a < b) ? first : second;
  if (column.source === "reported") return "no test: reported figures have no predictions";
  if (!test) return "no test: predictions missing or of other utterances";
  if (test[3] < 0.05) return [make("strong", { dir: "auto" }, better.name), " is better"];
  return "cannot be told apart";
}

function compareView(first, second) {
  const models = data.models.filter((model) => model.source === first.source);
  const [one, a] = select("First", models, first);
  const [two, b] = select("Second", models, second);
  for (const box of [a, b])
    box.addEventListener("change", () => { location.hash = route("compare", a.value, b.value); });
  const shared = data.columns.filter((column) => first.results[column.id] && second.results[column.id]);
  const tests = new Map(shared.map((column) => [column, paired(column, first, second)]));
  const rows = shared.map((column) => {
    const [x, y] = [first, second].map((model) => model.results[column.id]);
    const test = tests.get(column);
    const scale = scaleOf(column);
    return [columnLink(column), [scaled(x, scale, first.mark), ".number"], [scaled(y, scale, second.mark), ".number"],
      [[signed(test ? test[0] : x.value - y.value), test ? make("span", { class: "interval" }, range(test[1], test[2])) : null], ".number"],
      [test ? pValue(test[3]) : "–", ".number"], verdict(column, first, second, test)];
  });
  const methods = [...new Set([...tests.values()].filter(Boolean).map((test) => test[4]))];
  const heads = ["column", [first.name, ".number"], [second.name, ".number"],
    ["difference", ".number"], ["p", ".number"], "what the data say"];
  const facts = ["parameters", ...new Set([...Object.keys(first.costs), ...Object.keys(second.costs)])];
  const fact = (model, name) => (name === "parameters" ? model.parameters : model.costs[name] ?? "–");
  return [
    make("h2", { tabindex: "-1" }, "Two models side by side"),
    make("p", { class: "form" }, one, " ", two),
    shared.length ? grid("Each figure on its column’s scale; difference: first minus second", heads, rows)
      : make("p", {}, "These two have no column in common."),
    methods.length ? make("p", { class: "quiet" }, `Difference with its 95 % interval and two-sided p: ${methods.join("; ")}. No correction for several comparisons.`) : null,
    make("h3", {}, "Size and cost"),
    grid("Size and cost of the upstreams", ["upstream", [first.name, ".number"], [second.name, ".number"]],
      facts.map((name) => [name, [fact(first, name), ".number"], [fact(second, name), ".number"]])),
    shared.map((column) => column.breakdowns.filter((each) => each.by !== "group" && each.models[first.id] && each.models[second.id])
      .map((each) => compareBreakdown(column, each, first, second))),
  ];
}

function compareBreakdown(column, breakdown, first, second) {
  const rows = breakdown.values.map((value, at) => {
    const [x, y] = [first, second].map((model) => breakdown.models[model.id][at]);
    const text = (cell) => (cell ? cell[0].toFixed(1) : "–");
    return [make("span", { dir: "auto" }, value), [String(x?.[1] ?? y?.[1] ?? 0), ".number"],
      [text(x), ".number"], [text(y), ".number"], [x && y ? signed(x[0] - y[0]) : "–", ".number"]];
  });
  const title = `${column.task.toUpperCase()}, ${column.corpus}: ${breakdown.by === "class" ? "recall (%)" : column.metric} by ${breakdown.by}`;
  return [make("h3", { dir: "auto" }, title),
    grid(title, [breakdown.by, ["utterances", ".number"], [first.name, ".number"], [second.name, ".number"], ["difference", ".number"]], rows)];
}
