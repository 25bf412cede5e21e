// Plots: a mark says what it shows when it is pointed at or reached by keys. Tab stops once at each
// plot, arrow keys walk its marks, Enter opens the model's page, Escape puts the words away.
const tip = make("div", { class: "tip", "aria-hidden": "true", hidden: true });
const wordsOf = new WeakMap(); // a mark -> what it says
let told = null; // the mark whose words are shown

// The browser's own tooltip is for pages without a script: here the title becomes the mark's name.
function wordsFor(spot) {
  const title = spot.querySelector("title");
  if (title) {
    wordsOf.set(spot, title.textContent.split("\n"));
    spot.setAttribute("aria-label", wordsOf.get(spot).join(", "));
    title.remove();
  }
  return wordsOf.get(spot);
}

function tell(spot, x, y) {
  if (told !== spot) {
    const [name, ...lines] = wordsFor(spot);
    tip.replaceChildren(make("strong", { dir: "auto" }, name),
      ...lines.map((line) => make("span", { dir: "auto" }, line)));
    told?.classList.remove("told");
    spot.classList.add("told");
    told = spot;
    tip.hidden = false;
  }
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const left = Math.max(8, Math.min(x + 14, document.documentElement.clientWidth - width - 8));
  tip.style.left = `${left}px`;
  tip.style.top = `${y + 14 + height > innerHeight ? Math.max(8, y - height - 14) : y + 14}px`;
}

// Where the words of a mark stand that keys have reached: beside it, wherever the page scrolls.
function tellBeside(spot) {
  const box = spot.lastElementChild.getBoundingClientRect();
  tell(spot, box.left + Math.min(box.width / 2, 160), (box.top + box.bottom) / 2);
}

function hush() {
  told?.classList.remove("told");
  told = null;
  tip.hidden = true;
}

// Which mark the arrow keys reach; those of models that the filters hide are passed over.
const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
function walk(event, spot) {
  const spots = [...spot.parentNode.querySelectorAll(".spot:not(.dim)")];
  const at = spots.indexOf(spot);
  const to = event.key === "Home" ? spots[0] : event.key === "End" ? spots.at(-1)
    : steps[event.key] ? spots[(at + steps[event.key] + spots.length) % spots.length] : null;
  if (!to) return;
  event.preventDefault();
  spot.setAttribute("tabindex", "-1");
  to.setAttribute("tabindex", "0");
  to.focus();
}

// Marks, names and lines of models that the filters hide fade in the plots too: at once in those in
// sight, in others as they come into it, since a board of hundreds of models has tens of thousands.
let gone = new Set(); // addresses of the hidden models
const faded = new WeakMap(); // a plot -> the set that it shows
function fade(plot) {
  if (faded.get(plot) === gone) return;
  faded.set(plot, gone);
  const dim = new Set([...plot.querySelectorAll(".spot[href]")]
    .filter((spot) => gone.has(spot.getAttribute("href"))).map((spot) => spot.dataset.at));
  for (const part of plot.querySelectorAll("[data-at]"))
    part.classList.toggle("dim", dim.has(part.dataset.at));
}
const everyPlot = [...document.querySelectorAll(".plot")];
const inSight = new Set();
const sight = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    if (isIntersecting) { inSight.add(target); fade(target); } else inSight.delete(target);
  }
}, { rootMargin: "300px" });
function dimPlots() {
  const rows = [...document.querySelectorAll("#board table.board > tbody > tr[hidden]")];
  gone = new Set(rows.map((row) => row.querySelector("th a").getAttribute("href")));
  inSight.forEach(fade);
}

// The plots of a column are lent to its task's page, and go back to where they stand on the board.
const homes = new Map([...document.querySelectorAll("[data-plots] .plots[data-column]")]
  .map((plots) => [plots, plots.parentNode]));
const returnPlots = () => homes.forEach((home, plots) => home.append(plots));
function lendPlots(place) {
  for (const plots of homes.keys()) {
    if (plots.dataset.column !== place?.dataset.column) continue;
    plots.hidden = false; // whatever columns the board shows
    place.append(plots);
  }
}

function startPlots() {
  document.body.append(tip);
  const over = (listener) => (event) => {
    const spot = event.target.closest?.(".spot:not(.dim)");
    if (spot) listener(event, spot);
    else if (told && event.type !== "keydown") hush();
  };
  document.addEventListener("pointermove", over((event, spot) => tell(spot, event.clientX, event.clientY)));
  document.addEventListener("focusin", over((event, spot) => { if (told !== spot) tellBeside(spot); }));
  document.addEventListener("focusout", hush);
  document.addEventListener("scroll", () => {
    if (told && told === document.activeElement) tellBeside(told);
    else hush();
  }, { passive: true, capture: true });
  document.addEventListener("keydown", over(walk));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });
  // A finger cannot hover: its first tap tells, the second follows the link.
  let untold = false;
  document.addEventListener("pointerdown", (event) => {
    const spot = event.target.closest?.(".spot");
    untold = event.pointerType === "touch" && spot !== null && spot !== told;
  }, true);
  document.addEventListener("click", over((event, spot) => {
    if (untold) { event.preventDefault(); tell(spot, event.clientX, event.clientY); } else hush();
    untold = false;
  }));
  const rows = new MutationObserver(dimPlots);
  for (const body of document.querySelectorAll("#board table.board > tbody"))
    rows.observe(body, { subtree: true, attributes: true, attributeFilter: ["hidden"] });
  dimPlots();
  for (const plot of everyPlot) {
    faded.set(plot, gone.size ? null : gone);
    sight.observe(plot);
  }
  addEventListener("beforeprint", () => everyPlot.forEach(fade));
}
