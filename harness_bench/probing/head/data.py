"""Utterances with labels from prepared cuts, as s3prl's runner takes them."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, override

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from harness_bench.audio.frames import FRAME_FIELD
from harness_bench.audio.io import load_waveform
from harness_bench.core.cache import MEBIBYTE, BoundedStore
from harness_bench.core.distributed import world
from harness_bench.core.files import digest_file, write_text
from harness_bench.core.log import say
from harness_bench.cuts.fields import group_of, label_of, tags_of
from harness_bench.cuts.store import cuts_path, read_cuts
from harness_bench.results.predictions import ClassPrediction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.probing.head.config import DataConfig


_SPLITS = 4  # that a process keeps: those of one corpus, which its heads share


class LabelledUtterance(NamedTuple):
    """One labelled utterance."""

    waveform: Tensor  # (samples,) float32 at 16 kHz
    label: int  # index of the class
    id: str
    group: str


class Batch(NamedTuple):
    """A batch; s3prl's runner moves the waveforms to the device and passes the rest on."""

    waveforms: list[Tensor]
    labels: Tensor  # (B,) int64
    samples: list[int]
    ids: list[str]
    groups: list[str]


class LabelledCuts(Dataset[LabelledUtterance]):
    """Cuts of one split, all of known labels; decoded audio is kept while it fits."""

    def __init__(self, cuts: Sequence[Cut], config: DataConfig, classes: Sequence[str]) -> None:
        self.cuts = list(cuts)
        names = [label_of(cut, config.label_field) for cut in cuts]
        self.labels = [classes.index(name) for name in names]
        self.groups = [group_of(cut) for cut in cuts]
        self.tags = tags_of(cuts, dict(zip((cut.id for cut in cuts), names, strict=True)))
        self._waveforms: BoundedStore[int, Tensor] = BoundedStore(
            config.waveform_cache_mb * MEBIBYTE
        )

    def __len__(self) -> int:
        return len(self.cuts)

    @override
    def __getitem__(self, index: int) -> LabelledUtterance:
        cut = self.cuts[index]
        waveform = self._waveforms.get(index)
        if waveform is None:
            waveform = torch.from_numpy(load_waveform(cut))
            self._waveforms.put(index, waveform)
        if len(waveform) < FRAME_FIELD:
            raise ValueError(
                f"Cut {cut.id!r} has {len(waveform)} samples at 16 kHz; {FRAME_FIELD} are needed "
                "for one frame. Prepare the corpus again: `harness-bench prepare` skips such cuts."
            )
        return LabelledUtterance(waveform, self.labels[index], cut.id, self.groups[index])


def learn_classes(folder: Path, field: str) -> list[str]:
    """Return the sorted labels of the train split; fewer than two are a ValueError."""
    cuts = _read(folder, "train", _digest(folder, "train"))
    classes = sorted({label_of(cut, field) for cut in cuts})
    if len(classes) < 2:  # noqa: PLR2004
        raise ValueError(
            f"{folder}: the train split has the classes {classes} in field {field!r}; at least "
            "two are needed. Is label_field the right one?"
        )
    return classes


def read_split(
    split: str, *, config: DataConfig, classes: Sequence[str], report_in: Path
) -> LabelledCuts:
    """Read one split; utterances whose label the train split lacks are an error or skipped.

    Skipped utterances are counted on the console and listed in `skipped.<split>.tsv`. Heads of one
    process share a split, with the audio that it keeps.
    """
    digest = _digest(config.cuts, split)
    known, unknown = _labelled(split, digest, config, tuple(classes))
    if unknown:
        _report_unknown(split, unknown, config=config, report_in=report_in)
    if not len(known):
        raise ValueError(f"{config.cuts}: split {split!r} has no utterance with a known label.")
    return known


def check_split(split: str, *, config: DataConfig, classes: Sequence[str]) -> None:
    """Tell of labels that the train split lacks before `read_split` does, with the same errors."""
    _, unknown = _labelled(split, _digest(config.cuts, split), config, tuple(classes))
    if unknown:
        _report_unknown(split, unknown, config=config, report_in=None)


