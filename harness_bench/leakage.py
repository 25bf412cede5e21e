"""What two sets of utterances share: speakers, recordings, audio and texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, override

from harness_bench import result_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lhotse.cut import Cut

DIGEST = "audio_digest"  # the field of a prepared cut's `custom` with its samples' digest
_EXAMPLES = 5


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
class Leakage:
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


def compare(first: Iterable[Cut], second: Iterable[Cut], names: tuple[str, str]) -> Leakage:
    """Find what two sets of prepared cuts share.

    Args:
        first: cuts as `harness_bench.corpora.prepare` makes them, such as pretraining speech.
        second: cuts likewise, such as a test set.
        names: what to call the two.
    """
    lists = list(first), list(second)
    found = (_shared(kind, value, *lists) for kind, value in KINDS.items())
    return Leakage(*names, tuple(item for item in found if item is not None))


def declared(found: Sequence[Leakage]) -> result_parts.Leakage:
    """Put comparisons of training sets with one split into the form that results carry.

    Equal texts are told and no verdict.
    """
    return result_parts.Leakage(
        verdict="shared" if any(each.leaks for each in found) else "clean",
        compared_with=tuple(each.first for each in found),
        detail="; ".join(str(each) for each in found if each.shared),
    )


def between_splits(cuts: Mapping[str, list[Cut]]) -> list[Leakage]:
    """Compare every split with every later one, in the order given."""
    return [compare(cuts[a], cuts[b], (a, b)) for a, b in combinations(cuts, 2)]


def _shared(
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
        examples=tuple(sorted(map(str, both))[:_EXAMPLES]),
    )


def _custom(cut: Cut, field: str) -> str | None:
    value = (cut.supervisions[0].custom or {}).get(field)
    return None if value is None else str(value)


def _source(cut: Cut) -> str:
    return str(cut.recording.sources[0].source)


def _digest(cut: Cut) -> str | None:
    return (cut.custom or {}).get(DIGEST)


# Kind of thing that sets may share -> the value of a prepared cut, None where it has none.
KINDS: dict[str, Callable[[Cut], str | None]] = {
    "speaker": lambda cut: cut.supervisions[0].speaker,
    "cluster": lambda cut: _custom(cut, "cluster"),
    "recording": _source,
    "audio": _digest,
    "text": lambda cut: cut.supervisions[0].text,
}
