"""Languages in given shares: the rarer one is heard more often, and nothing is left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness_bench.core.rng import utterance_rng
from harness_bench.cuts.fields import COPY_FIELD, language_of, with_custom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lhotse.cut import Cut


def repetitions(shares: Mapping[str, float], hours: Mapping[str, float]) -> dict[str, float]:
    """Return how often an epoch holds each utterance of a language, at least once.

    The language with most audio for its share is heard once; an epoch then holds every language in
    its share of the audio.

    Args:
        shares: language -> weight, any scale.
        hours: language -> hours there are.

    Raises:
        ValueError: a language without a share, or a share without audio.
    """
    if set(shares) != set(hours):
        raise ValueError(
            f"pretrain.balance speaks of {', '.join(sorted(shares))}, but the audio is in "
            f"{', '.join(sorted(hours))}; give each of these a weight and no other. Utterances "
            'that do not say their language are "unknown": set `language` of their source.'
        )
    per_weight = {name: hours[name] / share for name, share in shares.items()}
    most = max(per_weight.values())
    return {name: most / own for name, own in per_weight.items()}


def repeated(
    one_pass: Callable[[], Iterator[Cut]], factors: Mapping[str, float], seed: int, epoch: int
) -> Iterator[Cut]:
    """Yield an epoch's cuts as often as their language's factor says.

    A factor of 2.3 gives every utterance twice and three tenths of them, drawn by seed, epoch and
    id, a third time. The passes come one after the other, so that copies do not meet in a batch.
    Without factors there is one plain pass.
    """
    if not factors:
        yield from one_pass()
        return
    for number in range(math.ceil(max(factors.values()))):
        for cut in one_pass():
            due = _due(cut, factors[language_of(cut)], seed, epoch)
            if number < due:
                yield cut if number == 0 else _copy(cut, number)


def _due(cut: Cut, factor: float, seed: int, epoch: int) -> int:
    whole, rest = divmod(factor, 1)
    extra = rest > 0 and utterance_rng(seed, epoch, str(cut.id), "repeat").random() < rest
    return int(whole) + int(extra)


def _copy(cut: Cut, number: int) -> Cut:
    """Give a repetition an id of its own, and its own crops, masks and noise with it."""
    return with_custom(cut.with_id(f"{cut.id}#{number}"), **{COPY_FIELD: number})
