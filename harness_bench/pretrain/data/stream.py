"""The endless stream of batches of one rank: which utterances, in which shares, in which order.

It is made block by block. A block holds some hundred batches: windows of utterances, grouped by
duration, every pool of audio in its share. All that follows depends on the seed, the rank and the
block's start alone, so that any number of workers makes the same batches and a resumed run goes on
in the middle of a block without a look at what came before it.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.audio.batching import Unusable
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.pretrain.data.windows import Window, draw_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.data.cut_source import CutSource, Located

BLOCK_BATCHES = 400  # of `max_seconds`
LEAST_BATCHES = 64  # of a block in which an utterance of a scarce language may come twice
CHOICE = 8  # batches of like duration among which the next is chosen by what is due
PATIENCE = 5  # epochs without an utterance that can be used
GOLDEN = 0.6180339887498949  # multiples of it, less their whole part, fill [0, 1) evenly


class PoolPosition(NamedTuple):
    """Where a rank stands in a pool."""

    unit: int  # the next one, epochs counted on
    offset: int = 0  # utterances of it that were taken
    surplus: int = 0  # samples taken beyond the pool's share


class Position(NamedTuple):
    """Where a rank stands in its stream: what a resume needs."""

    block: int
    taken: int  # batches of the block
    before: int  # batches before the block
    pools: tuple[PoolPosition, ...]  # at the block's start

    def numbers(self) -> list[int]:
        """Return it as numbers; as many for every rank."""
        return [self.block, self.taken, self.before, *(n for pool in self.pools for n in pool)]

    @staticmethod
    def of(numbers: Sequence[int]) -> Position:
        """Return the position of such numbers."""
        block, taken, before, *rest = numbers
        width = len(PoolPosition._fields)
        rows = (rest[at : at + width] for at in range(0, len(rest), width))
        return Position(block, taken, before, tuple(PoolPosition(*row) for row in rows))


class StreamBlock(NamedTuple):
    """Batches of one block, in their order."""

    batches: list[list[Window]]
    after: Position
    epoch: int  # how often all audio was heard when it begins
    short: tuple[str, ...]  # utterances below min_sample_size
    skipped: tuple[Unusable, ...]  # shards that cannot be read


class AudioStream:
    """The stream of one rank; a share without audio, or audio without a share, is a ValueError."""

    def __init__(self, source: CutSource, config: PretrainConfig, rank: int, ranks: int) -> None:
        self.source, self.config, self.rank, self.ranks = source, config, rank, ranks
        self.pools = source.pools(config.balance)
        self.seconds = BLOCK_BATCHES * config.max_seconds
        if len(self.pools) > 1:  # no utterance twice in a block, if it is to be had
            heard_once = min(float(p.seconds.sum()) / p.share for p in self.pools) / ranks
            least = LEAST_BATCHES * config.max_seconds
            self.seconds = max(min(self.seconds, heard_once), least)

    def start(self) -> Position:
        """Return where a training begins."""
        return Position(0, 0, 0, tuple(PoolPosition(self.rank) for _ in self.pools))

    def moved(self, others: Sequence[Position]) -> Position:
        """Go on where the blocks of these ranks, of another number, began.

        What was heard of those blocks is heard again, at most a block of each.
        """
        at = [max(each.pools[pool].unit for each in others) for pool in range(len(self.pools))]
        return Position(
            max(each.block for each in others) + 1, 0,
            max(each.before + each.taken for each in others),
            tuple(PoolPosition(unit + 1 + self.rank) for unit in at),
        )  # fmt: skip

    def epoch(self, position: Position) -> int:
        """Return how often all audio was heard, the slowest pool's."""
        pairs = zip(self.pools, position.pools, strict=True)
        return min(each.unit // len(pool.seconds) for pool, each in pairs)

    def block(self, position: Position) -> StreamBlock:
        """Make the block that begins at a position."""
        fill = _Fill(self)
        after = tuple(
            fill.pool(number, at, self._due(number, at)) for number, at in enumerate(position.pools)
        )
        rng = np.random.default_rng([self.config.seed, self.rank, position.block])
        groups = grouped(fill.windows, self.config, rng)
        seconds = np.array([window.duration for window in fill.windows])
        pool_of = np.array(fill.numbers, dtype=np.int64)
        heard = np.zeros((len(groups), len(self.pools)))
        for row, group in zip(heard, groups, strict=True):
            np.add.at(row, pool_of[group], seconds[group])
        longest = np.array([seconds[group].max() for group in groups])
        shares = np.array([pool.share for pool in self.pools])
        order = ordered(groups, heard, longest, shares, position.before)
        return StreamBlock(
            [[fill.windows[each] for each in groups[number]] for number in order],
            Position(position.block + 1, 0, position.before + len(groups), after),
            self.epoch(position), tuple(fill.short), tuple(fill.skipped),
        )  # fmt: skip

    def _due(self, number: int, at: PoolPosition) -> float:
        """Return the seconds that a block takes of a pool; inf: the rest of its epoch."""
        pool = self.pools[number]
        if len(self.pools) > 1:
            return self.seconds * pool.share - at.surplus / SAMPLE_RATE
        epoch, place = divmod(at.unit, len(pool.seconds))
        left = float(pool.seconds[self.order(number, epoch)[place :: self.ranks]].sum())
        blocks = round(left / self.seconds)
        return left / blocks if blocks > 1 else float("inf")

    def order(self, number: int, epoch: int) -> NDArray[np.int64]:
        """Return the order of a pool's units in an epoch; the same on all ranks."""
        return _permutation(self.config.seed, number, epoch, len(self.pools[number].seconds))


@lru_cache(maxsize=8)
def _permutation(*numbers: int) -> NDArray[np.int64]:
    *seed, length = numbers
    return np.random.default_rng(seed).permutation(length)


class _Fill:
    """Collects the windows of a block."""

    def __init__(self, stream: AudioStream) -> None:
        self.stream = stream
        self.windows: list[Window] = []
        self.numbers: list[int] = []  # the pool of each window
        self.short: list[str] = []
        self.skipped: list[Unusable] = []

    def pool(self, number: int, at: PoolPosition, seconds: float) -> PoolPosition:
        """Take so many seconds of a pool; return where it goes on."""
        stream, pool = self.stream, self.stream.pools[number]
        size, first = len(pool.seconds), at.unit // len(pool.seconds)
        unit, offset, heard = at.unit, at.offset, 0.0
        patience = unit + stream.ranks * (PATIENCE * size + 100)
        while heard < seconds:
            epoch = unit // size
            if seconds == float("inf") and epoch > first and heard > 0:
                break
            if unit > patience and heard == 0:
                self._refuse(pool.name)
            cuts = self._cuts(number, unit)
            while offset < len(cuts) and heard < seconds:
                heard += self._take(cuts[offset], epoch, number)
                offset += 1
            if offset < len(cuts):
                break
            unit, offset = unit + stream.ranks, 0
        surplus = round((heard - seconds) * SAMPLE_RATE) if len(stream.pools) > 1 else 0
        return PoolPosition(unit, offset, surplus)

    def _take(self, located: Located, epoch: int, pool: int) -> float:
        cut, place = located
        config = self.stream.config
        if cut.duration < config.min_sample_size / SAMPLE_RATE:
            self.short.append(str(cut.supervisions[0].id))
            return 0.0
        windows = draw_windows(cut, config, epoch, place)
        self.windows += windows
        self.numbers += [pool] * len(windows)
        return sum(window.duration for window in windows)

    def _cuts(self, number: int, unit: int) -> list[Located]:
        """Return the utterances of a unit in the order of this epoch."""
        stream, pool = self.stream, self.stream.pools[number]
        epoch, place = divmod(unit, len(pool.seconds))
        index = int(stream.order(number, epoch)[place])
        try:
            found = pool.load(index)
        except ValueError as error:  # a torn shard: so many utterances for `max_skipped`
            mean = 3600 * stream.source.hours / stream.source.utterances
            name = f"{pool.name} {index}".strip()
            self.skipped += [
                Unusable(f"{name} ({number})", str(error))
                for number in range(max(1, round(pool.seconds[index] / mean)))
            ]
            return []
        if len(found) == 1:
            return found
        order = _permutation(stream.config.seed, number, epoch, index, len(found))
        return [found[each] for each in order]

    def _refuse(self, name: str) -> None:
        source, config = self.stream.source, self.stream.config
        raise ValueError(
            f"There is no batch: none of the utterances{f' of {name!r}' if name else ''} can be "
            f"read or reaches min_sample_size = {config.min_sample_size}; there are "
            f"{source.utterances} of {source.hours:.3g} h."
        )


def grouped(
    windows: Sequence[Window], config: PretrainConfig, rng: np.random.Generator
) -> list[list[int]]:
    """Group windows of like duration into batches of `max_seconds`, padding included.

    Durations are parted into `num_buckets` of equal audio; within one the order is drawn. An
    utterance comes once in a batch, and one longer than `max_seconds` alone. Returns numbers of
    windows.
    """
    if not windows:
        return []
    seconds = np.array([window.duration for window in windows])
    names = [window.utterance for window in windows]
    order = np.argsort(seconds, kind="stable")
    heard = np.cumsum(seconds[order])
    buckets = max(1, min(config.num_buckets, int(heard[-1] / config.max_seconds / 2)))
    bucket = np.ceil(heard * buckets / heard[-1])
    queue = deque(order[np.lexsort((rng.random(len(order)), bucket))].tolist())
    found = []
    while queue:
        batch: list[int] = []
        held: set[str] = set()
        waiting: list[int] = []
        longest = 0.0
        while queue:
            index = queue.popleft()
            longest = max(longest, float(seconds[index]))
            if batch and longest * (len(batch) + 1) > config.max_seconds:
                queue.appendleft(index)
                break
            if names[index] in held:
                waiting.append(index)
                continue
            batch.append(index)
            held.add(names[index])
        queue.extendleft(reversed(waiting))
        found.append(batch)
    return found


def ordered(
    groups: Sequence[list[int]], heard: NDArray[np.float64], longest: NDArray[np.float64],
    shares: NDArray[np.float64], before: int,
) -> list[int]:  # fmt: skip
    """Order batches such that any stretch of them has the shares of the block, and all durations.

    The durations of batch number `before` and those after it depend on the number alone, so that
    ranks that wait for one another have batches of like size.

    Args:
        groups: the batches.
        heard: (N, P) seconds of each pool in each batch.
        longest: (N,) seconds of each batch's longest window.
        shares: (P,) that sum to 1.
        before: number of the first.
    """
    left = np.argsort(longest, kind="stable").tolist()
    found: list[int] = []
    total = np.zeros(len(shares))
    for step in range(before, before + len(groups)):
        middle = int(step * GOLDEN % 1 * len(left))
        at = middle
        if len(shares) > 1:
            low = max(0, min(middle - CHOICE // 2, len(left) - CHOICE))
            after = total + heard[left[low : low + CHOICE]]
            off = np.abs(after - after.sum(1, keepdims=True) * shares).sum(1)
            at = low + int(off.argmin())
        total += heard[left[at]]
        found.append(left.pop(at))
    return found
