// The page of one task, the page of one model, and two models side by side.
const paperHeads = ["paper", "beside the paper"];
const paperOf = ({ paper }) => (paper ? [paper[0], make("span", { class: paper[1] }, paper[2])] : ["–", "–"]);
const minus = ([difference, low, high, , , test]) =>
  [signed(difference), test.few ? null : make("span", { class: "interval" }, range(low, high))];
const list = (entries) => make("dl", {}, entries.map(([name, value]) =>
  [make("dt", {}, name), make("dd", { dir: "auto" }, value instanceof Node ? value : String(value))]).flat());

function taskView(column) {
  const models = modelsIn(column).sort((a, b) => a.results[column.id].place - b.results[column.id].place);
  const [best, scale, measured] = [models[0], scaleOf(column), column.source === "measured"];
  const tested = column.tests.length > 0;
  const papers = models.some((model) => model.results[column.id].paper);
  const heads = ["model", column.metric, "rank", ...(tested ? ["minus the best", "p", "p, Holm"] : []),
    ...(papers ? paperHeads : []), "parameters"];
  const rows = models.map((model) => {
    const result = model.results[column.id];
    const test = paired(column, model, best);
    const beside = test ? minus(test) : model === best ? "best" : "–";
    return [named(model), scaled(result, scale, model.mark), result.rank,
      ...(tested ? [beside, test ? pValue(test[3]) : "–", test ? pValue(test[4]) : "–"] : []),
      ...(papers ? paperOf(result) : []), model.parameters];
  });
  const methods = [...new Set(column.tests.map((test) => test.method))];
  const facts = [
    `${column.metric} in ${column.unit}, ${column.up ? "higher" : "lower"} is better`,
    column.profile ? `texts by profile ${column.profile}` : "",
    measured ? "measured here" : "as printed by the sources that the models’ pages name",
  ].filter(Boolean).join("; ");
  return [
    make("h2", { tabindex: "-1", dir: "auto" }, column.head),
    column.synthetic ? make("p", { class: "warning" }, "Synthetic data: the figures say nothing about real speech.") : null,
    make("p", { class: "quiet" }, `${facts}.`),
    grid(`${models.length} model${models.length === 1 ? "" : "s"}`, heads, rows),
    measured && models.length > 1 ? make("p", { class: "quiet" },
      "Rank: from 1 + the number of models that are significantly better (p by Holm < 0.05) to the number of those that are not worse; 95 % for all models together. ",
      methods.length ? `Differences: ${methods.join("; ")}.` : "These results have no predictions, so ranks follow the figures alone.") : null,
    make("div", { id: "task-plots", "data-column": column.id }),
    column.breakdowns.map((each) => breakdownTable(column, each, models)),
  ];
}

function breakdownTable(column, breakdown, models) {
  const figure = breakdown.by === "class" ? "recall (%)" : `${column.metric} (${column.unit})`;
  const title = `${figure} by ${breakdown.by === "group" ? "cluster" : breakdown.by}`;
  const shown = models.filter((model) => breakdown.models[model.id]);
  const figures = shown.flatMap((model) => breakdown.models[model.id]).filter(Boolean).map(([value]) => value);
  const [low, high] = [Math.min(...figures), Math.max(...figures)];
  const share = (value) => `${high > low ? Math.round((100 * (column.up ? value - low : high - value)) / (high - low)) : 0}%`;
  const size = (at) => Math.max(...shown.map((model) => breakdown.models[model.id][at]?.[1] ?? 0));
  const heads = ["model", ...breakdown.values.map((value, at) =>
    [make("span", { dir: "auto" }, value), make("span", { class: "interval" }, `n = ${size(at)}`)])];
  const rows = shown.map((model) => [named(model),
    ...breakdown.models[model.id].map((cell) => (cell
      ? make("span", { class: "heat", style: { "--share": share(cell[0]) } }, cell[0].toFixed(1)) : { none: "–" }))]);
  const more = breakdown.more ? ` The ${breakdown.values.length} largest are shown, ${breakdown.more} are not.` : "";
  return [make("h3", {}, title), grid(`${title}; deeper colour is better.${more}`, heads, rows)];
}

