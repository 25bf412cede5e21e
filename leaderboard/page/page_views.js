// The page of one task, and the page of one model.
const byPlace = (column) =>
  modelsIn(column).sort((a, b) => a.results[column.id].place - b.results[column.id].place);

function taskView(column) {
  const models = byPlace(column);
  const best = models[0];
  const scale = scaleOf(column);
  const measured = column.source === "measured";
  const papers = models.some((model) => model.results[column.id].paper);
  const heads = ["model", [column.metric, ".number"], ["rank", ".number"]];
  if (measured) heads.push(["minus the best", ".number"], ["p", ".number"]);
  if (papers) heads.push(["paper", ".number"], ["minus paper", ".number"]);
  heads.push(["parameters", ".number"]);
  const rows = models.map((model) => {
    const result = model.results[column.id];
    const test = paired(column, model, best);
    const row = [[mark(model), modelLink(model)], [scaled(result, scale, model.mark), ".number"],
      [String(result.rank), ".number"]];
    if (measured) {
      row.push([test ? [signed(test[0]), make("span", { class: "interval" }, range(test[1], test[2]))]
        : model === best ? "best" : "–", ".number"], [test ? pValue(test[3]) : "–", ".number"]);
    }
    if (papers) row.push([result.paper?.[0] ?? "–", ".number"], [result.paper?.[1] ?? "–", ".number"]);
    row.push([model.parameters, ".number"]);
    return row;
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
    measured ? make("p", { class: "quiet" },
      "Rank: 1 + the number of models that are better beyond chance (p < 0.05). ",
      methods.length ? `Differences: ${methods.join("; ")}.` : "No predictions lie beside these results, so ranks follow the figures alone.") : null,
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
    [[make("span", { dir: "auto" }, value), make("span", { class: "interval" }, `n = ${size(at)}`)], ".number"])];
  const rows = shown.map((model) => [[mark(model), modelLink(model)],
    ...breakdown.models[model.id].map((cell) => cell
      ? [make("span", { class: "heat", style: { "--share": share(cell[0]) } }, cell[0].toFixed(1)), ".number"]
      : ["–", ".number none"])]);
  const more = breakdown.more ? ` The ${breakdown.values.length} largest are shown, ${breakdown.more} are not.` : "";
  return [make("h3", {}, title), grid(`${title}; deeper colour is better.${more}`, heads, rows)];
}

function modelView(model) {
  const columns = data.columns.filter((column) => model.results[column.id]);
  const papers = columns.some((column) => model.results[column.id].paper);
  const heads = ["column", ["figure", ".number"], ["rank", ".number"], ["place", ".number"]];
  if (papers) heads.push(["paper", ".number"], ["minus paper", ".number"]);
  const rows = columns.map((column) => {
    const result = model.results[column.id];
    const row = [columnLink(column), [scaled(result, scaleOf(column), model.mark), ".number"],
      [String(result.rank), ".number"], [`${result.place} of ${modelsIn(column).length}`, ".number"]];
    if (papers) row.push([result.paper?.[0] ?? "–", ".number"], [result.paper?.[1] ?? "–", ".number"]);
    return row;
  });
  const facts = { kind: model.kind, figures: sourceName(model.source),
    parameters: model.exact === null ? "not known" : model.exact.toLocaleString("en"), ...model.costs };
  const weights = columns.filter((column) => model.results[column.id].weights.length);
  const rivals = data.models.filter((other) => other !== model && other.source === model.source
    && columns.some((column) => other.results[column.id]));
  return [
    make("h2", { tabindex: "-1", dir: "auto" }, mark(model), model.name),
    list(Object.entries(facts)),
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

const list = (entries) => make("dl", {}, entries.map(([name, value]) =>
  [make("dt", {}, name), make("dd", { dir: "auto" }, String(value))]).flat());

function layerBars(column, weights) {
  const top = Math.max(...weights);
  return make("figure", {},
    make("div", { class: "bars", role: "img", "aria-label": `layer weights: ${weights.map((weight, layer) => `${layer}: ${weight}`).join(", ")}` },
      weights.map((weight, layer) => make("span", { class: "bar", style: { "--height": `${(100 * weight) / top}%` } },
        make("b", {}, weight.toFixed(2)), make("i", {}), make("small", {}, String(layer))))),
    make("figcaption", { dir: "auto" }, column.head));
}
