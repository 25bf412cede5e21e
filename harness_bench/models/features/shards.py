"""Features on disk: large files of rows, written shard by shard and read as ESPnet's data type.

A shard is written whole or not at all, with a record of what it was made from. Rows are 16-bit
whole numbers between each dimension's bounds. float16 of the same size has 11 bits of precision;
measured on a trained model, log-probabilities moved by up to 7e-3 with it, and by 4e-4 with this.
"""

from __future__ import annotations

import gc
import hashlib
import io
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, override
from weakref import WeakValueDictionary

import numpy as np
import torch

from harness_bench.audio.base import AudioFault
from harness_bench.audio.batching import by_duration, pad
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import open_audio
from harness_bench.core.cache import MEBIBYTE
from harness_bench.core.files import (
    atomic_path,
    digest_file,
    read_json,
    size_text,
    stamp,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.models.frozen import FixedFeatures

FACTS, TABLE, SHAPES = "features.json", "feats.scp", "speech_shape"
DATA_TYPE = "harness_features"
BYTES = 2  # of an int16
LEFT_OUT = "left_out"  # of a shard's record
HEAD_ROWS = 4  # two float32 for each dimension, in rows of int16
_STEPS = 65_534  # from -32767 to 32767
_SPARE = 1 << 26  # bytes left free for tables and for what else runs
_AHEAD = 2  # batches of audio in memory while one is computed
type Row = list[Any]  # name, rows, size, time of change in ns, digest of the audio file
type Audio = tuple[NDArray[np.float32], Row]
type Unheard = dict[str, str]  # utterance -> why its audio cannot be taken
# What this process reads features from, for the frontend to look at (`check_sources`): ESPnet
# hands a model bare arrays, which do not tell what made them.
_OPEN: WeakValueDictionary[int, FeatureReader] = WeakValueDictionary()


class Made(NamedTuple):
    """What made some features."""

    checkpoint: str  # digest
    layers: Literal["mean"] | int


class FeatureReader(Mapping[str, Any]):
    """Utterance -> (frames, D) float32, read from shards when it is asked for.

    Its table is feats.scp of a split, lines `utterance shard first_row frames`; shards and
    features.json lie beside it. What is absent or not of this form is a ValueError.
    """

    def __init__(self, table: str | Path) -> None:
        self.table = Path(table)
        folder = self.table.parent
        if not (self.table.is_file() and (folder / FACTS).is_file()):
            raise ValueError(
                f"{folder} has no finished features ({TABLE} and {FACTS}). Run `python -m "
                "harness_bench.asr.features`; it continues an interrupted run."
            )
        facts = read_json(folder / FACTS)
        self.made, self.dim = Made(facts["checkpoint"], facts["layers"]), int(facts["dim"])
        self._rows = dict(_entries(self.table))
        self._shards: dict[str, NDArray[np.int16]] = {}
        _OPEN[id(self)] = self

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps behind: pickled for a spawned worker, they would be whole arrays."""
        return {**self.__dict__, "_shards": {}}

    @override
    def __getitem__(self, name: str) -> NDArray[np.float32]:
        shard, first, frames = self._rows[name]
        if not frames:
            return np.zeros((0, self.dim), np.float32)
        return unpack(self._shard(shard)[first : first + HEAD_ROWS + frames])

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    @override
    def __len__(self) -> int:
        return len(self._rows)

    def _shard(self, name: str) -> NDArray[np.int16]:
        if name not in self._shards:
            path = self.table.parent / name
            if not path.is_file():
                raise ValueError(
                    f"There is no {path}, which {self.table} names. Run the stage that writes it."
                )
            self._shards[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._shards[name]


def check_sources(made: Made) -> None:
    """Check that all features open in this process were made so; name the file of others."""
    if any(reader.made != made for reader in _OPEN.values()):
        gc.collect()  # One program of a chain may have left its data behind in a cycle.
    for reader in [reader for reader in _OPEN.values() if reader.made != made]:
        raise ValueError(
            f"The features in {reader.table} were made of layers = {reader.made.layers!r} of the "
            f"checkpoint with digest {reader.made.checkpoint}, but the frontend is configured for "
            f"layers = {made.layers!r} of {made.checkpoint}. Make the features again, or give "
            "the frontend the checkpoint and layers that they were made with."
        )


def _entries(table: Path) -> Iterator[tuple[str, tuple[str, int, int]]]:
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split(" ")
        if len(parts) != 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):  # noqa: PLR2004
            raise ValueError(
                f"{table}:{number}: {line!r} is not `utterance shard first_row frames`. Only a "
                f"{TABLE} of harness_bench.asr.features is of type {DATA_TYPE}."
            )
        yield parts[0], (parts[1], int(parts[2]), int(parts[3]))


def pack(features: Tensor) -> NDArray[np.int16]:
    """Return features (F, D) float32, F > 0, as (HEAD_ROWS + F, D) int16; NaN is a ValueError."""
    low, high = features.amin(0), features.amax(0)
    # A dimension that never moves is its middle, exactly.
    step = ((high - low) / _STEPS).clamp(min=torch.finfo(torch.float32).tiny)
    middle = low + (high - low) / 2
    head = torch.stack([middle, step])
    if not bool(head.isfinite().all()):
        raise ValueError("a feature is infinite or NaN")
    steps = ((features - middle) / step).round().clamp(-_STEPS // 2, _STEPS // 2)
    rows = torch.cat([head.view(torch.int16).reshape(HEAD_ROWS, -1), steps.to(torch.int16)])
    packed: NDArray[np.int16] = rows.cpu().numpy()
    return packed


def unpack(rows: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the features (F, D) float32 in (HEAD_ROWS + F, D) int16, within half a step."""
    head = rows[:HEAD_ROWS].reshape(-1).view(np.float32).reshape(2, -1)
    features: NDArray[np.float32] = rows[HEAD_ROWS:].astype(np.float32) * head[1] + head[0]
    return features


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
        f"{count} utterances, {hours:.2f} h: {size_text(total)} "
        f"({shards[0].dim} numbers of 16 bits a frame, {rate:.0f} MB per hour)"
    )


