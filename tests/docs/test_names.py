"""What the documents name exists: modules, files, verbs, make's targets, links."""

import re
from pathlib import Path

import pytest
import typer

import harness_bench as hb
from harness_bench.cli import app
from tests.docs.pages import PAGES, ROOT

FORMS = sorted((ROOT / ".github").rglob("*.[ym]*"))  # YAML and Markdown
NAMING = [
    *PAGES,
    *(ROOT / f"{name}.md" for name in ("SECURITY", "CODE_OF_CONDUCT")),
    *FORMS,
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
FOLDERS = (
    "harness_bench|upstream|downstream|leaderboard|egs|tests|benchmarks|docs|tools|containers"
    "|notebooks"
)
MODULE = re.compile(r"\bharness_bench(?:\.[a-z_]\w*)+")
PATH = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*\w")
# Below harness_bench/, as docs/architecture.md has it: `models/frozen.py`: `type_of`.
IN_ROOM = re.compile(r"`([a-z]\w*(?:/\w+)+\.py)`(?:: `(\w+)[\w.]*`)?(?:, `(\w+)`)?")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# A path behind it is none of a group's verbs.
VERB = re.compile(r"\bharness-bench ([a-z][a-z0-9-]*)((?: [a-z]+(?![\w./]))?)")
TARGET = re.compile(r"`make ([a-z-]+)`|^make ([a-z-]+)", re.MULTILINE)
# Made where things are built, trained or cloned; or part of a peer.
MADE = ("docs/result", "egs/egs2")
PLACEHOLDER = re.compile(r"[A-Z]{3,}")


def verbs() -> dict[str, set[str]]:
    """Return verb -> what may follow it as a verb of its own."""
    found = typer.main.get_command(app.app)
    return {
        name: set(getattr(each, "commands", ())) for name, each in vars(found)["commands"].items()
    }


def is_there(module: str) -> bool:
    """Whether a dotted name is a module, or something defined at the top of one."""
    parts = module.split(".")
    if parts[1] in hb.__all__:
        return True
    for count in range(len(parts), 0, -1):
        plugin = parts[1] in ("upstream", "downstream", "leaderboard")
        place = ROOT.joinpath(*parts[plugin:count])
        file = place.with_suffix(".py")
        if (file := file if file.is_file() else place / "__init__.py").is_file():
            rest = parts[count : count + 1]
            text = file.read_text(encoding="utf-8")
            return not rest or bool(re.search(rf"^(?:def|class)? ?{rest[0]}\b", text, re.MULTILINE))
    return False


@pytest.mark.parametrize("page", NAMING, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lost = [name for name in MODULE.findall(text) if not is_there(name)]
    paths = [name for name in PATH.findall(text) if not PLACEHOLDER.search(name.split(".")[0])]
    lost += [name for name in paths if not (ROOT / name).exists() and not name.startswith(MADE)]
    lost += [name for name in LINK.findall(text) if not (page.parent / name).exists()]
    for place, *names in IN_ROOM.findall(text):
        file = ROOT / "harness_bench" / place
        if not PLACEHOLDER.search(place) and not (ROOT / place).is_file():
            said = file.read_text(encoding="utf-8") if file.is_file() else ""
            found = {name: re.search(rf"\b(?:def|class) {name}\b", said) for name in names if name}
            lost += [f"{place}: {name}" for name, there in found.items() if not there]
            lost += [] if said else [place]
    known = verbs()
    for name, after in VERB.findall(text):
        group = known.get(name)
        if group is None or (group and after and after.strip() not in group):
            lost.append(f"harness-bench {name}{after}")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [one or other for one, other in TARGET.findall(text)]
    lost += [f"make {name}" for name in targets if f"\n{name}:" not in makefile]
    assert not lost
