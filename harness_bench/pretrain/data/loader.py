"""Batches made by worker processes: those of a training without end, of dev, of the label pass."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, override

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness_bench.audio.batching import Unusable
    from harness_bench.pretrain.data.batches import BatchMaker, MaskedBatch
    from harness_bench.pretrain.data.stream import AudioStream, Position, StreamBlock
    from harness_bench.pretrain.data.windows import Window

PREFETCH = 4  # batches that each worker makes ahead


def ignore_sigterm(_worker: int) -> None:
    """Keep workers alive at a SIGTERM to the whole job: the loop still needs their batches."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    """Keep torch from converting what is a batch already."""
    return batch


class BatchStream(IterableDataset["MaskedBatch"]):
    """The batches of a stream from a position on; of `n` workers each makes every n-th."""

    def __init__(self, stream: AudioStream, maker: BatchMaker, start: Position) -> None:
        self.stream, self.maker, self.start = stream, maker, start

    @override
    def __iter__(self) -> Iterator[MaskedBatch]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        number = 0  # of batches since the start
        short: list[str] = []
        skipped: list[Unusable] = []
        for position, block in self._blocks(ahead=info is not None):
            short += block.short  # told with the next batch, whichever block has one
            skipped += block.skipped
            for taken in range(position.taken, len(block.batches)):
                if number % workers == worker:
                    batch = self.maker(block.batches[taken])
                    at = position._replace(taken=taken + 1)
                    if taken == 0:
                        batch = batch._replace(
                            short=tuple(short), skipped=(*skipped, *batch.skipped)
                        )
                    yield batch._replace(position=tuple(at.numbers()), epoch=block.epoch)
                short, skipped = [], []
                number += 1

    def _blocks(self, *, ahead: bool) -> Iterator[tuple[Position, StreamBlock]]:
        """Yield blocks and where they are entered; `ahead`: a thread makes the next meanwhile."""
        position = self.start
        block = self.stream.block(position)
        while True:
            following = _begin(partial(self.stream.block, block.after)) if ahead else None
            yield position, block
            position = block.after
            block = self.stream.block(position) if following is None else following.result()


def _begin(call: Callable[[], StreamBlock]) -> Future[StreamBlock]:
    """Call in a thread that no process waits for when it ends."""
    future: Future[StreamBlock] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 - raised where the result is wanted
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class BatchList(Dataset["MaskedBatch"]):
    """Batches of given windows."""

    def __init__(self, maker: BatchMaker, batches: Sequence[Sequence[Window]]) -> None:
        self.maker, self.batches = maker, batches

    def __len__(self) -> int:
        return len(self.batches)

    @override
    def __getitem__(self, number: int) -> MaskedBatch:
        return self.maker(self.batches[number])


def make_loader[T](dataset: Dataset[T], workers: int, *, pin_memory: bool = False) -> DataLoader[T]:
    """Return what yields the batches of a dataset of batches, in its order."""
    return DataLoader(
        dataset, batch_size=None, collate_fn=_as_it_is, num_workers=workers,
        worker_init_fn=ignore_sigterm,
        prefetch_factor=PREFETCH if workers else None, pin_memory=pin_memory,
        # Its own generator: drawing from the global one here would break bit-equal resumes.
        generator=torch.Generator(),
    )  # fmt: skip
