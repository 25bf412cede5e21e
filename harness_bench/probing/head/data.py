"""Utterances with labels from prepared cuts, as s3prl's runner takes them."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, override

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE
from harness_bench.audio.io import load_finite
from harness_bench.core.cache import MEBIBYTE, BoundedStore
from harness_bench.core.distributed import world
from harness_bench.core.files import digest_file
from harness_bench.core.log import bar, say
from harness_bench.core.skipped import SkipList
from harness_bench.cuts.fields import group_of, label_of, tags_of
from harness_bench.cuts.store import cuts_path, read_cuts
from harness_bench.models.frozen import ModelShape
from harness_bench.results.predictions import ClassPrediction

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.probing.head.config import DataConfig


# Of most upstreams; what counts are the samples that one frame sees.
_SHAPE = ModelShape(0, 0, downsample_rate=FRAME_SHIFT, receptive_field=FRAME_FIELD)
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

    def __init__(
        self, cuts: Sequence[Cut], config: DataConfig, classes: Sequence[str],
        kept: BoundedStore[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.cuts, self.config, self.classes = list(cuts), config, classes
        names = [label_of(cut, config.label_field) for cut in cuts]
        self.labels = [classes.index(name) for name in names]
        self.groups = [group_of(cut) for cut in cuts]
        self.tags = tags_of(cuts, dict(zip((cut.id for cut in cuts), names, strict=True)))
        room = config.waveform_cache_mb * MEBIBYTE
        self._waveforms: BoundedStore[str, Tensor] = BoundedStore(room) if kept is None else kept

    def __len__(self) -> int:
        return len(self.cuts)

    @override
    def __getitem__(self, index: int) -> LabelledUtterance:
        """Read an utterance; unreadable, empty or not finite audio is a ValueError."""
        cut = self.cuts[index]
        waveform = self._waveforms.get(cut.id)
        if waveform is None:
            waveform = torch.from_numpy(load_finite(cut))
            self._waveforms.put(cut.id, waveform)
        return LabelledUtterance(waveform, self.labels[index], cut.id, self.groups[index])

    def without(self, ids: Container[str]) -> LabelledCuts:
        """Leave some cuts out; audio that is kept is shared."""
        left = [cut for cut in self.cuts if cut.id not in ids]
        return LabelledCuts(left, self.config, self.classes, self._waveforms)


class TrainingCuts(Dataset[LabelledUtterance]):
    """A split for training: in place of an utterance that cannot be used comes the next that can.

    So batches keep their sizes, and a run that resumes its place, and a corpus is not read through
    before it is needed. What was left out is listed.
    """

    def __init__(self, data: LabelledCuts, skips: SkipList) -> None:
        self.data, self.skips = data, skips
        self._bad: set[int] = set()  # each is tried, and counted, once

    def __len__(self) -> int:
        return len(self.data)

    @override
    def __getitem__(self, index: int) -> LabelledUtterance:
        for at in (*range(index, len(self)), *range(index)):
            if at in self._bad:
                continue
            try:
                found = self.data[at]
            except ValueError as error:
                self._bad.add(at)
                self.skips.add(0, [(self.data.cuts[at].id, str(error))])
            else:
                self.skips.add(1, [])
                return found
        raise ValueError(
            f"{self.data.config.cuts}: no utterance can be used; see {self.skips.path}."
        )


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
    split: str, *, config: DataConfig, classes: Sequence[str], report_in: Path,
    shape: ModelShape = _SHAPE, checked: bool = True,
) -> LabelledCuts:  # fmt: skip
    """Read one split; utterances whose label the train split lacks are an error or skipped.

    Left out is, too, what is too short for one frame of an upstream's `shape`, and, if `checked`,
    what cannot be decoded or is not finite: every utterance is read for that. All that is left out
    is counted on the console and listed in `skipped.<split>.tsv`. Heads of one process share a
    split, with the audio that it keeps.

    Raises:
        ValueError: unknown labels, no utterance left, or more unusable audio than `max_skipped`.
    """
    found = _usable(split, _digest(config.cuts, split), config, tuple(classes), shape, checked)
    if found.unknown and config.unknown_labels == "error":
        _refuse_unknown(split, found.unknown, config)
    labels = {
        key: f"Label {label!r} is not in the train split." for key, label in found.unknown.items()
    }
    rank = world()[0]
    for reasons, share in ((labels | found.short, 1.0), (found.broken, config.max_skipped)):
        if reasons:
            skips = SkipList(report_in, f"{split}.{rank}" if rank else split, share)
            skips.add(len(found.data), [*reasons.items()])
    if not len(found.data):
        raise ValueError(
            f"{config.cuts}: split {split!r} has no utterance with a known label that can be used."
        )
    return found.data


def check_split(split: str, *, config: DataConfig, classes: Sequence[str]) -> None:
    """Tell of labels that the train split lacks before `read_split` does, with the same errors."""
    _, unknown = _labelled(split, _digest(config.cuts, split), config, tuple(classes))
    if unknown and config.unknown_labels == "error":
        _refuse_unknown(split, unknown, config)
    if unknown:
        summary = _counted(unknown)
        say(f"{split}: {len(unknown)} utterances have labels that train lacks: {summary}")


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


class _Usable(NamedTuple):
    """What is left of a split, and id -> label or reason of what is not."""

    data: LabelledCuts
    unknown: dict[str, str]
    short: dict[str, str]
    broken: dict[str, str]


@lru_cache(maxsize=_SPLITS)
def _usable(
    split: str, digest: str, config: DataConfig, classes: tuple[str, ...], shape: ModelShape,
    checked: bool,  # noqa: FBT001 - a key of the cache
) -> _Usable:  # fmt: skip
    data, unknown = _labelled(split, digest, config, classes)
    lengths = {
        cut.id: -(-cut.num_samples * SAMPLE_RATE // int(cut.sampling_rate)) for cut in data.cuts
    }
    short = {
        key: f"{samples} samples at 16 kHz give no frame of this upstream."
        for key, samples in lengths.items()
        if shape.frames(samples) < 1
    }
    data = data.without(short) if short else data
    broken: dict[str, str] = {}
    for index in bar(range(len(data)), title=f"Reading {split}") if checked else ():
        try:
            data[index]
        except ValueError as error:
            broken[data.cuts[index].id] = str(error)
    return _Usable(data.without(broken) if broken else data, unknown, short, broken)


def _counted(unknown: Mapping[str, str]) -> str:
    counts = Counter(unknown.values())
    return ", ".join(f"{label!r} ({count})" for label, count in sorted(counts.items()))


def _refuse_unknown(split: str, unknown: Mapping[str, str], config: DataConfig) -> NoReturn:
    raise ValueError(
        f"{config.cuts}: split {split!r} has labels in {config.label_field!r} that the train "
        f"split lacks: {_counted(unknown)}; the first utterance is {next(iter(unknown))!r}. "
        "Correct them, or leave such utterances out: `harness-bench probe --unknown-labels skip`, "
        "or run_downstream's -o config.downstream_expert.datarc.unknown_labels=skip."
    )


def batches(
    data: LabelledCuts | TrainingCuts,
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
