"""What two sets of utterances share: speakers, recordings, audio and texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, override

import numpy as np

from harness_bench.cuts.fields import CUT_KINDS, ROW_KINDS
from harness_bench.cuts.table import KINDS, NAMED, Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.cuts.store import Row
    from harness_bench.cuts.table import Facts

SPAN, NEAR = "span", "near"
ALL_KINDS = (*KINDS[:4], SPAN, "audio", NEAR, *KINDS[5:])
MEANING = {
    "id": "the same utterance id",
    "speaker": "the same speaker",
    "cluster": "the same source video or programme",
    "recording": "the same recording",
    SPAN: "the same seconds of a recording or video",
    "audio": "the same samples",
    NEAR: "the same sound under another gain, codec, start or length",
    "text": "the same long text",
    "short text": "the same short text",
}
_EXAMPLES = 3
_MIN_OVERLAP = 100  # ms; segments that touch are rounded differently by every tool


class Hit(NamedTuple):
    """An utterance of each set with the same sound."""

    first: int  # place in the first set
    second: int
    votes: int
    offset: float  # seconds by which the sound stands later in the second
    seconds: float


class Example(NamedTuple):
    """One case of a thing shared."""

    first: str  # utterance id
    second: str
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of thing that two sets share."""

    kind: str
    leak: bool  # False: told, and no fault
    why: str  # why it is none, where it is none
    values: int  # different speakers, recordings, ...; pairs of utterances for span and near
    first_utterances: int
    second_utterances: int
    first_hours: float
    second_hours: float
    examples: tuple[Example, ...]
    # Places of the utterances in both sets, as many as are counted above.
    places: tuple[NDArray[np.intp], NDArray[np.intp]] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Pair:
    """All that two sets share."""

    first: str
    second: str
    findings: tuple[Finding, ...]

    @property
    def leaks(self) -> bool:
        """Whether anything of it is a leak."""
        return any(finding.leak for finding in self.findings)


def compare(
    first: Facts, second: Facts, *, near: Sequence[Hit] = (), allow: Iterable[str] = ()
) -> Pair:
    """Find what two sets share.

    Args:
        first: a set.
        second: another one.
        near: pairs of utterances whose fingerprints agree; those of equal samples are left out.
        allow: kinds that are told and no leak.
    """
    found = {kind: _shared(kind, first, second) for kind in KINDS}
    found[SPAN] = _spans(first, second)
    found[NEAR] = _near(first, second, near)
    allowed = frozenset(allow)
    return Pair(
        first.name,
        second.name,
        tuple(
            _finding(kind, touched, (first, second), allowed)
            for kind in ALL_KINDS
            if (touched := found[kind]) is not None
        ),
    )


class _Touched(NamedTuple):
    values: int
    first: NDArray[np.intp]  # places of utterances
    second: NDArray[np.intp]
    examples: list[Example]


def _finding(
    kind: str, touched: _Touched, sets: tuple[Facts, Facts], allowed: frozenset[str]
) -> Finding:
    why = "allowed" if kind in allowed else _excuse(kind, *sets)
    first, second = sets
    return Finding(
        kind=kind,
        leak=not why,
        why=why,
        values=touched.values,
        first_utterances=len(touched.first),
        second_utterances=len(touched.second),
        first_hours=_hours(first, touched.first),
        second_hours=_hours(second, touched.second),
        examples=tuple(touched.examples),
        places=(touched.first, touched.second),
    )


def _hours(facts: Facts, places: NDArray[np.intp]) -> float:
    return round(float(facts.seconds()[places].sum()) / 3600, 4)


def _excuse(kind: str, first: Facts, second: Facts) -> str:
    """Say why sharing a kind of thing is no leak; empty where it is one."""
    if kind == "short text":
        return "short sentences and single words come again"
    if kind == "id" and first.has_cuts and second.has_cuts:
        return "ids of different corpora may be equal; the audio decides"
    known = first.origin and second.origin
    if kind == "speaker" and known and first.origin != second.origin:
        return "the corpora differ: equal names need not be one person"
    return ""


