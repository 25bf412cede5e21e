"""Splits of our own, where a corpus has none or its paper's is unpublished.

All of it depends on ids, durations and a seed alone: not on the order of files, and not on any
library's random numbers (the only chance is BLAKE2b of seed and id; all sums are of whole
milliseconds). So anybody who has the corpus gets the same list.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from glob import escape
from itertools import accumulate, combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.audio.io import read_header
from harness_bench.core.files import digest_strings, write_json, write_text
from harness_bench.core.log import bar
from harness_bench.core.rng import chance
from harness_bench.corpora.base import Utterance
from harness_bench.cuts.store import CUTS_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from harness_bench.corpora.base import Found, Skipped


SPLIT_FILE = "split.json"
ID_FILES = "ids.*.txt"
_HOUR = 3_600_000  # ms
_LONGEST = 3_600_000  # ms; a broken header may promise any length
_STARTS = 256  # of the search for disjoint splits
_PAIRS_UP_TO = 128  # groups; beyond, single groups are small enough to come near without swaps
_SCALE = 10_000  # deviations are counted in hundredths of a percent of what is wanted
_WEIGHT_OF_HOURS = 50  # against 1 for the balance of each kind
_READERS = 16  # threads that wait for headers


@dataclass(frozen=True, order=True)
class Item:
    """One utterance to be put into a split."""

    id: str
    milliseconds: int  # 0 where unknown
    kinds: tuple[str, ...] = ()  # every split has its share of each, such as ("anger", "female")
    group: str = ""  # what must not stand in two splits, such as the speaker

    @property
    def weight(self) -> int:
        """Length in ms; something, so that unreadable audio has a place too."""
        return max(1, self.milliseconds)


@dataclass(frozen=True)
class SplitRule:
    """How a split was made, to be written beside its id lists."""

    name: str
    rule: str  # in plain words, complete enough to do it again
    seed: int


def draw(items: Iterable[Item], shares: Mapping[str, int], seed: int) -> dict[str, str]:
    """Deal utterances out at random, each kind in proportion, each split exact to one utterance.

    Each set of kinds is ordered by the digest of seed and id; its utterances stand at the middle
    of their time in it, from 0 to 1; all are sorted by that place and cut where the splits'
    shares of all time, such as {"train": 80, "rest": 20}, are nearest. Returns id -> split.
    """
    ordered = _interleaved(_checked(items, shares), seed)
    ends = list(accumulate((item.weight for item in ordered), initial=0))
    parts, first, wanted = sum(shares.values()), 0, 0
    found: dict[str, str] = {}
    for split, share in shares.items():
        wanted += share
        off = [abs(end * parts - ends[-1] * wanted) for end in ends]
        last = off.index(min(off))
        found.update(dict.fromkeys((item.id for item in ordered[first:last]), split))
        first = max(first, last)
    return found


def disjoint(items: Iterable[Item], shares: Mapping[str, int], seed: int) -> dict[str, str]:
    """Deal whole groups out so that hours and kinds come as near to the shares as was found.

    The cost of a split is the sum of squared relative deviations of its hours (weight 50) and of
    its hours of each kind (weight 1) from its share. From 256 seeded starts, the best move of one
    group or swap of two is made until none helps; the cheapest result counts, then the first by
    the groups' names. Returns id -> split; fewer groups than splits are a `ValueError`.
    """
    known = _checked(items, shares)
    groups = sorted({item.group for item in known})
    if len(groups) < len(shares):
        raise ValueError(
            f"{len(groups)} speakers or other groups ({', '.join(groups[:5])}) cannot fill the "
            f"{len(shares)} splits {', '.join(shares)} without being shared. Is the corpus whole?"
        )
    search = _Search(_table(known, groups), np.array(list(shares.values()), dtype=np.int64))
    starts = {search.start(_order(groups, f"{seed}/{number}")) for number in range(_STARTS)}
    _, best = min(search.improved(start) for start in starts)
    split_of = dict(zip(groups, map(list(shares).__getitem__, best), strict=True))
    return {item.id: split_of[item.group] for item in known}


def choose(items: Iterable[Item], hours: Mapping[str, float], seed: int) -> dict[str, str]:
    """Choose `dev` hours of some programmes and `train` hours of all others.

    Programmes stand in the order of the BLAKE2b digest of seed and name. Dev takes them whole
    while they fit; of the next one, segments are drawn until dev is full to one segment, and the
    rest of it is left unused. Train is drawn from all segments of the other programmes. A
    programme is an item's group. Returns id -> train or dev, for the chosen ones alone; hours that
    are not there are a `ValueError`.
    """
    programmes: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        programmes[item.group].append(item)
    found: dict[str, str] = {}
    wanted = round(hours["dev"] * _HOUR)
    order = sorted(programmes, key=lambda name: hashlib.blake2b(f"{seed}/{name}".encode()).digest())
    for name in order:
        if wanted <= 0:
            break
        members = programmes.pop(name)
        taken = _drawn(members, wanted, seed)
        found.update(dict.fromkeys(taken, "dev"))
        wanted -= sum(item.milliseconds for item in members)
    rest = [item for members in programmes.values() for item in members]
    train = round(hours["train"] * _HOUR)
    if wanted > 0 or train > sum(item.milliseconds for item in rest):
        total = sum(item.milliseconds for item in rest) / _HOUR
        raise ValueError(
            f"train_hours={hours['train']:g} and dev_hours={hours['dev']:g} cannot be had: beside "
            f"dev's programmes {total:.2f} h are left. Ask for less, or is the corpus not whole?"
        )
    found.update(dict.fromkeys(_drawn(rest, train, seed), "train"))
    return found


def _drawn(items: list[Item], wanted: int, seed: int) -> list[str]:
    """Draw ids of `wanted` ms to one segment; all where there are no more."""
    total = sum(item.milliseconds for item in items)
    if wanted >= total:
        return [item.id for item in items]
    split_of = draw(items, {"taken": wanted, "rest": total - wanted}, seed)
    return [uid for uid, split in split_of.items() if split == "taken"]


def dealt(
    found: Sequence[Utterance | Skipped],
    deal: Callable[[list[Item]], Mapping[str, str]],
    item_of: Callable[[Utterance, int], Item],
) -> Found:
    """Yield utterances of whole files in the splits that a deal gives them by their lengths in ms.

    Of an id that comes twice the first counts, as in `prepare`.
    """
    good = {item.id: item for item in reversed(found) if isinstance(item, Utterance)}
    lengths = milliseconds([item.audio for item in good.values()], "lengths for the split")
    split_of = deal([item_of(*pair) for pair in zip(good.values(), lengths, strict=True)])
    for item in found:
        yield replace(item, split=split_of[item.id]) if isinstance(item, Utterance) else item


def milliseconds(paths: Sequence[Path], title: str) -> list[int]:
    """Read the lengths that audio headers state, in ms.

    What cannot be read counts as the median of the rest, so that one broken file hardly moves a
    split; that it may is why lists carry digests. `prepare` lists such files.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        stated = readers.map(_milliseconds, paths)
        found = list(bar(stated, title=title, total=len(paths), unit="file"))
    known = sorted(length for length in found if length is not None)
    usual = known[len(known) // 2] if known else 0
    return [usual if length is None else length for length in found]


def files_of_splits(names: Iterable[str], *more: str) -> list[str]:
    """Return the patterns of the cuts, lists and `more` (the first `*` is the split) of splits."""
    patterns = (CUTS_FILES, ID_FILES, *more)
    return [like.replace("*", escape(name), 1) for name in names for like in patterns]


def list_files(ids: Mapping[str, Collection[str]]) -> list[str]:
    """Return the names of what `write_split` writes of such lists; none for no split."""
    return [SPLIT_FILE, *(ID_FILES.replace("*", split) for split in ids)] if ids else []


def write_split(
    folder: Path, rule: SplitRule, ids: Mapping[str, Collection[str]]
) -> dict[str, dict[str, Any]]:
    """Write split.json and one list ids.<split>.txt per split, with rule, seed and digest.

    Returns what split.json says of each split: utterances, digest and the name of its list.
    """
    digests = {split: digest_strings(sorted(names)) for split, names in sorted(ids.items())}
    whole = digest_strings(f"{split} {digest}" for split, digest in digests.items())
    for split, names in ids.items():
        head = f"# {rule.name}, split {split}, seed {rule.seed}, digest {digests[split]}"
        write_text(folder / f"ids.{split}.txt", "\n".join([head, *sorted(names)]) + "\n")
    splits: dict[str, dict[str, Any]] = {
        split: {"utterances": len(ids[split]), "digest": digest, "ids": f"ids.{split}.txt"}
        for split, digest in digests.items()
    }
    about = {"name": rule.name, "rule": rule.rule, "seed": rule.seed, "digest": whole}
    write_json(folder / SPLIT_FILE, {**about, "splits": splits})
    return splits


class _Search:
    """Local search for a dealing of groups; whole numbers only, so that every machine agrees."""

    def __init__(self, table: NDArray[np.int64], shares: NDArray[np.int64]) -> None:
        self.table = table
        self.parts = int(shares.sum())
        self.wanted = shares[:, None] * table.sum(axis=0)  # (splits, 1 + kinds) ms x parts
        self.weights = np.ones(table.shape[1], dtype=np.int64)
        self.weights[0] = _WEIGHT_OF_HOURS
        pairs = combinations(range(len(table)), 2) if len(table) <= _PAIRS_UP_TO else ()
        self.pairs = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)

    def start(self, order: Sequence[int]) -> tuple[int, ...]:
        """Give each group, in this order, to the split that lacks most of its time."""
        lacking = self.wanted[:, 0].copy()
        split_of = [0] * len(self.table)
        for group in order:
            split_of[group] = int(np.argmax(lacking))
            lacking[split_of[group]] -= self.parts * self.table[group, 0]
        return tuple(split_of)

    def improved(self, start: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """Descend to a dealing that no move and no swap betters; return its cost and itself."""
        split_of = np.array(start, dtype=np.int64)
        splits = np.arange(len(self.wanted))
        while True:
            sums = np.stack([self.table[split_of == split].sum(axis=0) for split in splits])
            costs = self.cost(sums, splits)
            group, source, target, other = self._neighbours(split_of)
            change = self.table[group] - np.where(other[:, None] >= 0, self.table[other], 0)
            after = self.cost(sums[source] - change, source)
            after += self.cost(sums[target] + change, target)
            gain = after - costs[source] - costs[target]
            if not len(gain) or gain.min() >= 0:
                return int(costs.sum()), tuple(int(split) for split in split_of)
            best = int(np.argmin(gain))
            split_of[group[best]] = target[best]
            if other[best] >= 0:
                split_of[other[best]] = source[best]

    def cost(self, sums: NDArray[np.int64], splits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cost of splits (n,) that hold these sums (n, 1 + kinds)."""
        wanted = self.wanted[splits]
        deviation = np.abs(sums * self.parts - wanted) * _SCALE // wanted
        costs: NDArray[np.int64] = (deviation**2 * self.weights).sum(axis=1)
        return costs

    def _neighbours(self, split_of: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Return moves (group, from, to, -1) and swaps (group, from, to, group) as four columns."""
        groups, splits = len(self.table), len(self.wanted)
        moved = np.repeat(np.arange(groups), splits)
        target = np.tile(np.arange(splits), groups)
        moves = np.stack([moved, split_of[moved], target, np.full_like(moved, -1)])
        left, right = self.pairs[:, 0], self.pairs[:, 1]
        swaps = np.stack([left, split_of[left], split_of[right], right])
        found = np.concatenate([moves, swaps], axis=1)
        return tuple(found[:, found[1] != found[2]])


def _checked(items: Iterable[Item], shares: Mapping[str, int]) -> list[Item]:
    """Return the items by id; repeated ids and shares that are none are errors."""
    if not shares or min(shares.values()) < 1:
        raise ValueError(f"Shares of splits must be whole numbers above 0; got {dict(shares)}.")
    known = sorted(items, key=lambda item: item.id)
    if repeated := [a.id for a, b in pairwise(known) if a.id == b.id]:
        raise ValueError(f"Ids must differ for a split to be made; twice: {repeated[:5]}.")
    return known


def _interleaved(items: list[Item], seed: int) -> list[Item]:
    """Order items so that any stretch has its share of every set of kinds."""
    strata: dict[tuple[str, ...], list[Item]] = defaultdict(list)
    for item in items:
        strata[item.kinds].append(item)
    places: list[tuple[int, bytes, Item]] = []
    for members in strata.values():
        total, before = sum(item.weight for item in members), 0
        for luck, item in sorted((chance(seed, item.id), item) for item in members):
            places.append(((2 * before + item.weight) * 2**62 // total, luck, item))
            before += item.weight
    return [item for _, _, item in sorted(places)]


def _table(items: list[Item], groups: list[str]) -> NDArray[np.int64]:
    """Return ms of each group, of all and of each kind, (groups, 1 + kinds)."""
    kinds = [None, *sorted({kind for item in items for kind in item.kinds})]
    table = np.zeros((len(groups), len(kinds)), dtype=np.int64)
    for item in items:
        for kind in (None, *item.kinds):
            table[groups.index(item.group), kinds.index(kind)] += item.weight
    return table


def _order(groups: list[str], seed: str) -> list[int]:
    return sorted(range(len(groups)), key=lambda number: chance(seed, groups[number]))


def _milliseconds(path: Path) -> int | None:
    try:
        header = read_header(path)
    except (RuntimeError, OSError, ValueError):  # soundfile's errors are RuntimeErrors
        return None
    length = max(0, header.samples) * 1000 // max(1, header.sampling_rate)
    return min(length, _LONGEST)
