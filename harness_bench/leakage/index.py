"""An index of fingerprints, searched for the same sound at the same or another speed.

A fingerprint is looked up by its landmarks, so no two utterances are ever compared as such: the
work grows with the audio and not with the number of pairs. Another speed is searched for in two
steps: a coarse grid of speeds, of which few landmarks and few utterances of each are looked at,
and what agrees there in full.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.leakage.landmarks import FRAMES_PER_SECOND, HASHES, Fingerprint, Landmarks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Landmarks that must agree at one place: so many, this share more of those in the common time, and
# over so long. Chosen on real speech (benchmarks/fingerprint_recall.py): clicks and tones agree in
# a single instant.
MIN_VOTES = 12
MIN_SHARE = 0.02
MIN_SECONDS = 0.1
# The same for another speed, where more chances are taken: words of one speaker agree for less.
_SPEED_VOTES, _SPEED_SHARE, _SPEED_SECONDS = 14, 0.05, 0.3
SPEEDS = (0.9, 1.1)  # of copies that are looked for
_LIMITS = (0.5, 2.0)
_STEP = 0.01  # of the coarse grid of speeds: half of it moves few peaks by more than a bin
_FINER = (0.9967, 1.0, 1.0033)  # speeds tried around one of the grid
# The same for the coarse grid, and the pairs of a peak that are looked up there.
_COARSE_VOTES, _COARSE_SHARE, _COARSE_PAIRS = 6, 0.01, 4
_MORE = 1.25  # times its votes, beside those at the same speed, are worth another speed
_FEWEST_KEPT = 8  # landmarks of one hash that the coarse grid sees, however rare they are
# Peaks of a long recording searched at a time, 50 s, and from one part to the next: a copy at a
# speed between two of the grid gets out of step.
_PART, _NEXT_PART = 2048, 1536
_LOOKED_UP = 1 << 20  # landmarks found at a time
_OFFSET_BITS = 24  # frames of 16 ms: 37 hours to both sides
_ZERO = 1 << (_OFFSET_BITS - 1)
_SPEED_BITS = 56  # numbers of utterances stand below


class Match(NamedTuple):
    """An utterance of the index that holds the same sound as the one looked up."""

    row: int  # number of the utterance
    votes: int  # landmarks that agree
    offset: float  # seconds by which the sound stands later in the utterance looked up
    seconds: float  # from the first landmark that agrees to the last
    speed: float = 1.0  # of the utterance looked up, to the one of the index


class Builder:
    """Takes landmarks in, utterance by utterance: 12 bytes each; in the index 8."""

    def __init__(self) -> None:
        self._hashes, self._places = array("I"), array("q")
        self._counts, self._lengths = array("q"), array("q")

    def add(self, found: Landmarks) -> None:
        """Take in the next utterance; an empty fingerprint keeps its number and is never found."""
        places = (len(self._counts) << _OFFSET_BITS) - found.frames.astype(np.int64)
        self._hashes.frombytes(found.hashes.astype(np.uint32).tobytes())
        self._places.frombytes(places.tobytes())
        self._counts.append(len(found.hashes))
        self._lengths.append(found.length)

    def build(self) -> Index:
        """Return the index of all that was taken in."""
        hashes = np.frombuffer(self._hashes, dtype=np.uint32)
        order = np.argsort(hashes, kind="stable")
        many = np.bincount(hashes, minlength=HASHES + 1)
        # Landmarks that share a hash, for the mean landmark: a few hashes hold most of the work.
        common = np.square(many, dtype=np.float64).sum() / max(1, len(hashes))
        whole = np.int32 if len(hashes) <= np.iinfo(np.int32).max else np.int64
        return Index(
            starts=(np.cumsum(many) - many).astype(whole),
            places=np.frombuffer(self._places, dtype=np.int64)[order],
            counts=np.array(self._counts, dtype=np.int64),
            lengths=np.array(self._lengths, dtype=np.int64),
            few=max(_FEWEST_KEPT, int(common / 8)),
        )


class Index(NamedTuple):
    """Fingerprints sorted by landmark."""

    starts: NDArray[np.signedinteger]  # (HASHES + 1,) where the landmarks of each hash begin
    places: NDArray[np.int64]  # (n,) number of the utterance << 24, less the frame in it
    counts: NDArray[np.int64]  # (utterances,) landmarks
    lengths: NDArray[np.int64]  # (utterances,) frames
    few: int  # landmarks of one hash that the coarse search looks at

    def matches(self, sound: Fingerprint, speeds: NDArray[np.float64] | None = None) -> list[Match]:
        """Find the utterances that hold the same sound, each at its best place, by number.

        Args:
            sound: what is looked up.
            speeds: (speeds,) coarse grid of other speeds, as `grid` makes it; None tries none.
        """
        found = {each.row: each for each in self.agreeing(sound.landmarks())}
        if speeds is not None:
            for part, seconds in _parts(sound):
                for each in self._at_other_speeds(part, speeds, found):
                    if each.row not in found or each.votes > found[each.row].votes:
                        later = each.offset + seconds * each.speed
                        found[each.row] = each._replace(offset=later)
        return [found[row] for row in sorted(found)]

    def agreeing(
        self,
        query: Landmarks,
        *,
        votes: int = MIN_VOTES,  # landmarks that must agree
        share: float = MIN_SHARE,  # of those in the time that both have, that must agree besides
        seconds: float = MIN_SECONDS,  # from the first of them to the last, at least
    ) -> list[Match]:
        """Find the utterances that hold the same sound at one speed."""
        pair, places = _spread(self.starts[query.hashes], self._many(query.hashes))
        frames = query.frames[pair].astype(np.int64)
        keys = self.places[places] + frames + _ZERO
        near = np.flatnonzero(_crowded(keys, votes))
        keys, frames = keys[near], frames[near]
        known, together = _counted(keys)
        found = []
        for at in _best_of_rows(known, together, votes):
            match = _match(int(known[at]), keys, frames)
            needed = votes + share * self._expected(match, query)
            if match.votes >= needed and match.seconds >= seconds:
                found.append(match)
        return found

    def _at_other_speeds(
        self, sound: Fingerprint, speeds: NDArray[np.float64], known: dict[int, Match]
    ) -> list[Match]:
        """Find what agrees in full near the speeds at which something agrees best in part."""
        best = {
            speed
            for row, (votes, speed) in self._coarse(sound, speeds).items()
            if row not in known or known[row].votes < _MORE * votes
        }
        return [
            each._replace(speed=coarse * fine)
            for coarse in sorted(best)
            for fine in _FINER
            for each in self.agreeing(
                sound.landmarks(coarse * fine),
                votes=_SPEED_VOTES,
                share=_SPEED_SHARE,
                seconds=_SPEED_SECONDS,
            )
        ]

    def _coarse(
        self, sound: Fingerprint, speeds: NDArray[np.float64]
    ) -> dict[int, tuple[int, float]]:
        """Return the rows that agree in part: most votes of each, and the speed."""
        moved = sound.moved(speeds, _COARSE_PAIRS)
        many = np.minimum(self._many(moved.hashes), self.few)
        shift = (moved.speeds.astype(np.int64) << _SPEED_BITS) + moved.frames + _ZERO
        needed = _COARSE_VOTES + _COARSE_SHARE * len(moved.hashes) / len(speeds)
        best: dict[int, tuple[int, float]] = {}
        for part in _pieces(moved.speeds, many, len(speeds)):
            pair, places = _spread(self.starts[moved.hashes[part]], many[part])
            keys = self.places[places] + shift[part][pair]
            known, together = _counted(keys[_crowded(keys, _COARSE_VOTES)])
            for at in np.flatnonzero(together >= _COARSE_VOTES):
                number, rest = divmod(int(known[at]), 1 << _SPEED_BITS)
                row, votes = rest >> _OFFSET_BITS, int(together[at])
                least = min(needed, _COARSE_VOTES + _COARSE_SHARE * self.counts[row])
                if votes >= max(least, best.get(row, (0,))[0] + 1):
                    # Numbers from 128 on reach the sign of a key.
                    best[row] = votes, float(speeds[number % 256])
        return best

    def _many(self, hashes: NDArray[np.uint32] | NDArray[np.int32]) -> NDArray[np.int64]:
        many = self.starts[hashes.astype(np.int64) + 1] - self.starts[hashes]
        return many.astype(np.int64)

    def _expected(self, found: Match, query: Landmarks) -> float:
        """Return how many landmarks the sparser of the two has in the time that both have."""
        length, offset = int(self.lengths[found.row]), round(found.offset * FRAMES_PER_SECOND)
        common = max(0, min(query.length, offset + length) - max(0, offset))
        ours, theirs = len(query.hashes) / query.length, int(self.counts[found.row]) / length
        return common * min(ours, theirs)


def speed_range(text: str) -> tuple[float, float] | None:
    """Read `LOW-HIGH`, or `none`.

    Raises:
        ValueError: it is neither, or no range around 1 from 0.5 to 2.
    """
    if text.strip().lower() == "none":
        return None
    try:
        low, high = map(float, text.split("-"))
    except ValueError:
        low = high = 0.0
    if not _LIMITS[0] <= low <= 1 <= high <= _LIMITS[1]:
        raise ValueError(
            f"Speeds are LOW-HIGH around 1, from {_LIMITS[0]} to {_LIMITS[1]}, such as 0.9-1.1, or "
            f"none; got {text!r}."
        )
    return low, high


def grid(low: float, high: float) -> NDArray[np.float64]:
    """Return the speeds to try, so that either of two utterances may be the copy at low to high."""
    first, last = min(low, 1 / high), max(high, 1 / low)
    return np.arange(round(first / _STEP), round(last / _STEP) + 1) * np.float64(_STEP)


def _parts(sound: Fingerprint) -> Iterator[tuple[Fingerprint, float]]:
    """Yield the parts of a long recording, and the second at which each begins."""
    for first in range(0, max(1, len(sound.times) - (_PART - _NEXT_PART)), _NEXT_PART):
        yield sound.part(first, first + _PART)


def _pieces(speeds: NDArray[np.int32], many: NDArray[np.int64], count: int) -> Iterator[slice]:
    """Yield slices of so many speeds that about `_LOOKED_UP` landmarks are found at a time."""
    bounds = np.searchsorted(speeds, np.arange(count + 1))
    upto = np.concatenate([[0], np.cumsum(many)])[bounds]
    first = 0
    while first < count:
        last = int(np.searchsorted(upto, upto[first] + _LOOKED_UP, side="right")) - 1
        last = max(first + 1, last)
        yield slice(bounds[first], bounds[last])
        first = last


def _spread(
    first: NDArray[np.int64], many: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (number of the run, place) of each element of runs that begin at `first`."""
    before = np.cumsum(many) - many
    run = np.repeat(np.arange(len(many)), many)
    return run, (first - before)[run] + np.arange(len(run))


