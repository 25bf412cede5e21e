"""How good labels are: how clusters are used, and what they tell of known units of speech.

A unit is a phone or word of an alignment, a field of the whole utterance, or a character of the
transcript that is spread evenly over the speech.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE
from harness_bench.audio.io import load_waveform
from harness_bench.core.distributed import sum_over_ranks
from harness_bench.core.files import atomic_path, write_json
from harness_bench.core.log import bar
from harness_bench.core.plotting import BLUE, INK, STYLE
from harness_bench.core.tables import columns
from harness_bench.cuts.fields import label_of
from harness_bench.pretrain.labels.kmeans import load_labeler
from harness_bench.pretrain.labels.store import open_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.pretrain.data.cut_source import CutSource
    from harness_bench.pretrain.labels.kmeans import Labeler

TEXT, ALIGNMENT = "text", "alignment"
TRIM_DB = 35.0  # frames so much quieter than the utterance's loudest do not begin or end speech
_TATWEEL = "\u0640"
QUALITY_FILE, PLOT_FILE = "quality.json", "quality.png"
LONGEST_RUN = 50  # frames, one second; longer runs are counted with those of this length
PEEK = 500  # cuts that are looked at to learn what units there are
GREY = "#b5bcbe"
MOST_UNITS = 40  # rows of the heat map: the most frequent units
FRAME_MS = 20


class UnitReader(NamedTuple):
    """What gives the units of an utterance."""

    name: str  # what the user calls them
    note: str  # what they are
    of: Callable[[Cut, int], list[str | None]]  # a unit, or None, for each of so many frames
    names: Callable[[Cut], Iterable[str]]  # all that an utterance may hold, without its audio


def aligned_units(level: str) -> UnitReader:
    """Units of one level of the alignment: the unit that covers the centre of each frame."""

    def of(cut: Cut, frames: int) -> list[str | None]:
        units: list[str | None] = [None] * frames
        for supervision in cut.supervisions:
            for item in (supervision.alignment or {}).get(level, []):
                # The centre of frame j, (320 j + 200) / 16000 s, lies in [start, end).
                first = _frame_at(item.start)
                for frame in range(max(first, 0), min(_frame_at(item.end), frames)):
                    units[frame] = item.symbol
        return units

    def names(cut: Cut) -> Iterator[str]:
        for supervision in cut.supervisions:
            for item in (supervision.alignment or {}).get(level, []):
                yield item.symbol

    note = f"alignment {level!r}: the unit at the centre of each frame"
    return UnitReader(level, note, of, names)


def field_units(field: str) -> UnitReader:
    """One unit for the whole utterance: a field such as a word, a dialect, a speaker."""

    def of(cut: Cut, frames: int) -> list[str | None]:
        return spread([label_of(cut, field)], frames, speech_span(load_waveform(cut), frames))

    note = f"field {field!r} of the utterance, for every frame of its speech"
    return UnitReader(field, note, of, lambda cut: [label_of(cut, field)])


def _text(cut: Cut) -> str:
    return characters(" ".join(each.text or "" for each in cut.supervisions))


def _characters_of(cut: Cut, frames: int) -> list[str | None]:
    text = _text(cut)
    return spread(text, frames, speech_span(load_waveform(cut), frames) if text else (0, 0))


TEXT_UNITS = UnitReader(
    TEXT,
    "characters spread evenly over speech: an approximation, for comparing label sets on the same "
    "cuts, not an alignment",
    _characters_of,
    _text,
)


def choose_units(cuts: Sequence[Cut], wanted: str | None) -> UnitReader | None:
    """Choose what the labels of cuts are measured against.

    `wanted` is "text"; "alignment" (its finest level) or a level's name, such as "phone" or "word";
    or a field of the utterance: a ValueError where no cut has it. None: alignment if there, else
    text, else None.
    """
    levels = alignment_levels(cuts)
    texts = any(supervision.text for cut in cuts for supervision in cut.supervisions)
    if levels and wanted in (None, ALIGNMENT):
        return aligned_units(max(levels, key=lambda name: levels[name]))
    if wanted in levels:
        return aligned_units(str(wanted))
    if texts and wanted in (None, TEXT):
        return TEXT_UNITS
    if wanted is None:
        return None
    if wanted in {ALIGNMENT, TEXT}:
        raise ValueError(
            f"None of the {len(cuts)} cuts has {wanted}; give cuts that have it, or other units "
            "(text, alignment, or a field such as label)."
        )
    for cut in cuts:
        label_of(cut, wanted)  # names the cut, and the fields it has
    return field_units(wanted)


def alignment_levels(cuts: Iterable[Cut]) -> dict[str, int]:
    """Count the items of every level of alignment that cuts have, levels by name."""
    counts: Counter[str] = Counter()
    for cut in cuts:
        for supervision in cut.supervisions:
            counts.update({k: len(items) for k, items in (supervision.alignment or {}).items()})
    return {level: count for level, count in sorted(counts.items()) if count}


def _frame_at(seconds: float) -> int:
    # The first whose centre is there or later. A tenth of a sample of slack, for times such as
    # 0.0125 that binary fractions miss.
    return int(np.ceil((seconds * SAMPLE_RATE - FRAME_FIELD / 2 - 0.1) / FRAME_SHIFT))


def characters(text: str) -> str:
    """Keep letters and digits alone, in lower case: no vowel signs, punctuation, spaces, tatweel.

    Composed first, so that a hamza stays with its letter.
    """
    composed = unicodedata.normalize("NFC", text).casefold()
    kept = (char for char in composed if unicodedata.category(char)[0] in "LN")
    return "".join(kept).replace(_TATWEEL, "")


def spread(units: Sequence[str], frames: int, span: tuple[int, int]) -> list[str | None]:
    """Give each unit an equal part of the frames in span = [first, last), and the others None."""
    first, last = span
    row: list[str | None] = [None] * frames
    for frame in range(first, last):
        row[frame] = units[(frame - first) * len(units) // (last - first)]
    return row


def speech_span(wave: NDArray[np.float32], frames: int) -> tuple[int, int]:
    """Return [first, last) of the frames that are speech, silence at both ends left out.

    A frame's 400 samples are quiet if their power is `TRIM_DB` below that of the loudest frame.
    """
    if frames == 0:
        return 0, 0
    windows = np.lib.stride_tricks.sliding_window_view(wave, FRAME_FIELD)[::FRAME_SHIFT][:frames]
    power = np.square(windows, dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-TRIM_DB / 10))
    return int(loud[0]), int(loud[-1]) + 1


class Agreement(NamedTuple):
    """HuBERT's measures (Hsu et al. 2021, section IV-C) over the joint p(unit y, cluster z)."""

    cluster_purity: float  # sum over units of the largest p(y, z)
    unit_purity: float  # sum over clusters of the largest p(y, z); phone purity where y are phones
    pnmi: float  # mutual information I(y; z) over the units' entropy H(y)


