"""What two sets of utterances share: speakers, recordings, audio and texts.

`compare` is the one comparison. The audit asks it for all kinds of things (`ALL_KINDS`); reports
of prepared corpora and of results declare fewer (`shared`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, override

import numpy as np

from harness_bench.cuts.table import NAMED, SPAN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from harness_bench.cuts.table import Table

NEAR, TEXT, SHORT_TEXT = "near", "text", "short text"
MEANING = {
    "id": "the same utterance id",
    "speaker": "the same speaker",
    "cluster": "the same source video or programme",
    "recording": "the same recording",
    SPAN: "the same seconds of a recording or video",
    "audio": "the same samples",
    NEAR: "the same sound under another gain, codec, start, length or speed",
    TEXT: "the same long text",
    SHORT_TEXT: "the same short text",
}
ALL_KINDS = tuple(MEANING)
DECLARED = ("speaker", "cluster", "recording", "audio", TEXT)
LONG_TEXT = 12  # words; what is longer does not come again by chance
_EXAMPLES = 3
_NAMES = 5
_MIN_OVERLAP = 100  # ms; segments that touch are rounded differently by every tool

type Namer = Callable[[str, int], str | None]  # kind of thing, place in a set -> its value there


class Hit(NamedTuple):
    """An utterance of each set with the same sound."""

    first: int  # place in the first set
    second: int
    votes: int
    offset: float  # seconds by which the sound stands later in the second
    seconds: float
    speed: float = 1.0  # of the second, to the first


class Example(NamedTuple):
    """One case of a thing shared."""

    first: str  # utterance id
    second: str
    detail: str = ""


@dataclass(frozen=True)
class SharedFinding:
    """One kind of thing that two sets share."""

    kind: str
    leak: bool  # False: a note
    why: str  # why it is none, where it is none
    values: int  # different speakers, recordings, ...; pairs of utterances for span and near
    first_utterances: int
    second_utterances: int
    first_hours: float
    second_hours: float
    examples: tuple[Example, ...]
    names: tuple[str, ...]  # the first of the values in order, where the caller can name them
    # Places of the utterances in both sets, as many as are counted above.
    places: tuple[NDArray[np.intp], NDArray[np.intp]] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Pair:
    """All that two sets share; no findings where they share nothing."""

    first: str
    second: str
    findings: tuple[SharedFinding, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of things shared."""
        return tuple(finding.kind for finding in self.findings)

    @property
    def leaks(self) -> bool:
        """Whether anything of it is a leak."""
        return any(finding.leak for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, as they stand in a prepared folder's report."""
        figures = ("kind", "values", "first_utterances", "second_utterances", "second_hours")
        found = [
            {**{name: getattr(each, name) for name in figures}, "examples": each.names}
            for each in self.findings
        ]
        return {"first": self.first, "second": self.second, "shared": found}

    @override
    def __str__(self) -> str:
        parts = [
            f"{item.values} {item.kind}{'s' * (item.kind != 'audio' and item.values != 1)} "
            f"({item.second_utterances} utterances of {self.second})"
            for item in self.findings
        ]
        return f"{self.first} and {self.second} share {', '.join(parts) or 'nothing'}"


def shared(first: Table, second: Table, name: Namer | None = None) -> Pair:
    """Find what a report declares of two sets; equal texts are no leak, however long."""
    return compare(first, second, kinds=DECLARED, long_text=0, allow=(TEXT,), name=name)


def between(tables: Iterable[Table]) -> list[Pair]:
    """Compare every set with every later one, in the order given."""
    return [shared(*pair) for pair in combinations(tables, 2)]


def compare(
    first: Table,
    second: Table,
    *,
    kinds: Collection[str] = ALL_KINDS,  # which are looked for
    long_text: int = LONG_TEXT,  # words from which a text is long
    near: Sequence[Hit] = (),  # whose fingerprints agree; those of equal samples are left out
    allow: Collection[str] = (),  # kinds that are reported and no leak
    name: Namer | None = None,  # of values in `second`
) -> Pair:
    """Find what two sets share."""
    findings = []
    for kind in kinds:
        if kind == SPAN:
            touched = _spans(first, second)
        elif kind == NEAR:
            touched = _near(first, second, near)
        else:
            touched = _equal(kind, first, second, long_text, name)
        if touched.values:
            why = "allowed" if kind in allow else _excuse(kind, first, second)
            findings.append(
                SharedFinding(
                    kind=kind,
                    leak=not why,
                    why=why,
                    values=touched.values,
                    first_utterances=len(touched.first),
                    second_utterances=len(touched.second),
                    first_hours=_hours(first, touched.first),
                    second_hours=_hours(second, touched.second),
                    examples=tuple(touched.examples[:_EXAMPLES]),
                    names=touched.names,
                    places=(touched.first, touched.second),
                )
            )
    return Pair(first.name, second.name, tuple(findings))


def _hours(table: Table, places: NDArray[np.intp]) -> float:
    return round(float(table.seconds()[places].sum()) / 3600, 4)


def _excuse(kind: str, first: Table, second: Table) -> str:
    """Say why sharing a kind of thing is no leak; empty where it is one."""
    if kind == SHORT_TEXT:
        return "short sentences and single words come again"
    if kind == "id" and first.has_cuts and second.has_cuts:
        return "ids of different corpora may be equal; the audio decides"
    known = first.origin and second.origin
    if kind == "speaker" and known and first.origin != second.origin:
        return "the corpora differ: equal names need not be one person"
    return ""


class _Touched(NamedTuple):
    """What two sets share of one kind."""

    values: int
    first: NDArray[np.intp]  # places of utterances
    second: NDArray[np.intp]
    examples: list[Example]
    names: tuple[str, ...] = ()


def _hashes(kind: str, table: Table, long_text: int) -> NDArray[np.int64]:
    if kind not in (TEXT, SHORT_TEXT):
        return table.hashes(kind)
    is_long = table.words() >= long_text
    return np.where(is_long if kind == TEXT else ~is_long, table.hashes(TEXT), 0)


def _equal(kind: str, first: Table, second: Table, long_text: int, name: Namer | None) -> _Touched:
    """Compare by the hashes of one kind."""
    ours, theirs = (_hashes(kind, table, long_text) for table in (first, second))
    both = np.intersect1d(ours, theirs)
    both = both[both != 0]
    in_first, in_second = (np.flatnonzero(np.isin(each, both)) for each in (ours, theirs))
    # Of each value the first utterance that has it, in the order of `both`.
    firsts = in_first[np.unique(ours[in_first], return_index=True)[1]].tolist()
    seconds = in_second[np.unique(theirs[in_second], return_index=True)[1]].tolist()
    known = first.names if kind in NAMED else {}
    examples = [
        Example(first.id(here), second.id(there), known.get(value, ""))
        for value, here, there in zip(both[:_EXAMPLES].tolist(), firsts, seconds, strict=False)
    ]
    names = {str(name(kind, there)) for there in seconds} if name else ()
    return _Touched(len(both), in_first, in_second, examples, tuple(sorted(names)[:_NAMES]))


def _spans(first: Table, second: Table) -> _Touched:
    """Find utterances that stand at the same seconds of one recording or one source video."""
    parts = [_overlaps(kind, first, second) for kind in first.placed if kind in second.placed]
    ours, theirs = (np.unique(np.concatenate([part[side] for part in parts])) for side in (0, 1))
    examples = [example for part in parts for example in part[2]]
    return _Touched(max(len(ours), len(theirs)), ours, theirs, examples)


def _overlaps(
    kind: str, first: Table, second: Table
) -> tuple[NDArray[np.intp], NDArray[np.intp], list[Example]]:
    ours, theirs = _Placed.of(kind, first), _Placed.of(kind, second)
    touched = ours.touched_by(theirs)
    examples = []
    for here in touched[:_EXAMPLES]:  # beside each the utterance that has most in common with it
        ends, starts = np.minimum(theirs.ends, ours.ends[here]), theirs.starts
        common = np.where(
            theirs.keys == ours.keys[here], ends - np.maximum(starts, ours.starts[here]), -1
        )
        there = int(np.argmax(common))
        uids = first.id(int(ours.places[here])), second.id(int(theirs.places[there]))
        examples.append(Example(*uids, f"{common[there] / 1000:.2f} s"))
    return ours.places[touched], theirs.places[theirs.touched_by(ours)], examples


class _Placed(NamedTuple):
    """The utterances whose recording or video and place in it are known."""

    places: NDArray[np.intp]  # in their set
    keys: NDArray[np.int64]
    starts: NDArray[np.int64]  # ms
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, kind: str, table: Table) -> _Placed:
        keys, (starts, ends) = table.hashes(kind), table.spans(kind)
        places = np.flatnonzero((keys != 0) & (ends - starts >= _MIN_OVERLAP))
        return cls(places, keys[places], starts[places], ends[places])

    def touched_by(self, other: _Placed) -> NDArray[np.intp]:
        """Return which of these overlap any span of another set.

        Of the spans with its key, those that begin before a span's end less those that end
        before its start are the ones that overlap it: two binary searches instead of all pairs.
        """
        known = np.intersect1d(self.keys, other.keys)
        mine = np.flatnonzero(np.isin(self.keys, known))
        theirs = np.flatnonzero(np.isin(other.keys, known))
        key, other_key = (
            np.searchsorted(known, keys).astype(np.int64) << 34
            for keys in (self.keys[mine], other.keys[theirs])
        )
        begun = np.searchsorted(
            np.sort(other_key + other.starts[theirs]), key + self.ends[mine] - _MIN_OVERLAP, "right"
        )
        over = np.searchsorted(
            np.sort(other_key + other.ends[theirs]), key + self.starts[mine] + _MIN_OVERLAP, "left"
        )
        return mine[begun > over]


def _at_speed(hit: Hit) -> str:
    speed = f"{hit.speed:.2f}"
    return "" if speed == "1.00" else f", the second at speed {speed}"


def _near(first: Table, second: Table, hits: Iterable[Hit]) -> _Touched:
    """Keep the pairs of like sound whose samples are not known to be equal."""
    ours, theirs = first.hashes("audio"), second.hashes("audio")
    new = [hit for hit in hits if not ours[hit.first] or ours[hit.first] != theirs[hit.second]]
    best = sorted(new, key=lambda hit: (-hit.votes, first.id(hit.first), second.id(hit.second)))
    faster = next((hit for hit in best if _at_speed(hit)), None)  # what no digest and no ear tells
    if faster is not None and faster not in best[:_EXAMPLES]:
        best.insert(_EXAMPLES - 1, faster)
    examples = [
        Example(
            first.id(hit.first),
            second.id(hit.second),
            f"{hit.seconds:.1f} s, {hit.votes} landmarks{_at_speed(hit)}",
        )
        for hit in best[:_EXAMPLES]
    ]
    in_first, in_second = (np.unique([hit[side] for hit in new]).astype(np.intp) for side in (0, 1))
    return _Touched(len(new), in_first, in_second, examples)