def _shared(kind: str, first: Facts, second: Facts) -> _Touched | None:
    """Compare by the hashes of one kind; None where nothing is shared."""
    ours, theirs = first.hashes(kind), second.hashes(kind)
    both = np.intersect1d(ours, theirs)
    both = both[both != 0]
    if not len(both):
        return None
    in_first, in_second = (np.flatnonzero(np.isin(each, both)) for each in (ours, theirs))
    examples = []
    for value in both[:_EXAMPLES]:
        places = (int(in_first[np.argmax(ours[in_first] == value)]),
                  int(in_second[np.argmax(theirs[in_second] == value)]))  # fmt: skip
        name = first.names.get(int(value), "") if kind in NAMED else ""
        examples.append(Example(first.id(places[0]), second.id(places[1]), name))
    return _Touched(len(both), in_first, in_second, examples)


def _spans(first: Facts, second: Facts) -> _Touched | None:
    """Find utterances that stand at the same seconds of one recording or one source video."""
    parts = [_overlaps(kind, first, second) for kind in ("recording", "cluster")]
    ours = np.unique(np.concatenate([part[0] for part in parts]))
    theirs = np.unique(np.concatenate([part[1] for part in parts]))
    if not len(ours):
        return None
    examples = [example for part in parts for example in part[2]]
    return _Touched(max(len(ours), len(theirs)), ours, theirs, examples[:_EXAMPLES])


def _overlaps(
    kind: str, first: Facts, second: Facts
) -> tuple[NDArray[np.intp], NDArray[np.intp], list[Example]]:
    """Return the places in both sets that overlap in time, and examples."""
    sides = [_placed(kind, facts) for facts in (first, second)]
    ours = sides[0].touched_by(sides[1])
    theirs = sides[1].touched_by(sides[0])
    examples = []
    for place in ours[:_EXAMPLES]:
        key, start, end = sides[0].at(int(place))
        other, common = sides[1].best(key, start, end)
        examples.append(Example(first.id(int(place)), second.id(other), f"{common / 1000:.2f} s"))
    return ours, theirs, examples


