"""Training audio as labelling and training see it: parts to label, epochs to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from lhotse.utils import fastcopy

from harness_bench.batches import pick_hours
from harness_bench.files import digest_strings
from harness_bench.leakage import DIGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lhotse.cut import Cut

PART_CUTS = 2000
COPY_FIELD = "harness_copy"  # in a repeated cut's `custom`: which repetition it is
UNKNOWN = "unknown"  # the language of utterances that do not say


@dataclass(frozen=True)
class Part:
    """A piece of the audio that one rank labels and one file of labels belongs to."""

    number: int
    load: Callable[[], list[Cut]]


class CutSource(Protocol):
    """Utterances to label and to train on, in memory or in shards."""

    digest: str  # of everything that decides which utterances there are
    utterances: int
    hours: float
    # Whether `epoch` gives each rank other cuts; if not, the sampler deals them out.
    splits_ranks: bool
    # How many cuts the sampler may hold; None: as many as it likes, they are in memory anyway.
    buffer: int | None

    def hours_by_language(self) -> Mapping[str, float]:
        """Return language -> hours."""
        ...

    def parts(self) -> list[Part]:
        """Return all cuts once, cut into parts; the same for any number of ranks."""
        ...

    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> Iterable[Cut]:
        """Return this rank's share of a random subset of about so many hours in all."""
        ...

    def epoch(self, seed: int, epoch: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Yield the cuts of one epoch in an order that depends on the arguments alone."""
        ...


class CutList:
    """Cuts in memory."""

    splits_ranks: bool = False
    buffer: int | None = None

    def __init__(self, cuts: Sequence[Cut]) -> None:
        self.cuts = sorted(cuts, key=lambda cut: str(cut.id))
        self.digest = digest_strings(map(identity, self.cuts))
        self.utterances = len(self.cuts)
        self.hours = sum(cut.duration for cut in self.cuts) / 3600

    def hours_by_language(self) -> dict[str, float]:
        """Return language -> hours."""
        hours: dict[str, float] = {}
        for cut in self.cuts:
            name = language_of(cut)
            hours[name] = hours.get(name, 0.0) + cut.duration / 3600
        return hours

    def parts(self) -> list[Part]:
        """Return parts of 2,000 cuts by id."""
        starts = range(0, len(self.cuts), PART_CUTS)
        return [
            Part(number, lambda start=start: self.cuts[start : start + PART_CUTS])  # type: ignore[misc]
            for number, start in enumerate(starts)
        ]

    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> list[Cut]:
        """Return every ranks-th utterance of a random subset, exact to one utterance."""
        return pick_hours(self.cuts, hours, seed)[rank::ranks]

    def epoch(self, seed: int, epoch: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Yield all cuts in a random order that is the same on every rank."""
        del rank, ranks  # The sampler deals the batches out.
        order = np.random.default_rng([seed, epoch]).permutation(len(self.cuts))
        return (self.cuts[index] for index in order)


def as_source(cuts: Sequence[Cut] | CutSource) -> CutSource:
    """Take a list of cuts for what it is."""
    return cuts if hasattr(cuts, "parts") else CutList(cuts)  # type: ignore[return-value]


def identity(cut: Cut) -> str:
    """Return what tells a cut from every other, its samples included where they were digested."""
    samples = (cut.custom or {}).get(DIGEST, "")
    return f"{cut.id} {cut.start:.6f} {cut.duration:.6f} {samples}"


def language_of(cut: Cut) -> str:
    """Return a cut's language, or "unknown"."""
    languages = (supervision.language for supervision in cut.supervisions)
    return next((str(language) for language in languages if language), UNKNOWN)


def with_custom(cut: Cut, **values: Any) -> Cut:
    """Return a copy of a cut with more fields in its `custom`; the original stays as it is."""
    return fastcopy(cut, custom={**(cut.custom or {}), **values})


def spoken(cut: Cut, language: str | None) -> Cut:
    """Return a cut in a language where it does not say one itself."""
    if language is None or language_of(cut) != UNKNOWN:
        return cut
    said = [fastcopy(supervision, language=language) for supervision in cut.supervisions]
    return fastcopy(cut, supervisions=said)
