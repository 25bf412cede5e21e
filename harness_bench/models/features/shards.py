"""Shards of features: which utterances go where, how large they are, and how one is written.

A shard is written whole or not at all, with a record of what it was made from.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import torch

from harness_bench.audio.batching import by_duration
from harness_bench.audio.batching import pad as pad_waves
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.cache import MEBIBYTE
from harness_bench.core.files import atomic_path, digest_file, read_json, stamp, write_json
from harness_bench.models.features.reader import HEAD_ROWS, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.models.frozen import FixedFeatures

BYTES = 2  # of an int16
_SPARE = 1 << 26  # bytes left free for tables and for what else runs
_AHEAD = 2  # batches of audio in memory while one is computed
type Row = list[Any]  # name, rows, size, time of change in ns, digest of the audio file
type Audio = tuple[NDArray[np.float32], Row]


@dataclass(frozen=True)
class AudioUtterance:
    """One line of wav.scp."""

    id: str
    path: str
    samples: int
    rows: int  # frames of features

    @property
    def stored(self) -> int:
        """Rows in a shard, with the head."""
        return self.rows + HEAD_ROWS if self.rows else 0

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / SAMPLE_RATE


@dataclass(frozen=True)
class FeatureShard:
    """A file of features: the rows of some utterances, one behind the other."""

    number: int
    utterances: tuple[AudioUtterance, ...]
    dim: int

    @property
    def name(self) -> str:
        """File name."""
        return f"feats-{self.number:05d}.npy"

    @property
    def rows(self) -> int:
        """Rows of all utterances together, with their heads."""
        return sum(utterance.stored for utterance in self.utterances)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return self.rows * self.dim * BYTES

    def firsts(self) -> Iterator[tuple[AudioUtterance, int]]:
        """Yield every utterance with its first row, that of its head."""
        first = 0
        for utterance in self.utterances:
            yield utterance, first
            first += utterance.stored


def divide(utterances: Sequence[AudioUtterance], dim: int, shard_mb: float) -> list[FeatureShard]:
    """Divide utterances, in their order, into shards of at most `shard_mb` MiB.

    The same for any number of processes and whatever is already there, so that an interrupted
    pass gives the same bytes. An utterance larger than a shard gets one of its own.
    """
    limit = shard_mb * MEBIBYTE / (dim * BYTES)
    groups: list[list[AudioUtterance]] = [[]]
    rows = 0
    for utterance in utterances:
        if groups[-1] and rows + utterance.stored > limit:
            groups.append([])
            rows = 0
        groups[-1].append(utterance)
        rows += utterance.stored
    return [FeatureShard(number, tuple(group), dim) for number, group in enumerate(groups)]


def estimate(shards: Sequence[FeatureShard]) -> str:
    """Say how large some shards will be."""
    total = sum(shard.nbytes for shard in shards)
    hours = sum(each.duration for shard in shards for each in shard.utterances) / 3600
    count = sum(len(shard.utterances) for shard in shards)
    rate = total / hours / 1e6 if hours else 0.0
    return (
        f"{count} utterances, {hours:.2f} h: {_size(total)} "
        f"({shards[0].dim} numbers of 16 bits every 20 ms, {rate:.0f} MB per hour)"
    )


def check_room(folder: Path, missing: Sequence[FeatureShard], freed: int) -> None:
    """Refuse a pass that the disk has no room for (ValueError).

    Args:
        folder: where the shards go; it exists.
        missing: the shards to write.
        freed: bytes of older shards that will be deleted first.
    """
    needed = sum(shard.nbytes for shard in missing) + _SPARE
    free = shutil.disk_usage(folder).free + freed
    if missing and needed > free:
        raise ValueError(
            f"{folder} needs {_size(needed)} more for features, but its disk has "
            f"{_size(free)}. Free some, name a folder on another disk, or train "
            "without cached features (the frontend then computes them in every epoch)."
        )


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.2f} MB"  # noqa: PLR2004


def record_path(folder: Path, shard: FeatureShard) -> Path:
    """Return where a shard's record stands; it is written last, so a shard with one is whole."""
    return (folder / shard.name).with_suffix(".json")


def batches_of(shard: FeatureShard, max_seconds: float) -> list[list[AudioUtterance]]:
    """Return the batches of a shard: of like length, independent of the number of processes."""
    # What is too short for one frame has no rows, and would break a batch.
    return list(by_duration([each for each in shard.utterances if each.rows], max_seconds))


