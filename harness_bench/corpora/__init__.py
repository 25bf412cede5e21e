"""Corpora: what is on disk becomes cuts. One file per corpus, found by looking into the folder."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from harness_bench.discovery import attribute, modules_in

if TYPE_CHECKING:
    from harness_bench.corpora.base import Corpus

# The modules here that every corpus shares; all others are corpora.
_SHARED = frozenset({"base", "check", "prepare", "reading", "report", "splits"})


def available() -> list[str]:
    """List the corpus names, sorted; imports none of them."""
    return [name for name in modules_in(__name__) if name not in _SHARED]


def get(name: str) -> type[Corpus]:
    """Return the `Corpus` class of a corpus; an unknown name is a `ValueError` that lists all."""
    if name not in (known := available()):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no corpus {name!r}; there are {', '.join(known)}.{hint}")
    found: type[Corpus] = attribute(f"{__name__}.{name}", "Corpus")
    return found
