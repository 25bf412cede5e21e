"""How good labels are: how clusters are used, and what they tell of known units."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from harness_bench.files import write_json
from harness_bench.labels.labeler import load_labeler
from harness_bench.labels.store import open_labels
from harness_bench.labels.units import choose_units
from harness_bench.progress import bar
from harness_bench.ranks import sum_over_ranks

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.data.sources import CutSource
    from harness_bench.labels.labeler import Labeler
    from harness_bench.labels.units import UnitReader

QUALITY_FILE, PLOT_FILE = "quality.json", "quality.png"
LONGEST_RUN = 50  # frames, one second; longer runs are counted with those of this length
PEEK = 500  # cuts that are looked at to learn what units there are


class Agreement(NamedTuple):
    """HuBERT's measures (Hsu et al. 2021, section IV-C) over the joint p(unit y, cluster z)."""

    cluster_purity: float  # sum over units of the largest p(y, z)
    unit_purity: float  # sum over clusters of the largest p(y, z); phone purity where y are phones
    pnmi: float  # mutual information I(y; z) over the units' entropy H(y)


_MEASURES = Agreement._fields


def agreement(joint: Tensor) -> Agreement:
    """Measure how well clusters and units agree.

    Args:
        joint: (U, K) frames by unit and cluster.

    Raises:
        ValueError: no frames, or one unit alone, of which nothing can be told.
    """
    if int((joint.sum(1) > 0).sum()) < 2:  # noqa: PLR2004 - of one unit, entropy is zero
        raise ValueError(
            "All frames are of one unit, or none has any; give cuts that differ in their units."
        )
    shares = joint.double() / joint.sum()
    units, clusters = shares.sum(1), shares.sum(0)
    together = _entropy(shares.flatten())
    information = _entropy(units) + _entropy(clusters) - together
    return Agreement(
        cluster_purity=float(shares.max(1).values.sum()),
        unit_purity=float(shares.max(0).values.sum()),
        pnmi=information / _entropy(units),
    )


def _entropy(shares: Tensor) -> float:
    """Return the entropy of a distribution in bits."""
    present = shares[shares > 0]
    return float(-(present * present.log2()).sum())


class Tally:
    """Counts over the labels of utterances, and over their units where a reader gives them."""

    def __init__(self, clusters: int, reader: UnitReader | None = None) -> None:
        self.reader = reader
        self.utterances = 0
        self.frames = torch.zeros(clusters, dtype=torch.int64)  # of each cluster
        # Runs of one label by their length in frames; the last place: 50 and more.
        self.runs = torch.zeros(LONGEST_RUN + 1, dtype=torch.int64)
        self._units: dict[str, Tensor] = {}  # unit -> (K,) frames of each cluster

    def add(self, labels: Tensor) -> None:
        """Count the labels (F,) int64 of one utterance."""
        self.utterances += 1
        self.frames += torch.bincount(labels, minlength=len(self.frames))
        lengths = torch.unique_consecutive(labels, return_counts=True)[1]
        self.runs += torch.bincount(lengths.clamp(max=LONGEST_RUN), minlength=LONGEST_RUN + 1)

    def sum_over_ranks(self, device: torch.device) -> None:
        """Add what the other ranks counted; `device` is one that the ranks can talk on."""
        counts = torch.cat([self.frames, self.runs, torch.tensor([self.utterances])]).to(device)
        counts, clusters = sum_over_ranks(counts).cpu(), len(self.frames)
        self.frames, self.runs = counts[:clusters], counts[clusters:-1]
        self.utterances = int(counts[-1])

    def add_units(self, cut: Cut, labels: Tensor) -> None:
        """Count the units of one utterance beside its labels (F,)."""
        if self.reader is None:
            return
        places: dict[str, list[int]] = {}
        for frame, unit in enumerate(self.reader.of(cut, len(labels))):
            if unit is not None:
                places.setdefault(unit, []).append(frame)
        for unit, frames in places.items():
            counts = torch.bincount(labels[frames], minlength=len(self.frames))
            self._units[unit] = self._units.get(unit, 0) + counts

    def joint(self) -> tuple[list[str], Tensor]:
        """Return the units by name, and (U, K) int64 frames by unit and cluster."""
        names = sorted(self._units)
        empty = self.frames.new_zeros(0, len(self.frames))
        return names, torch.stack([self._units[name] for name in names]) if names else empty

    def report(self, labeler: Labeler) -> dict[str, Any]:
        """Return all measures, ready for JSON."""
        frames = int(self.frames.sum())
        entropy = _entropy(self.frames.double() / max(frames, 1))
        found = {
            "utterances": self.utterances,
            "frames": frames,
            "clusters": len(self.frames),
            "clusters_used": int((self.frames > 0).sum()),
            "entropy_bits": entropy,
            "entropy_bits_at_most": math.log2(len(self.frames)),
            "perplexity": 2**entropy,
            "mean_run_frames": frames / max(int(self.runs.sum()), 1),
            "inertia": labeler.inertia,
            "pca_dim": None if labeler.pca is None else labeler.pca.components.shape[1],
            "pca_explained_variance": None if labeler.pca is None else labeler.pca.explained,
        }
        return found | self._unit_report()

    def _unit_report(self) -> dict[str, Any]:
        if self.reader is None:
            return {"units": None}
        names, joint = self.joint()
        about = {
            "units": self.reader.name,
            "units_are": self.reader.note,
            "distinct_units": len(names),
            "frames_with_unit": int(joint.sum()),
        }
        measures = agreement(joint)._asdict() if len(names) > 1 else dict.fromkeys(_MEASURES)
        return about | measures


def label_quality(
    folder: Path, audio: CutSource, out: Path, *, units: str | None, limit: int | None = None
) -> dict[str, Any]:
    """Measure labels over the utterances of a corpus; write `quality.json` and `quality.png`.

    Args:
        folder: the labels.
        audio: utterances that have labels there.
        out: folder of the two files.
        units: what to measure against, as in `units.choose_units`.
        limit: so many random utterances alone.

    Raises:
        ValueError: an utterance without labels, no such units, or all of one unit.
    """
    labels, labeler = open_labels(folder), load_labeler(folder)
    attached = labels.attached(audio)
    reader = choose_units(list(islice(attached.epoch(0, 0, 0, 1), PEEK)), units)
    tally = Tally(len(labeler.centroids), reader)
    count = min(limit or audio.utterances, audio.utterances)
    cuts = islice(attached.epoch(0, 0, 0, 1), count)
    for cut in bar(cuts, title="label quality", total=count, unit="utterance"):
        row = labels.of(cut)
        tally.add(row)
        tally.add_units(cut, row)
    if reader is not None:
        agreement(tally.joint()[1])  # refuses what tells nothing, before a file is written
    report = tally.report(labeler)
    write_json(out / QUALITY_FILE, report)
    from harness_bench.labels.plot import draw_quality  # noqa: PLC0415 - matplotlib is slow

    draw_quality(tally, out / PLOT_FILE)
    return report


def render_quality(report: dict[str, Any]) -> str:
    """Return a report as lines of name and figure."""
    shown = {name: value for name, value in report.items() if value is not None}
    width = max(map(len, shown))
    lines = [
        f"{name:<{width}}  {value:.4g}" if isinstance(value, float) else f"{name:<{width}}  {value}"
        for name, value in shown.items()
    ]
    return "\n".join(lines)
