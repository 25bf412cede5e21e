// Addresses after the #: the board in a state of its own, one task, one model, or two models.
// Plots of a task are lent to its page and go back to the board.
const boardView = document.getElementById("board");
const otherView = document.getElementById("view");
const title = document.title;

function viewOf(hash) {
  const [, kind, ...rest] = hash.split("/");
  const ids = rest.map((each) => { try { return decodeURIComponent(each); } catch { return ""; } });
  const models = ids.map((id) => modelOf.get(id));
  if (kind === "task" && columnOf.has(ids[0])) return taskView(columnOf.get(ids[0]));
  if (kind === "model" && models[0]) return modelView(models[0]);
  if (kind === "compare" && models[0] && models[1]) return compareView(models[0], models[1]);
  return [make("h2", { tabindex: "-1" }, "Nothing here"),
    make("p", {}, "This address names no model or task of this page; a later build may have left it out.")];
}

const isOther = (hash) => hash.startsWith("#/") && !/^#\/(\?|$)/.test(hash);
let boardTop = 0; // how far the board was scrolled when another view took its place

function show() {
  const hash = location.hash;
  const other = isOther(hash);
  if (other && !boardView.hidden) boardTop = scrollY;
  const isBack = !other && boardView.hidden;
  boardView.hidden = other;
  otherView.hidden = !other;
  returnPlots();
  otherView.replaceChildren();
  document.title = title;
  if (other) showOther(hash);
  else showBoard(hash, isBack);
}

// A browser that comes back to the page keeps its boxes; the address knows better.
function showBoard(hash, isBack) {
  const isState = hash === "" || hash.startsWith("#/");
  const isNew = boards.length && isState && showAddress(hash || "#/");
  if (isBack) {
    filterPlots();
    scrollTo({ top: isNew ? 0 : boardTop, behavior: "instant" });
  } else if (isNew && hash === "#/") scrollTo(0, 0);
  if (!isState) document.getElementById(hash.slice(1))?.scrollIntoView();
}

function showOther(hash) {
  const back = make("p", {}, make("a", { href: current || "#/" }, "← all models"));
  otherView.append(back, ...viewOf(hash).flat(Infinity).filter(Boolean));
  if (hash.startsWith("#/task/")) lendPlots(document.getElementById("task-plots"));
  const head = otherView.querySelector("h2");
  document.title = `${head.textContent} · ${title}`;
  scrollTo({ top: 0, behavior: "instant" });
  head.focus({ preventScroll: true });
}

// Light, dark, or as the system says; kept where the browser lets a page keep something.
const themes = { "light dark": "as the system", light: "light", dark: "dark" };
function setTheme(theme) {
  document.documentElement.style.colorScheme = theme;
  document.querySelector("#theme span").textContent = themes[theme];
  try { localStorage.setItem("theme", theme); } catch { /* a page from disk may not keep it */ }
}
let theme = "light dark";
try { theme = localStorage.getItem("theme") ?? theme; } catch { /* as above */ }
document.getElementById("theme").addEventListener("click", () => {
  const names = Object.keys(themes);
  theme = names[(names.indexOf(theme) + 1) % names.length];
  setTheme(theme);
});
if (themes[theme] && theme !== "light dark") setTheme(theme);

startBoard();
startPlots();
addEventListener("hashchange", show);
show();