def check_room(folder: Path, missing: Sequence[FeatureShard], freed: int) -> None:
    """Refuse to write shards that the disk has no room for, once `freed` bytes are deleted."""
    needed = sum(shard.nbytes for shard in missing) + _SPARE
    free = shutil.disk_usage(folder).free + freed
    if missing and needed > free:
        raise ValueError(
            f"{folder} needs {size_text(needed)} more for features, but its disk has "
            f"{size_text(free)}. Free some, name a folder on another disk, or train "
            "without cached features (the frontend then computes them in every epoch)."
        )


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
    batches: Iterable[tuple[Sequence[AudioUtterance], Sequence[Audio], Unheard]],
    device: torch.device,
) -> None:
    """Compute and write one shard of a split, then its record; both atomically.

    `identity` is the digest of all that decides the features beside the audio; the shard's
    `batches` come from `read_ahead`. The record lists the utterances that were not heard, whose
    rows stay empty. Features that are no numbers are a ValueError.
    """
    first = {utterance.id: row for utterance, row in shard.firsts()}
    # Too short an utterance is not read, and has no rows whatever stands in its file.
    short = [each for each in shard.utterances if not each.rows]
    rows: dict[str, Row] = {each.id: [each.id, 0, *stamp(Path(each.path)), ""] for each in short}
    left_out: Unheard = {}
    with atomic_path(folder / shard.name) as partial:
        # In the file's own memory map: a shard is never in memory as a whole.
        target = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.int16, shape=(shard.rows, shard.dim)
        )
        for batch, audio, unheard in batches:
            left_out |= unheard
            features = _computed(model, batch, [wave for wave, _ in audio], device)
            for utterance, values, (_, row) in zip(batch, features, audio, strict=True):
                target[first[utterance.id] :][: utterance.stored] = values
                rows[utterance.id] = row
        target.flush()
        del target
    for each in shard.utterances:
        if each.id in left_out:
            rows[each.id] = [each.id, each.rows, *stamp(Path(each.path)), ""]
    record = {"identity": identity, "utterances": [rows[each.id] for each in shard.utterances]}
    write_json(record_path(folder, shard), record | ({LEFT_OUT: left_out} if left_out else {}))


def read_ahead(
    batches: Iterable[Sequence[AudioUtterance]], threads: int
) -> Iterator[tuple[Sequence[AudioUtterance], list[Audio], Unheard]]:
    """Yield batches with their audio, read by some threads while earlier ones are computed.

    What cannot be taken is in no batch, but told beside it.
    """
    waiting: deque[tuple[Sequence[AudioUtterance], list[Future[Audio | str]]]] = deque()

    def finished() -> tuple[Sequence[AudioUtterance], list[Audio], Unheard]:
        batch, futures = waiting.popleft()
        found = [(each, future.result()) for each, future in zip(batch, futures, strict=True)]
        heard = [(each, audio) for each, audio in found if not isinstance(audio, str)]
        unheard = {each.id: why for each, why in found if isinstance(why, str)}
        return [each for each, _ in heard], [audio for _, audio in heard], unheard

    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append((batch, [pool.submit(_read, each) for each in batch]))
            if len(waiting) > _AHEAD:
                yield finished()
        while waiting:
            yield finished()


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
    if not all(map(_is_same, shard.utterances, record["utterances"])):
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


def _read(utterance: AudioUtterance) -> Audio | str:
    """Read an utterance's audio, or say why it cannot be taken."""
    path = Path(utterance.path)
    found = stamp(path)
    data = path.read_bytes()
    try:
        with open_audio(io.BytesIO(data)) as recording:
            samples, rate = recording.read(), recording.header.sampling_rate
    except AudioFault as fault:
        return f"{path} cannot be read ({fault.detail})"
    if rate != SAMPLE_RATE or samples.shape != (utterance.samples, 1):
        return (
            f"{path} has {len(samples)} samples of {samples.shape[1]} channels at {rate} Hz; "
            f"expected {utterance.samples} samples (utt2num_samples) of one channel at "
            f"{SAMPLE_RATE} Hz"
        )
    wave = samples[:, 0]
    if not np.isfinite(wave).all():
        return f"{path} has NaN or infinite samples"
    # The bytes that were read, not those that may stand there by now; as `digest_file` has it.
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return wave, [utterance.id, utterance.rows, *found, digest]


@torch.inference_mode()
def _computed(
    model: FixedFeatures,
    batch: Sequence[AudioUtterance],
    waves: Sequence[NDArray[np.float32]],
    device: torch.device,
) -> list[NDArray[np.int16]]:
    """Run the model on a batch: the packed rows of every utterance."""
    if not batch:  # none of it could be heard
        return []
    samples, lengths = pad(waves)
    features, frames = model(samples.to(device), lengths.to(device))
    assert frames.tolist() == [each.rows for each in batch], "the plan counts other frames"
    found = []
    for utterance, rows in zip(batch, features, strict=True):
        try:
            found.append(pack(rows[: utterance.rows]))
        except ValueError as error:
            raise ValueError(
                f"Utterance {utterance.id!r}: {error}. Is the checkpoint's training broken?"
            ) from error
    return found
