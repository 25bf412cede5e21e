"""One shard of features: written whole or not at all, with a record of what it was made from."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness_bench.audio.batching import by_duration
from harness_bench.audio.batching import pad as pad_waves
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.files import atomic_path, digest_file, read_json, stamp, write_json
from harness_bench.models.features.quantise import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.models.features.plan import Shard, Utterance
    from harness_bench.models.frozen import FixedFeatures

_AHEAD = 2  # batches of audio in memory while one is computed
type Row = list[Any]  # name, rows, size, time of change in ns, digest of the audio file
type Audio = tuple[NDArray[np.float32], Row]


def record_path(folder: Path, shard: Shard) -> Path:
    """Return where a shard's record stands; it is written last, so a shard with one is whole."""
    return (folder / shard.name).with_suffix(".json")


def batches_of(shard: Shard, max_seconds: float) -> list[list[Utterance]]:
    """Return the batches of a shard: of like length, the same whoever computes them."""
    # What is too short for one frame has no rows, and would break a batch.
    return list(by_duration([each for each in shard.utterances if each.rows], max_seconds))


def write_shard(
    folder: Path,
    shard: Shard,
    model: FixedFeatures,
    identity: str,
    batches: Iterable[tuple[Sequence[Utterance], Sequence[Audio]]],
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
    batches: Iterable[Sequence[Utterance]], threads: int
) -> Iterator[tuple[Sequence[Utterance], list[Audio]]]:
    """Yield batches with their audio, read by some threads while earlier ones are computed."""
    waiting: deque[tuple[Sequence[Utterance], list[Future[Audio]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append((batch, [pool.submit(_read, each) for each in batch]))
            if len(waiting) > _AHEAD:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def is_fresh(folder: Path, shard: Shard, identity: str) -> bool:
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
    except (ValueError, EOFError):  # Cut off or empty, by whatever copied the folder.
        return False
    return bool(found.shape == (shard.rows, shard.dim) and found.dtype == np.int16)


def _is_same(utterance: Utterance, row: Row) -> bool:
    """Whether an utterance is the one that a row of a record was made from."""
    name, rows, *before, digest = row
    if (name, rows) != (utterance.id, utterance.rows):
        return False
    path = Path(utterance.path)
    return before == [*stamp(path)] or not rows or digest == digest_file(path)


def _unread(utterance: Utterance) -> Row:
    return [utterance.id, 0, *stamp(Path(utterance.path)), ""]


def _read(utterance: Utterance) -> Audio:
    """Read an utterance as ESPnet does, and note which file that was."""
    import soundfile  # noqa: PLC0415 - loads libsndfile

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
    batch: Sequence[Utterance], futures: Sequence[Future[Audio]]
) -> tuple[Sequence[Utterance], list[Audio]]:
    return batch, [future.result() for future in futures]


@torch.inference_mode()
def _computed(
    model: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    batch: Sequence[Utterance],
    waves: Sequence[NDArray[np.float32]],
    device: torch.device,
) -> list[NDArray[np.int16]]:
    """Run the model on a batch: the packed rows of every utterance."""
    samples, lengths = pad_waves(waves)
    features, frames = model(samples.to(device), lengths.to(device))
    assert frames.tolist() == [each.rows for each in batch], "the plan counts other frames"
    return [_packed(each, rows[: each.rows]) for each, rows in zip(batch, features, strict=True)]


def _packed(utterance: Utterance, features: Tensor) -> NDArray[np.int16]:
    try:
        return pack(features)
    except ValueError as error:
        raise ValueError(
            f"Utterance {utterance.id!r}: {error}. Is the checkpoint's training broken?"
        ) from error