class _Placed(NamedTuple):
    """Utterances with a known place in time."""

    places: NDArray[np.intp]  # in their set
    keys: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def at(self, place: int) -> tuple[int, int, int]:
        here = int(np.flatnonzero(self.places == place)[0])
        return int(self.keys[here]), int(self.starts[here]), int(self.ends[here])

    def best(self, key: int, start: int, end: int) -> tuple[int, int]:
        """Return the place that has most of a span in common, and how many ms."""
        common = np.minimum(self.ends, end) - np.maximum(self.starts, start)
        common = np.where(self.keys == key, common, -1)
        here = int(np.argmax(common))
        return int(self.places[here]), int(common[here])

    def touched_by(self, other: _Placed) -> NDArray[np.intp]:
        """Return the places that overlap any span of another set.

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
        return self.places[mine[begun > over]]


def _placed(kind: str, facts: Facts) -> _Placed:
    """Pick the utterances whose recording or video and place in it are known."""
    keys, (starts, ends) = facts.hashes(kind), facts.spans(kind)
    places = np.flatnonzero((keys != 0) & (ends - starts >= _MIN_OVERLAP))
    return _Placed(places, keys[places], starts[places], ends[places])


def _near(first: Facts, second: Facts, hits: Iterable[Hit]) -> _Touched | None:
    """Keep the pairs of like sound whose samples are not known to be equal."""
    ours, theirs = first.hashes("audio"), second.hashes("audio")
    new = [hit for hit in hits if not ours[hit.first] or ours[hit.first] != theirs[hit.second]]
    if not new:
        return None
    best = sorted(new, key=lambda hit: (-hit.votes, first.id(hit.first), second.id(hit.second)))
    examples = [
        Example(first.id(hit.first), second.id(hit.second),
                f"{hit.seconds:.1f} s, {hit.votes} landmarks")
        for hit in best[:_EXAMPLES]
    ]  # fmt: skip
    in_first, in_second = (np.unique([hit[side] for hit in new]).astype(np.intp) for side in (0, 1))
    return _Touched(len(new), in_first, in_second, examples)


_COLUMN_EXAMPLES = 5


def compare_columns(
    first: Columns, second: Columns, names: tuple[str, str], row_of: Callable[[int], Row]
) -> Overlap:
    """Find what two splits share; the same as `leakage.compare` of their cuts.

    Args:
        first: a split.
        second: another one.
        names: what to call them.
        row_of: place in `second` -> its row, for the examples.
    """
    found = (_shared_columns(kind, first, second, row_of) for kind in ROW_KINDS)
    return Overlap(*names, tuple(item for item in found if item is not None))


def _shared_columns(
    kind: str, first: Columns, second: Columns, row_of: Callable[[int], Row]
) -> Shared | None:
    """Compare two splits by one kind of thing; None where they share none."""
    ours, theirs = first.hashes(kind), second.hashes(kind)
    both = np.intersect1d(ours, theirs)
    both = both[both != 0]
    if not len(both):
        return None
    touched = np.isin(theirs, both)
    _, places = np.unique(theirs[touched], return_index=True)
    wheres = np.flatnonzero(touched)[places]
    examples = {str(ROW_KINDS[kind](row_of(int(place)))) for place in wheres}
    return Shared(
        kind=kind,
        values=len(both),
        first_utterances=int(np.isin(ours, both).sum()),
        second_utterances=int(touched.sum()),
        second_hours=round(float(np.frombuffer(second.duration)[touched].sum()) / 3600, 4),
        examples=tuple(sorted(examples)[:_COLUMN_EXAMPLES]),
    )


_CUT_EXAMPLES = 5


@dataclass(frozen=True)
class Shared:
    """One kind of thing that two sets share."""

    kind: str  # speaker, cluster, recording, audio or text
    values: int  # how many different speakers, recordings, ... stand in both
    first_utterances: int  # how many utterances of the first set they touch
    second_utterances: int
    second_hours: float
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Overlap:
    """All that two sets share; empty where they share nothing."""

    first: str
    second: str
    shared: tuple[Shared, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of things shared."""
        return tuple(item.kind for item in self.shared)

    @property
    def leaks(self) -> bool:
        """Whether more than texts is shared: read sentences and single words must come again."""
        return bool({*self.kinds} - {"text"})

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)

    @override
    def __str__(self) -> str:
        if not self.shared:
            return f"{self.first} and {self.second} share nothing"
        parts = [
            f"{item.values} {item.kind}{'s' * (item.kind != 'audio' and item.values != 1)} "
            f"({item.second_utterances} utterances of {self.second})"
            for item in self.shared
        ]
        return f"{self.first} and {self.second} share " + ", ".join(parts)


def compare_cuts(first: Iterable[Cut], second: Iterable[Cut], names: tuple[str, str]) -> Overlap:
    """Find what two sets of prepared cuts share.

    Args:
        first: cuts as `harness_bench.corpora.prepare` makes them, such as pretraining speech.
        second: cuts likewise, such as a test set.
        names: what to call the two.
    """
    lists = list(first), list(second)
    found = (_shared_cuts(kind, value, *lists) for kind, value in CUT_KINDS.items())
    return Overlap(*names, tuple(item for item in found if item is not None))


def between_splits(cuts: Mapping[str, list[Cut]]) -> list[Overlap]:
    """Compare every split with every later one, in the order given."""
    return [compare_cuts(cuts[a], cuts[b], (a, b)) for a, b in combinations(cuts, 2)]


def _shared_cuts(
    kind: str, value: Callable[[Cut], str | None], first: list[Cut], second: list[Cut]
) -> Shared | None:
    """Compare two sets by one kind of thing; None where they share none."""
    both = {value(cut) for cut in first} & {value(cut) for cut in second} - {None}
    if not both:
        return None
    touched = [cut for cut in second if value(cut) in both]
    return Shared(
        kind=kind,
        values=len(both),
        first_utterances=sum(value(cut) in both for cut in first),
        second_utterances=len(touched),
        second_hours=round(sum(cut.duration for cut in touched) / 3600, 4),
        examples=tuple(sorted(map(str, both))[:_CUT_EXAMPLES]),
    )
