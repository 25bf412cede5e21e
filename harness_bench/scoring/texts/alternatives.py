"""What sclite's references leave open: alternatives `{ a / b }` and optional words `(uh)`.

A reference with such marks is a network of words. Of its ways the one nearest to the hypothesis
becomes the reference, found with the costs of NIST's sclite: 4 for a substitution, 3 for a
deletion or an insertion, 2 for an optional word that was not said, next to nothing for `@`, which
stands for no word. An optional word that was not said is correct (`sclite -D`), so it goes into
both texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

NULL = "@"
_MARKED = re.compile(r"[{}]|(?<!\S)(\(\S*\)|@)(?!\S)")
_TOKEN = re.compile(r"[{}]|[^\s{}]+")
_INSIDE = re.compile(r"[{}/]|[^\s{}/]+")
_FORGOTTEN, _INSERTED, _SUBSTITUTED = 3000, 3000, 4000
_OPTIONAL, _NOTHING = 2000, 1
_FAR = 1 << 29  # more than any cost

type Costs = NDArray[np.int32]  # (nodes, hypothesis words + 1)
type Pair = tuple[str | None, str | None]  # words of reference and hypothesis, None for a gap


class Arc(NamedTuple):
    """A word between two nodes of a network; without a word it joins them."""

    start: int
    end: int
    word: str | None = None
    optional: bool = False


@dataclass
class _Network:
    """A network in the making: nodes are numbered so that arcs lead to higher numbers."""

    arcs: list[Arc]
    nodes: int = 1

    def add(self, start: int, word: str | None, *, optional: bool = False) -> int:
        """Add a word after a node -> the node behind it."""
        self.arcs.append(Arc(start, self.nodes, word, optional))
        self.nodes += 1
        return self.nodes - 1

    def join(self, ends: Sequence[int]) -> int:
        """Join nodes -> the node behind them."""
        self.arcs += [Arc(end, self.nodes) for end in ends]
        self.nodes += 1
        return self.nodes - 1


def is_marked(text: str) -> bool:
    """Tell whether a text has alternatives, optional words or `@`."""
    return bool(_MARKED.search(text))


def has_alternatives(text: str) -> bool:
    """Tell whether a text has braces that belong to words, as no word has."""
    return "{" in text or "}" in text


def parse(text: str) -> list[Arc]:
    """Read the notation of STM and trn -> arcs in an order that leads from start to end.

    Braces nest, and need no space but before an opening one. A brace that is not closed or
    stands in a word, and an alternative without a word or `@`, are a `ValueError`.
    """
    network = _Network([])
    parts = _parts(text)
    node = 0
    for part in parts:
        node = _element(part, parts, network, node)
    return network.arcs


def choose(arcs: Sequence[Arc], words: Sequence[str], same: Callable[[str], str]) -> list[Pair]:
    """Align a network with the hypothesis's words at least cost -> pairs of words.

    Words are equal where `same` gives one text for both; those of which it leaves nothing cost
    nothing. Among equally cheap alignments a substitution goes before an insertion before a
    deletion. An optional word that was not said is paired with itself.
    """
    heard = [same(word) for word in words]
    into: dict[int, list[Arc]] = {}
    for arc in arcs:
        into.setdefault(arc.end, []).append(arc)
    inserted = np.cumsum([0, *(_INSERTED if word else 0 for word in heard)])
    table = np.zeros((1 + len(into), 1 + len(heard)), np.int32)
    table[0] = inserted
    spoken, missing = np.array(heard, dtype=object), np.array([not word for word in heard], bool)
    for node in range(1, len(table)):
        best = np.full(len(inserted), _FAR)
        for arc in into[node]:
            word, left_out = _cost(arc, same)
            best = np.minimum(best, table[arc.start] + left_out)
            if word:
                said = np.where(spoken == word, 0, np.where(missing, _FAR, _SUBSTITUTED))
                best[1:] = np.minimum(best[1:], table[arc.start, :-1] + said)
        table[node] = np.minimum.accumulate(best - inserted) + inserted
    return [*reversed([*_back(table, into, words, heard, same)])]


def _parts(text: str) -> Iterator[str]:
    """Yield words, braces and the bars between alternatives; outside braces `/` is in words."""
    depth = place = 0
    while match := (_INSIDE if depth else _TOKEN).search(text, place):
        part, place = match[0], match.end()
        if part == "{" and match.start() and text[match.start() - 1] not in " \t{/}":
            raise ValueError("`{` is inside a word; write a space before it")
        depth += (part == "{") - (part == "}")
        if depth < 0:
            raise ValueError("`}` closes no alternative `{ a / b }`")
        yield part
    if depth:
        raise ValueError("an alternative `{ a / b }` is not closed")


def _element(part: str, parts: Iterator[str], network: _Network, node: int) -> int:
    """Add a word or an alternative after a node -> the node behind it."""
    if part != "{":
        optional = len(part) > 1 and part.startswith("(") and part.endswith(")")
        return network.add(node, part[1:-1] if optional else part, optional=optional)
    ends, here, empty = [], node, True
    for inner in parts:
        if inner in ("/", "}"):
            if empty:
                raise ValueError("an alternative is empty; write `@` for no word")
            ends.append(here)
            here, empty = node, True
            if inner == "}":
                break
        else:
            here, empty = _element(inner, parts, network, here), False
    return network.join(ends)


class _Step(NamedTuple):
    cost: int
    rank: int  # among equally cheap ones the lowest is taken
    node: int  # where it comes from
    column: int
    arc: Arc | None


def _cost(arc: Arc, same: Callable[[str], str]) -> tuple[str, int]:
    """Return the word of an arc as it is compared, and what leaving it out costs."""
    if arc.word is None:
        return "", 0
    word = "" if arc.word == NULL else same(arc.word)
    return word, _NOTHING if not word else _OPTIONAL if arc.optional else _FORGOTTEN


def _steps(
    arc: Arc, column: int, table: Costs, heard: Sequence[str], same: Callable[[str], str]
) -> Iterator[_Step]:
    """Yield the steps along one arc: its word said, said as another, or not said."""
    word, left_out = _cost(arc, same)
    if column and word and heard[column - 1]:
        said = 0 if word == heard[column - 1] else _SUBSTITUTED
        yield _Step(int(table[arc.start, column - 1]) + said, 0, arc.start, column - 1, arc)
    rank = 0 if arc.word is None else 2
    yield _Step(int(table[arc.start, column]) + left_out, rank, arc.start, column, arc)


def _back(
    table: Costs,
    into: Mapping[int, Sequence[Arc]],
    words: Sequence[str],
    heard: Sequence[str],
    same: Callable[[str], str],
) -> Iterator[Pair]:
    """Yield the pairs of the cheapest way, from its end."""
    node, column = len(table) - 1, len(words)
    while node or column:
        arcs = into.get(node, ())
        steps = [step for arc in arcs for step in _steps(arc, column, table, heard, same)]
        if column:
            cost = int(table[node, column - 1]) + (_INSERTED if heard[column - 1] else 0)
            steps.append(_Step(cost, 1, node, column - 1, None))
        step = min(steps, key=lambda one: one[:2])
        hyp = words[column - 1] if step.column < column else None
        if step.arc is None:
            yield None, hyp
        elif step.arc.word not in (None, NULL):
            yield step.arc.word, step.arc.word if step.arc.optional and hyp is None else hyp
        node, column = step.node, step.column
