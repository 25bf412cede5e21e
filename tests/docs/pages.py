"""The fenced blocks of the documents, and what the comments just above them say of them.

A comment `<!-- KEY: VALUE -->` above a block is one of
    given: PLACE = KIND; ...       what a reader has by now: `given.py` makes it
    not run here: WHY              and the test, if there is one, that runs just that
    needs: s3prl                   an extra, or several
    slow: SECONDS s                run by `make test-slow` alone
    may end with: STATUS, WHY      of commands that are right and do not end with 0
    config: MODULE:NAME            what reads a block of TOML; `part of MODULE:NAME` for some tables
A block `text` behind one that is run is what it prints: `shown` says how they are compared.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
KEYS = {"given", "not run here", "needs", "slow", "may end with", "config"}
RUN = {"bash", "python"}
_FENCE = re.compile(r"( *)(`{3,})(\w*) *\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
_ABOVE = re.compile(r"(?: *<!--(?:(?!-->).)*-->\n)+\Z", re.DOTALL)
_COMMENT = re.compile(r"<!-- *([\w ]+): *((?:(?!-->).)*?) *-->", re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d[\d.,:]*(?:e[-+]?\d+)?")
_DIGEST = re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it begins, its language, its text and its comments."""

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Where it is, as `docs/api.md:7`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether it is to be run here."""
        return self.language in RUN and "not run here" not in self.notes

    @property
    def given(self) -> dict[str, list[str]]:
        """Place -> what lies there before the block is run, in words for `given.py`."""
        parts = [part.split("=") for part in self.notes.get("given", "").split(";") if part.strip()]
        places = {place.strip(): kind.split() for place, kind in parts}
        if away := [place for place in places if place.startswith(("/", "~"))]:
            raise ValueError(f"{self.name}: {away} lies outside the page's folder.")
        return places


def blocks(page: Path) -> list[Block]:
    """Return all blocks of a page, in order."""
    text, found = page.read_text(encoding="utf-8"), list[Block]()
    for match in _FENCE.finditer(text):
        above = _ABOVE.search(text[: match.start()])
        notes = {
            key: " ".join(said.split()) for key, said in _COMMENT.findall(above[0] if above else "")
        }
        if unknown := notes.keys() - KEYS:
            raise ValueError(f"{page}: comment {unknown} above a block; expected one of {KEYS}.")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match[3], textwrap.dedent(match[4]), notes))
    return found


def outputs(found: list[Block]) -> dict[int, Block]:
    """Return number of a block that is run -> the block `text` right behind it."""
    pairs = itertools.pairwise(found)
    return {
        number: after for number, (before, after) in enumerate(pairs)
        if before.is_run and after.language == "text" and "not run here" not in after.notes
    }  # fmt: skip


def skeleton(line: str) -> str:
    """Return a line without what differs from run to run: numbers, digests, rules and blanks."""
    line = re.sub(r"[─━═╌-]{3,}", "", _NUMBER.sub("0", _DIGEST.sub("0", line)))
    return " ".join(line.split())


def shown(page_says: str, printed: str) -> list[str]:
    """Return the lines of a page that a run did not print, in their order.

    Numbers may differ. `...` stands for what the page leaves out: lines, or the rest of one.
    """
    rest = iter([skeleton(line) for line in printed.splitlines()])
    lost = []
    for line in page_says.splitlines():
        parts = [re.escape(part.strip()) for part in skeleton(line).split("...")]
        wanted = re.compile(r"\s*.*\s*".join(parts))
        if wanted.pattern.strip(r"\s*.") and not any(wanted.fullmatch(each) for each in rest):
            lost.append(line)
            break
    return lost
