"""Corpora: what is on disk becomes cuts. One file per corpus, found by looking into the folder."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from harness_bench.core.registry import attribute, modules_in

if TYPE_CHECKING:
    from harness_bench.corpora.base import Corpus

_LAYOUTS = "harness_bench.corpora.layouts"


def available() -> list[str]:
    """List the corpus names, sorted; imports none of them."""
    return modules_in(_LAYOUTS)


def get(name: str) -> type[Corpus]:
    """Return the `Corpus` class of a corpus; an unknown name is a `ValueError` that lists all."""
    if name not in (known := available()):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no corpus {name!r}; there are {', '.join(known)}.{hint}")
    found: type[Corpus] = attribute(f"{_LAYOUTS}.{name}", "Corpus")
    return found
