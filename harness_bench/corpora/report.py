"""What `prepare` found: counts, splits, skipped utterances with reasons, leakage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import write_json, write_text
from harness_bench.cuts.store import REPORT, SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness_bench.corpora.base import Skipped
    from harness_bench.cuts.table import SplitReport, Table
    from harness_bench.leakage.compare import Pair

_SKIPPED_COLUMNS = ("id", "reason", "detail", "audio", "where")


def speaker_disjoint(splits: Sequence[Table], pairs: Iterable[Pair]) -> bool | None:
    """Tell whether no speaker stands in two splits; None where that cannot be known."""
    known = all(split.speakers_known() for split in splits)
    if len(splits) < 2 or not known:  # noqa: PLR2004 - one split is disjoint from nothing
        return None
    return not any("speaker" in pair.kinds for pair in pairs)


@dataclass(frozen=True)
class PrepareReport:
    """One run of `prepare` in figures; the same run on the same data gives the same report."""

    corpus: str
    root: str
    complete: bool  # False: too much was skipped and no cuts were written
    found: int
    kept: int
    skipped: dict[str, int]  # reason -> utterances
    skipped_list: tuple[Skipped, ...]
    max_skipped: float
    resampled: dict[str, int]  # original rate in Hz -> utterances
    mixed_down: int  # utterances with several channels
    splits: dict[str, SplitReport]
    speaker_disjoint: bool | None  # None: no speakers known, or one split
    leakage: tuple[Pair, ...]

    @property
    def share_skipped(self) -> float:
        """Share of the utterances found that were left out, 0 to 1."""
        return len(self.skipped_list) / self.found if self.found else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        leakage = [pair.to_dict() for pair in self.leakage]
        figures = asdict(replace(self, leakage=()))
        return {**figures, "leakage": leakage, "share_skipped": round(self.share_skipped, 6)}

    def write(self, folder: Path) -> None:
        """Write report.json and skipped.tsv into `folder`."""
        rows = [
            "\t".join(_cell(getattr(item, column)) for column in _SKIPPED_COLUMNS)
            for item in self.skipped_list
        ]
        write_text(folder / SKIPPED, "\n".join(["\t".join(_SKIPPED_COLUMNS), *rows]) + "\n")
        write_json(folder / REPORT, self.to_dict())

    def summary(self) -> str:
        """Say in a few lines what was kept, skipped and changed."""
        lines = [f"{self.corpus}: kept {self.kept} of {self.found} utterances"]
        lines += [
            f"  {name}: {split.utterances} utterances, {split.hours:.2f} h, "
            f"{split.speakers} speakers"
            for name, split in self.splits.items()
        ]
        lines += [f"  skipped, {reason}: {count}" for reason, count in self.skipped.items()]
        lines += [f"  resampled from {rate} Hz: {count}" for rate, count in self.resampled.items()]
        if self.mixed_down:
            lines.append(f"  channels averaged: {self.mixed_down}")
        lines += [f"  {pair}" for pair in self.leakage if pair.findings]
        return "\n".join(lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split())
