"""Draw hours of training speech and a development set of other programmes, by seed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from harness_bench.corpora.splits import Item, draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HOUR = 3_600_000  # ms


def choose(items: Iterable[Item], hours: Mapping[str, float], seed: int) -> dict[str, str]:
    """Choose `dev` hours of some programmes and `train` hours of all others.

    Programmes stand in the order of the BLAKE2b digest of seed and name. Dev takes them whole
    while they fit; of the next one, segments are drawn until dev is full to one segment, and the
    rest of it is left unused. Train is drawn from all segments of the other programmes. The
    order of `items` changes nothing.

    Args:
        items: segments with their programme as `group`; ids must differ.
        hours: of `train` and `dev`.
        seed: another one gives another choice.

    Returns:
        Utterance id -> train or dev, for the chosen ones alone.

    Raises:
        ValueError: there are not as many hours.
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