def _crowded(keys: NDArray[np.int64], least: int) -> NDArray[np.bool_]:
    """Tell which keys may have `least` votes with the next or the previous key, (keys,).

    A table smaller than the keys counts them, some together; sorting all would take far longer.
    """
    size = 1 << max(10, min(22, int(len(keys) * 4).bit_length()))
    slots = (keys + (keys >> _OFFSET_BITS) * 0x9E3779B1) & (size - 1)
    votes = np.bincount(slots, minlength=size)
    enough = votes + np.roll(votes, -1) >= least
    crowded: NDArray[np.bool_] = (enough | np.roll(enough, 1))[slots]
    return crowded


def _counted(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the different keys, and the votes of each together with those of the next.

    A shift of half a frame spreads the votes over two neighbouring offsets.
    """
    known, votes = np.unique(keys, return_counts=True)
    together = votes.copy()
    beside = np.flatnonzero(np.diff(known) == 1)
    together[beside] += votes[beside + 1]
    return known, together


def _match(key: int, keys: NDArray[np.int64], frames: NDArray[np.int64]) -> Match:
    """Return what the votes of a key and of the next say together: the offset is their mean."""
    inside = (keys == key) | (keys == key + 1)
    frames, votes = frames[inside], int(np.count_nonzero(inside))
    row, offset = key >> _OFFSET_BITS, key & ((1 << _OFFSET_BITS) - 1)
    between = np.count_nonzero(keys == key + 1) / votes
    spread = (int(frames.max()) - int(frames.min())) / FRAMES_PER_SECOND
    return Match(row, votes, (offset - _ZERO + between) / FRAMES_PER_SECOND, round(spread, 2))


def _best_of_rows(
    keys: NDArray[np.int64], votes: NDArray[np.int64], least: int
) -> NDArray[np.int64]:
    """Return where each utterance has most votes, of those that reach `least`, by utterance."""
    places = np.flatnonzero(votes >= least)
    rows = keys[places] >> _OFFSET_BITS
    order = np.lexsort((-votes[places], rows))
    _, firsts = np.unique(rows[order], return_index=True)
    return places[order[firsts]]