def agreement(joint: Tensor) -> Agreement:
    """Measure how clusters and units agree by (U, K) frames; one unit or none is a ValueError."""
    if int((joint.sum(1) > 0).sum()) < 2:  # noqa: PLR2004 - of one unit, entropy is zero
        raise ValueError(
            "All frames are of one unit, or none has any; give cuts that differ in their units."
        )
    shares = joint.double() / joint.sum()
    of_units = _entropy(shares.sum(1))
    information = of_units + _entropy(shares.sum(0)) - _entropy(shares.flatten())
    clusters, units = (float(shares.max(axis).values.sum()) for axis in (1, 0))
    return Agreement(clusters, units, information / of_units)


def _entropy(shares: Tensor) -> float:
    present = shares[shares > 0]
    return float(-(present * present.log2()).sum())


class LabelCounts:
    """Counts over the labels of utterances, and over their units where a reader gives them."""

    def __init__(self, clusters: int, reader: UnitReader | None = None) -> None:
        self.reader = reader
        self.utterances = 0
        self.frames = torch.zeros(clusters, dtype=torch.int64)  # of each cluster
        # Runs of one label by their length in frames; the last place: 50 and more.
        self.runs = torch.zeros(LONGEST_RUN + 1, dtype=torch.int64)
        self._units: Counter[tuple[str, int]] = Counter()  # frames by unit and cluster

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
        pairs = zip(self.reader.of(cut, len(labels)), labels.tolist(), strict=True)
        self._units.update((unit, label) for unit, label in pairs if unit is not None)

    def joint(self) -> tuple[list[str], Tensor]:
        """Return the units by name, and (U, K) int64 frames by unit and cluster."""
        places = {name: row for row, name in enumerate(sorted({unit for unit, _ in self._units}))}
        joint = self.frames.new_zeros(len(places), len(self.frames))
        for (unit, label), count in self._units.items():
            joint[places[unit], label] = count
        return [*places], joint

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
        if self.reader is None:
            return {**found, "units": None}
        names, joint = self.joint()
        none = dict.fromkeys(Agreement._fields)
        measures = agreement(joint)._asdict() if len(names) > 1 else none
        return {
            **found,
            "units": self.reader.name,
            "units_are": self.reader.note,
            "distinct_units": len(names),
            "frames_with_unit": int(joint.sum()),
            **measures,
        }