function modelView(model) {
  const columns = data.columns.filter((column) => model.results[column.id]);
  const papers = columns.some((column) => model.results[column.id].paper);
  const heads = ["column", "figure", "rank", "place", ...(papers ? paperHeads : [])];
  const rows = columns.map((column) => {
    const result = model.results[column.id];
    return [columnLink(column), scaled(result, scaleOf(column), model.mark), result.rank,
      `${result.place} of ${modelsIn(column).length}`, ...(papers ? paperOf(result) : [])];
  });
  const links = Object.entries(model.links).map(([name, href]) =>
    [name, make("a", { href, rel: "noopener noreferrer", target: "_blank" }, href)]);
  const facts = [["kind", model.kind], ["figures", sourceName(model.source)],
    ["parameters", model.exact === null ? "not known" : model.exact.toLocaleString("en")],
    ...(model.licence ? [["licence", model.licence]] : []), ...links, ...Object.entries(model.costs)];
  const weights = columns.filter((column) => model.results[column.id].weights.length);
  const rivals = data.models.filter((other) => other !== model && other.source === model.source
    && columns.some((column) => other.results[column.id]));
  return [
    make("h2", { tabindex: "-1", dir: "auto" }, mark(model), model.name, leaks(model)),
    model.leaking ? make("p", { class: "warning" }, "† This model was trained on some of what it is scored on, in the columns marked so; “Where the figures come from” says what was found.") : null,
    list(facts),
    grid("All its figures, each on its column’s scale", heads, rows),
    rivals.length ? compareForm(model, rivals) : null,
    weights.length ? [make("h3", {}, "Layer weights"),
      make("p", { class: "quiet" }, "Share of each hidden state in the head’s learned weighted sum; 0 is the input of the first block."),
      weights.map((column) => layerBars(column, model.results[column.id].weights))] : null,
    make("h3", {}, "Where the figures come from"),
    columns.map((column) => make("details", {}, make("summary", { dir: "auto" }, column.head),
      list(model.results[column.id].entries))),
  ];
}

function layerBars(column, weights) {
  const top = Math.max(...weights);
  return make("figure", {},
    make("div", { class: "bars", role: "img", "aria-label": `layer weights: ${weights.map((weight, layer) => `${layer}: ${weight}`).join(", ")}` },
      weights.map((weight, layer) => make("span", { class: "bar", style: { "--height": `${(100 * weight) / top}%` } },
        make("b", {}, weight.toFixed(2)), make("i", {}), make("small", {}, String(layer))))),
    make("figcaption", { dir: "auto" }, column.head));
}

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
  if (test[4] < 0.05) return [make("strong", { dir: "auto" }, better.name), " is better"];
  if (!test[5].decidable) return "no claim is possible with so few clusters";
  return "no significant difference";
}

function compareView(first, second) {
  const models = data.models.filter((model) => model.source === first.source);
  const [[one, a], [two, b]] = [select("First", models, first), select("Second", models, second)];
  for (const box of [a, b])
    box.addEventListener("change", () => { location.hash = route("compare", a.value, b.value); });
  const shared = data.columns.filter((column) => first.results[column.id] && second.results[column.id]);
  const tests = new Map(shared.map((column) => [column, paired(column, first, second)]));
  const rows = shared.map((column) => {
    const [x, y] = [first, second].map((model) => model.results[column.id]);
    const [test, scale] = [tests.get(column), scaleOf(column)];
    return [columnLink(column), scaled(x, scale, first.mark), scaled(y, scale, second.mark),
      test ? minus(test) : signed(x.value - y.value), test ? pValue(test[3]) : "–", test ? pValue(test[4]) : "–",
      { words: verdict(column, first, second, test) }];
  });
  const methods = [...new Set([...tests.values()].filter(Boolean).map((test) => test[5].method))];
  const heads = ["column", first.name, second.name, "difference", "p", "p, Holm", { words: "what the data say" }];
  const names = new Set([first, second].flatMap((model) => Object.keys(model.costs)));
  const facts = ["parameters", ...(first.licence || second.licence ? ["licence"] : []), ...names];
  const fact = (model, name) => model.costs[name] ?? (model[name] || "–");
  return [
    make("h2", { tabindex: "-1" }, "Two models side by side"),
    make("p", { class: "form" }, one, " ", two),
    shared.length ? grid("Each figure on its column’s scale; difference: first minus second", heads, rows)
      : make("p", {}, "These two have no column in common."),
    methods.length ? make("p", { class: "quiet" }, `Difference with its 95 % interval and two-sided p: ${methods.join("; ")}. What the data say follows p by Holm, corrected for all pairs of the column.`) : null,
    make("h3", {}, "Size and cost"),
    grid("Size and cost of the upstreams", ["upstream", first.name, second.name],
      facts.map((name) => [name, fact(first, name), fact(second, name)])),
    shared.map((column) => column.breakdowns.filter((each) => each.by !== "group" && each.models[first.id] && each.models[second.id])
      .map((each) => compareBreakdown(column, each, first, second))),
  ];
}

function compareBreakdown(column, breakdown, first, second) {
  const text = (cell) => (cell ? cell[0].toFixed(1) : "–");
  const rows = breakdown.values.map((value, at) => {
    const [x, y] = [first, second].map((model) => breakdown.models[model.id][at]);
    return [make("span", { dir: "auto" }, value), String(x?.[1] ?? y?.[1] ?? 0), text(x), text(y),
      x && y ? signed(x[0] - y[0]) : "–"];
  });
  const title = `${column.task.toUpperCase()}, ${column.corpus}: ${breakdown.by === "class" ? "recall (%)" : column.metric} by ${breakdown.by}`;
  return [make("h3", { dir: "auto" }, title),
    grid(title, [breakdown.by, "utterances", first.name, second.name, "difference"], rows)];
}
