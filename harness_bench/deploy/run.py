"""`harness-bench export --to`: what a path is, its graph, and what the graph keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, override

from harness_bench.core.extras import require
from harness_bench.deploy.board import SOME, ExportCheck, parents_result, publish_beside
from harness_bench.deploy.checkpoint import checkpoint_subject
from harness_bench.deploy.convert import write_export
from harness_bench.deploy.head import is_head, open_head

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.deploy.convert import Exportable
    from harness_bench.deploy.parity import Parity
    from harness_bench.models.runtime import Runtime


@dataclass(frozen=True)
class ExportReport:
    """What was made, and how it does beside its parent."""

    parity: Parity
    result: Path | None  # the row beside the parent's

    @override
    def __str__(self) -> str:
        where = f"\n\nResult: {self.result}" if self.result else ""
        return f"{self.parity.section()}{where}"


def export(
    source: Path,
    out: Path,
    to: Runtime,
    *,
    cuts: Path | None = None,
    split: str = "test",
    results: Path | None = None,
    upstream_checkpoint: Path | None = None,
) -> ExportReport:
    """Write a model as a graph that runs without this project; see `write_export`.

    Args:
        source: a checkpoint of any type, a run's folder or a named model; a folder of `probe`; an
            ASR model as `transcribe` takes it, of which CTC is exported.
        out: folder of the graph.
        to: its form.
        cuts: prepared folder to measure the difference on: of numbers, and of a head's metrics
            or CTC's WER.
        split: of the cuts.
        results: folder with the parent's result of that split; the graph's goes beside it.
            Default: `results` below a head's folder, where the parent's is there.
        upstream_checkpoint: a head's or an ASR model's, if it was moved.
    """
    subject, examination = _opened(source, cuts, split, upstream_checkpoint)
    folder, parent, result = results or source / "results", None, None
    if examination and examination.answers and (results is not None or folder.is_dir()):
        parent = parents_result(folder, subject.config, examination)
        if parent.normaliser is not None:
            examination = replace(examination, profile=parent.normaliser.split()[0])
    parity, answered = write_export(subject, out, to, examination)
    if parent and answered:
        result = publish_beside(folder, parent, answered, parity, out)
    return ExportReport(parity, result)


def _opened(
    source: Path, cuts: Path | None, split: str, upstream_checkpoint: Path | None
) -> tuple[Exportable, ExportCheck | None]:
    if is_head(source):
        head = open_head(source, upstream_checkpoint)
        return head.subject, None if cuts is None else head.examine(cuts, split)
    if is_asr(source):
        require("espnet2")
        from harness_bench.deploy.ctc import TrainedCtc  # noqa: PLC0415 - ESPnet

        ctc = TrainedCtc(source, upstream_checkpoint)
        return ctc.subject, None if cuts is None else ctc.examine(cuts, split)
    return checkpoint_subject(source), None if cuts is None else _heard(cuts, split)


def is_asr(source: Path) -> bool:
    """Whether a path is what `transcribe` would take: a pack, or a training's folder."""
    if source.is_file():
        return source.suffix == ".zip"
    names = ("meta.yaml", "config.yaml", "asr/config.yaml")
    return any((source / name).is_file() for name in names)


def _heard(cuts: Path, split: str) -> ExportCheck:
    """Read some utterances of a split, spread over it."""
    from harness_bench.audio.batching import read_waves  # noqa: PLC0415 - lhotse
    from harness_bench.cuts.store import read_cuts  # noqa: PLC0415

    every = [*read_cuts(cuts, split)]
    read, _ = read_waves(every[:: max(1, len(every) // SOME)][:SOME])
    ids = [cut.id for cut, _ in read]
    return ExportCheck(ids, [wave for _, wave in read], None, "", split, ())