def label_quality(
    folder: Path, audio: CutSource, out: Path, *, units: str | None, limit: int | None = None
) -> dict[str, Any]:
    """Measure labels over the utterances of a corpus; write `quality.json` and `quality.png`.

    Against `units` as in `choose_units`; over `limit` random utterances alone, if it is given. An
    utterance without labels, no such units, or all of one unit is a ValueError.
    """
    labels, labeler = open_labels(folder), load_labeler(folder)
    attached = labels.attached(audio)
    reader = choose_units(list(islice(attached.shuffled(0), PEEK)), units)
    tally = LabelCounts(len(labeler.centroids), reader)
    count = min(limit or audio.utterances, audio.utterances)
    cuts = islice(attached.shuffled(0), count)
    for cut in bar(cuts, title="label quality", total=count, unit="utterance"):
        row = labels.of(cut)
        tally.add(row)
        tally.add_units(cut, row)
    if reader is not None:
        agreement(tally.joint()[1])  # refuses what tells nothing, before a file is written
    report = tally.report(labeler)
    write_json(out / QUALITY_FILE, report)
    draw_quality(tally, out / PLOT_FILE)
    return report


def render_quality(report: dict[str, Any]) -> str:
    """Return a report as lines of name and figure."""
    rows = [
        (name, f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in report.items()
        if value is not None
    ]
    return "\n".join(columns(rows, texts=True))


def draw_quality(tally: LabelCounts, target: Path) -> None:
    """Write one PNG: clusters by frequency, runs by length and, with units, P(unit | cluster)."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    names, _ = tally.joint()
    style = STYLE | {"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY}
    rows = min(len(names), MOST_UNITS)
    heights = [2.8, max(1.6, 0.17 * rows)] if rows else [2.8]
    with mpl.rc_context(style):
        figure = Figure(figsize=(9.0, sum(heights) + 0.9), layout="constrained")
        places = [["use", "runs"], ["units", "units"]][: len(heights)]
        axes: Any = figure.subplot_mosaic(places, height_ratios=heights)
        _draw_use(axes["use"], tally)
        _draw_runs(axes["runs"], tally)
        if rows:
            _draw_units(figure, axes["units"], tally)
        figure.suptitle(
            f"{len(tally.frames)} clusters over {int(tally.frames.sum()):,} frames of "
            f"{tally.utterances:,} utterances", x=0.01, ha="left", fontweight="bold",
        )  # fmt: skip
        with atomic_path(target) as partial:
            figure.savefig(partial, dpi=110)


def _draw_use(axis: Any, tally: LabelCounts) -> None:
    shares = np.sort(tally.frames.numpy())[::-1] / max(int(tally.frames.sum()), 1)
    used = int((shares > 0).sum())
    axis.plot(np.arange(1, used + 1), shares[:used], color=BLUE)
    axis.axhline(1 / len(shares), color=GREY, linestyle="--", zorder=0)
    axis.text(1, 1 / len(shares), "equal use", va="bottom", color=INK, fontsize=8)
    axis.set(xscale="log", yscale="log", xlabel="rank of cluster", ylabel="share of frames")
    axis.set_title(f"Use: {used} of {len(shares)} clusters", loc="left", fontsize=10)


def _draw_runs(axis: Any, tally: LabelCounts) -> None:
    runs = tally.runs.numpy()
    total = max(int(runs.sum()), 1)
    longest = int(np.flatnonzero(runs)[-1]) if runs.any() else 1
    axis.bar(np.arange(1, longest + 1), runs[1 : longest + 1] / total, color=BLUE, width=0.8)
    axis.set(yscale="log", xlabel=f"frames of {FRAME_MS} ms", ylabel="share of runs")
    mean = int(tally.frames.sum()) / total
    more = f", {longest} and more last" if longest == len(runs) - 1 else ""
    axis.set_title(f"Runs of one label: mean {mean:.2f} frames{more}", loc="left", fontsize=10)


def _draw_units(figure: Any, axis: Any, tally: LabelCounts) -> None:
    """Draw P(unit | cluster), clusters in the order of their likeliest unit."""
    names, joint = tally.joint()
    order = joint.sum(1).argsort(descending=True, stable=True)[:MOST_UNITS].tolist()
    chosen = joint[order][:, joint.sum(0) > 0].double()
    given = (chosen / joint.sum(0)[joint.sum(0) > 0]).numpy()
    likeliest = given.argmax(0)
    by_unit = np.lexsort((-given.max(0), likeliest))
    image = axis.imshow(
        given[:, by_unit], aspect="auto", cmap="viridis", vmin=0, interpolation="nearest"
    )
    axis.set_yticks(range(len(order)), [names[index] for index in order], fontsize=8)
    axis.set_xlabel("cluster, in the order of its likeliest unit")
    assert tally.reader is not None
    shown = f"P(unit | cluster), {len(order)} of {len(names)} units\n{tally.reader.note}"
    axis.set_title(shown, loc="left", fontsize=9)
    figure.colorbar(image, ax=axis, shrink=0.8, aspect=30, pad=0.01)
