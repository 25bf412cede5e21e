"""Audio for the label pass: long recordings in windows, batches of like duration, by workers."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, override

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from harness_bench.audio.batching import Unusable, by_duration, read_waves
from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE, frame_count
from harness_bench.cuts.fields import with_custom
from harness_bench.pretrain.data.loader import make_loader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lhotse.cut import Cut
    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.pretrain.data.cut_source import Part

    type Inputs = Callable[[Sequence[NDArray[np.float32]]], tuple[Tensor, Tensor]]

WINDOW = 5000  # frames: 100 s, as fairseq's scripts cut what they dump features of
CONTEXT = 50  # frames on either side that a model sees beside them; differences of MFCC see two
_FIRST, _KEPT = "label_first", "label_frames"  # in a window's `custom`


class Rows(NamedTuple):
    """Which frames of an input are labelled."""

    id: str  # utterance
    first: int  # frame of the utterance that they begin with
    context: int  # frames in front of them
    frames: int | None  # None: all, of a whole utterance


class WindowBatch(NamedTuple):
    """Windows of a part, read and made into the inputs of a source of features."""

    part: int
    batches: int  # of this part
    names: list[str]  # all utterances of the part, with its first batch alone
    rows: list[Rows]
    inputs: Tensor
    lengths: Tensor
    skipped: tuple[Unusable, ...]

    @property
    def utterances(self) -> int:
        """How many of its windows are the first of their utterance."""
        return sum(row.first == 0 for row in self.rows)


def windows(cut: Cut) -> list[Cut]:
    """Cut what is longer than a window into equal ones that begin on frames, context around each.

    Their frames, context left out, are those of the whole.
    """
    # What `standard` makes of other sampling rates.
    samples = -(-cut.num_samples * SAMPLE_RATE // cut.sampling_rate)
    frames = frame_count(samples)
    count = -(-frames // WINDOW)
    if count <= 1:
        return [cut]
    return [
        _window(cut, frames, first, end)
        for first, end in pairwise(frames * place // count for place in range(count + 1))
    ]


def _window(cut: Cut, frames: int, first: int, end: int) -> Cut:
    begin, stop = max(0, first - CONTEXT), end + CONTEXT
    offset = begin * FRAME_SHIFT / SAMPLE_RATE
    duration = ((stop - begin - 1) * FRAME_SHIFT + FRAME_FIELD) / SAMPLE_RATE
    if stop >= frames:
        duration = cut.duration - offset
    piece = cut.truncate(offset=offset, duration=duration, preserve_id=True)
    return with_custom(piece, **{_FIRST: first, _KEPT: end - first})


def rows_of(cut: Cut) -> Rows:
    """Say which frames of a window, or of a whole utterance, are labelled."""
    custom = cut.custom or {}
    first = custom.get(_FIRST, 0)
    return Rows(str(cut.id), first, min(first, CONTEXT), custom.get(_KEPT))


def read_windows(
    parts: Callable[[], Iterable[Part]],
    seconds: float,
    inputs: Inputs,
    *,
    whole_parts: bool = False,
    num_workers: int = 0,
    pin: bool = False,
) -> Iterable[WindowBatch]:
    """Read the audio of parts in batches of at most `seconds`, in `num_workers` processes.

    Workers share every part, and batches come in order; of `whole_parts` (shards, whose audio
    would else be read by each) every worker reads its own, and batches of several mingle.
    """
    made = _Windows(parts, seconds, inputs, whole_parts=whole_parts)
    return make_loader(made, num_workers, pin_memory=pin)


class _Windows(IterableDataset[WindowBatch]):
    def __init__(
        self,
        parts: Callable[[], Iterable[Part]],
        seconds: float,
        inputs: Inputs,
        *,
        whole_parts: bool,
    ) -> None:
        self.parts, self.seconds, self.inputs = parts, seconds, inputs
        self.whole_parts = whole_parts

    @override
    def __iter__(self) -> Iterator[WindowBatch]:
        worker = get_worker_info()
        own, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        turn = 0  # DataLoader asks one worker after the other
        for place, part in enumerate(self.parts()):
            if self.whole_parts and place % workers != own:
                continue
            cuts = part.load()
            pieces = [window for cut in cuts for window in windows(cut)]
            batches = list(by_duration(pieces, self.seconds)) or [[]]
            for number, batch in enumerate(batches):
                if self.whole_parts or turn % workers == own:
                    names = [] if number else [str(cut.id) for cut in cuts]
                    yield self._read(batch, part.number, len(batches), names)
                turn += 1

    def _read(self, cuts: Sequence[Cut], part: int, batches: int, names: list[str]) -> WindowBatch:
        read, skipped = read_waves(cuts)
        rows = [rows_of(cut) for cut, _ in read]
        waves = [_whole(wave, row) for (_, wave), row in zip(read, rows, strict=True)]
        return WindowBatch(part, batches, names, rows, *self.inputs(waves), skipped)


def _whole(wave: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
    """Give a window the sample or two that resampling may lack for its last frame."""
    if rows.frames is None:
        return wave
    least = (rows.context + rows.frames - 1) * FRAME_SHIFT + FRAME_FIELD
    lacking = max(0, least - len(wave))
    return np.pad(wave, (0, lacking)) if lacking else wave