def write_shard(
    folder: Path,
    shard: FeatureShard,
    model: FixedFeatures,
    identity: str,
    batches: Iterable[tuple[Sequence[AudioUtterance], Sequence[Audio]]],
    device: torch.device,
) -> None:
    """Compute and write one shard, then its record; both atomically.

    Args:
        folder: of the split.
        shard: what to write.
        model: on `device`.
        identity: digest of all that decides the features beside the audio.
        batches: the shard's batches with their audio, as `read_ahead` gives them.
        device: where to compute.

    Raises:
        ValueError: unreadable audio or of another length, or features that are no numbers.
    """
    first = {utterance.id: row for utterance, row in shard.firsts()}
    # Too short an utterance is not read, and has no rows whatever stands in its file.
    rows: dict[str, Row] = {each.id: _unread(each) for each in shard.utterances if not each.rows}
    with atomic_path(folder / shard.name) as partial:
        # In the file's own memory map: a shard is never in memory as a whole.
        target = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.int16, shape=(shard.rows, shard.dim)
        )
        for batch, audio in batches:
            features = _computed(model, batch, [wave for wave, _ in audio], device)
            for utterance, values, (_, row) in zip(batch, features, audio, strict=True):
                target[first[utterance.id] :][: utterance.stored] = values
                rows[utterance.id] = row
        target.flush()
        del target
    record = {"identity": identity, "utterances": [rows[each.id] for each in shard.utterances]}
    write_json(record_path(folder, shard), record)


def read_ahead(
    batches: Iterable[Sequence[AudioUtterance]], threads: int
) -> Iterator[tuple[Sequence[AudioUtterance], list[Audio]]]:
    """Yield batches with their audio, read by some threads while earlier ones are computed."""
    waiting: deque[tuple[Sequence[AudioUtterance], list[Future[Audio]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append((batch, [pool.submit(_read, each) for each in batch]))
            if len(waiting) > _AHEAD:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def is_fresh(folder: Path, shard: FeatureShard, identity: str) -> bool:
    """Whether a shard is there and made from what would make it now.

    Audio counts as the same where size and time of change are; where they are not, where its
    content is, so that a copied corpus costs one reading of it, not the features.
    """
    path = record_path(folder, shard)
    if not (path.is_file() and (folder / shard.name).is_file()):
        return False
    record = read_json(path)
    if record["identity"] != identity or len(record["utterances"]) != len(shard.utterances):
        return False
    pairs = list(zip(shard.utterances, record["utterances"], strict=True))
    if not all(_is_same(utterance, row) for utterance, row in pairs):
        return False
    try:
        found = np.load(folder / shard.name, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):  # cut off or empty, by whatever copied the folder
        return False
    return bool(found.shape == (shard.rows, shard.dim) and found.dtype == np.int16)


def _is_same(utterance: AudioUtterance, row: Row) -> bool:
    name, rows, *before, digest = row
    if (name, rows) != (utterance.id, utterance.rows):
        return False
    path = Path(utterance.path)
    return before == [*stamp(path)] or not rows or digest == digest_file(path)


def _unread(utterance: AudioUtterance) -> Row:
    return [utterance.id, 0, *stamp(Path(utterance.path)), ""]


def _read(utterance: AudioUtterance) -> Audio:
    """Read an utterance as ESPnet does, and note which file that was."""
    path = Path(utterance.path)
    found = stamp(path)
    data = path.read_bytes()
    try:
        wave, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"Utterance {utterance.id!r}: {path} cannot be read ({error}). Run stage 3 again."
        ) from error
    if rate != SAMPLE_RATE or wave.ndim > 1 or len(wave) != utterance.samples:
        raise ValueError(
            f"Utterance {utterance.id!r}: {path} has shape {wave.shape} at {rate} Hz; expected "
            f"{utterance.samples} samples of one channel at {SAMPLE_RATE} Hz. Run stages 3 and 4 "
            "again: its length stands in utt2num_samples."
        )
    if not np.isfinite(wave).all():
        raise ValueError(f"Utterance {utterance.id!r}: {path} has NaN or infinite samples.")
    # The bytes that were read, not those that may stand there by now; as `digest_file` has it.
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return wave, [utterance.id, utterance.rows, *found, digest]


def _finished(
    batch: Sequence[AudioUtterance], futures: Sequence[Future[Audio]]
) -> tuple[Sequence[AudioUtterance], list[Audio]]:
    return batch, [future.result() for future in futures]


@torch.inference_mode()
def _computed(
    model: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    batch: Sequence[AudioUtterance],
    waves: Sequence[NDArray[np.float32]],
    device: torch.device,
) -> list[NDArray[np.int16]]:
    """Run the model on a batch: the packed rows of every utterance."""
    samples, lengths = pad_waves(waves)
    features, frames = model(samples.to(device), lengths.to(device))
    assert frames.tolist() == [each.rows for each in batch], "the plan counts other frames"
    return [_packed(each, rows[: each.rows]) for each, rows in zip(batch, features, strict=True)]


def _packed(utterance: AudioUtterance, features: Tensor) -> NDArray[np.int16]:
    try:
        return pack(features)
    except ValueError as error:
        raise ValueError(
            f"Utterance {utterance.id!r}: {error}. Is the checkpoint's training broken?"
        ) from error