def _digest(folder: Path, split: str) -> str:
    path = cuts_path(folder, split)
    return digest_file(path) if path.is_file() else ""  # reading it says what is wrong


@lru_cache(maxsize=_SPLITS)
def _read(folder: Path, split: str, digest: str) -> list[Cut]:
    del digest  # another file of the same name is another split
    return list(read_cuts(folder, split))


@lru_cache(maxsize=_SPLITS)
def _labelled(
    split: str, digest: str, config: DataConfig, classes: tuple[str, ...]
) -> tuple[LabelledCuts, dict[str, str]]:
    """Return the utterances of known labels, and id -> label of the others."""
    cuts = _read(config.cuts, split, digest)
    unknown = {
        cut.id: label for cut in cuts if (label := label_of(cut, config.label_field)) not in classes
    }
    known = [cut for cut in cuts if cut.id not in unknown]
    return LabelledCuts(known, config, classes), unknown


def _report_unknown(
    split: str, unknown: dict[str, str], *, config: DataConfig, report_in: Path | None
) -> None:
    """Refuse labels, or tell and list that they are skipped (None: tell alone)."""
    counts = Counter(unknown.values())
    summary = ", ".join(f"{label!r} ({count})" for label, count in sorted(counts.items()))
    if config.unknown_labels == "error":
        raise ValueError(
            f"{config.cuts}: split {split!r} has labels in {config.label_field!r} that the train "
            f"split lacks: {summary}; the first utterance is {next(iter(unknown))!r}. Correct "
            "them, or leave such utterances out: `harness-bench probe --unknown-labels skip`, or "
            "run_downstream's -o config.downstream_expert.datarc.unknown_labels=skip."
        )
    if report_in is None:
        say(f"{split}: {len(unknown)} utterances have labels that train lacks: {summary}")
        return
    path = report_in / f"skipped.{split}.tsv"
    rows = [f"{key}\tlabel {label!r} is not in the train split" for key, label in unknown.items()]
    write_text(path, "\n".join(["id\treason", *rows]) + "\n")
    say(f"{split}: skipped {len(unknown)} utterances with unknown labels {summary}; see {path}")


def batches(
    data: LabelledCuts,
    config: DataConfig,
    *,
    seed: int = 0,
    epoch: int | None = None,
    skip: int = 0,
) -> DataLoader[LabelledUtterance]:
    """Return the batches of a split in the order of its cuts, or those of an epoch of training.

    (seed, epoch) alone decide the latter; the first `skip` are left out.
    """
    size, order = config.eval_batch_size, None
    if epoch is not None:
        rank, ranks = world()
        sampler: DistributedSampler[Any] = DistributedSampler(data, ranks, rank, seed=seed)
        sampler.set_epoch(epoch)
        size = config.train_batch_size
        order = [*sampler][skip * size :]
    return DataLoader(data, size, sampler=order, num_workers=config.num_workers, collate_fn=collate)


def collate(items: Sequence[LabelledUtterance]) -> Batch:
    """Put utterances into a batch."""
    waveforms, labels, ids, groups = map(list, zip(*items, strict=True))
    return Batch(waveforms, torch.tensor(labels), [*map(len, waveforms)], ids, groups)


def prediction_rows(
    ids: Sequence[str], truths: Sequence[str], preds: Sequence[str],
    probs: Sequence[Sequence[float]], groups: Sequence[str],
    *, classes: Sequence[str], tags: Mapping[str, dict[str, str]],
) -> list[ClassPrediction]:  # fmt: skip
    """Put what a head says of utterances into rows; `probs` (N, C) are in the classes' order."""
    return [
        ClassPrediction(
            id=key, truth=truth, pred=pred, group=group, tags=tags[key],
            probs=dict(zip(classes, shares, strict=True)),
        )
        for key, truth, pred, shares, group in zip(
            ids, truths, preds, probs, groups, strict=True
        )
    ]  # fmt: skip
