"""What reports need of the cuts of one split: a few numbers each, so that millions fit."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from harness_bench import leakage
from harness_bench.corpora.prepared.row import KINDS
from harness_bench.corpora.report import LABEL_FIELDS, SplitReport
from harness_bench.files import digest_strings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from harness_bench.corpora.prepared.row import Row

_EXAMPLES = 5


class Columns:
    """Durations, and of each kind of thing that splits may share a 64-bit hash; 0 for none."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.duration = array("d")
        self.kinds = {kind: array("q") for kind in KINDS}
        self.transcribed = 0
        self.labels: dict[str, Counter[str]] = {name: Counter() for name in LABEL_FIELDS}

    def add(self, row: Row) -> None:
        """Take in one cut with its one supervision."""
        supervision = row["supervisions"][0]
        self.ids.append(row["id"])
        self.duration.append(row["duration"])
        for kind, value in KINDS.items():
            known = value(row)
            self.kinds[kind].append(0 if known is None else hash(known) or 1)
        self.transcribed += bool(supervision.get("text"))
        custom = supervision.get("custom", {})
        for name, counts in self.labels.items():
            if name in custom:
                counts[str(custom[name])] += 1

    def __len__(self) -> int:
        return len(self.ids)

    def order(self) -> list[int]:
        """Return the places of all cuts, by id."""
        return sorted(range(len(self.ids)), key=self.ids.__getitem__)

    def hashes(self, kind: str) -> NDArray[np.int64]:
        """Return the hashes of one kind, (cuts,)."""
        return np.frombuffer(self.kinds[kind], dtype=np.int64)

    def describe(self) -> SplitReport:
        """Put the split in figures."""
        speakers = np.unique(self.hashes("speaker"))
        labels = next((counts for counts in self.labels.values() if counts), Counter[str]())
        return SplitReport(
            utterances=len(self.ids),
            hours=round(float(np.sum(np.frombuffer(self.duration))) / 3600, 4),
            speakers=int(np.count_nonzero(speakers)),
            transcribed=self.transcribed,
            digest=digest_strings(sorted(self.ids)),
            labels=dict(sorted(labels.items())),
        )

    def speakers_known(self) -> bool:
        """Whether every cut has a speaker."""
        return bool(self.hashes("speaker").all())


def compare(
    first: Columns, second: Columns, names: tuple[str, str], row_of: Callable[[int], Row]
) -> leakage.Leakage:
    """Find what two splits share; the same as `leakage.compare` of their cuts.

    Args:
        first: a split.
        second: another one.
        names: what to call them.
        row_of: place in `second` -> its row, for the examples.
    """
    found = (_shared(kind, first, second, row_of) for kind in KINDS)
    return leakage.Leakage(*names, tuple(item for item in found if item is not None))


def _shared(
    kind: str, first: Columns, second: Columns, row_of: Callable[[int], Row]
) -> leakage.Shared | None:
    """Compare two splits by one kind of thing; None where they share none."""
    ours, theirs = first.hashes(kind), second.hashes(kind)
    both = np.intersect1d(ours, theirs)
    both = both[both != 0]
    if not len(both):
        return None
    touched = np.isin(theirs, both)
    _, places = np.unique(theirs[touched], return_index=True)
    wheres = np.flatnonzero(touched)[places]
    examples = {str(KINDS[kind](row_of(int(place)))) for place in wheres}
    return leakage.Shared(
        kind=kind,
        values=len(both),
        first_utterances=int(np.isin(ours, both).sum()),
        second_utterances=int(touched.sum()),
        second_hours=round(float(np.frombuffer(second.duration)[touched].sum()) / 3600, 4),
        examples=tuple(sorted(examples)[:_EXAMPLES]),
    )
