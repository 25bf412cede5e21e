"""Find metrics and text profiles by looking into their folders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.core.registry import attribute, modules_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness_bench.scoring.statistics import Array

MetricKind = Literal["class", "text", "references"]
DEFAULT_PROFILE = "mgb2"


@dataclass(frozen=True)
class MetricPlugin:
    """One metric: how to get it from sums of sufficient statistics, and how to read it."""

    name: str
    kind: MetricKind
    higher_is_better: bool
    unit: str
    value: Callable[[Array], Array]


@dataclass(frozen=True)
class Profile:
    """One versioned way to normalise a text before it is scored."""

    name: str
    version: str
    rule: str  # one sentence for people
    normalise: Callable[[str], str]

    @property
    def label(self) -> str:
        """Name and version as results carry them, such as `mgb2 v1`."""
        return f"{self.name} v{self.version}"


def metric_names(kind: MetricKind | None = None) -> list[str]:
    """List the metrics there are, of one kind or of all."""
    return sorted(name for name, plugin in _metrics().items() if kind in (None, plugin.kind))


def get_metric(name: str) -> MetricPlugin:
    """Return a metric; an unknown name is a `ValueError` that lists the known ones."""
    return _find("metric", name, _metrics())


def profile_names() -> list[str]:
    """List the text profiles there are."""
    return sorted(_profiles())


def get_profile(name: str) -> Profile:
    """Return a text profile; an unknown name is a `ValueError` that lists the known ones."""
    return _find("text profile", name, _profiles())


def _find[T](what: str, name: str, known: dict[str, T]) -> T:
    if name not in known:
        raise ValueError(f"Unknown {what} {name!r}; there are: {', '.join(sorted(known))}.")
    return known[name]


@cache
def _metrics() -> dict[str, MetricPlugin]:
    fields = ("NAME", "KIND", "HIGHER_IS_BETTER", "UNIT", "value")
    return {row[0]: MetricPlugin(*row) for row in _attributes("metrics", fields)}


@cache
def _profiles() -> dict[str, Profile]:
    fields = ("NAME", "VERSION", "RULE", "normalise")
    return {row[0]: Profile(*row) for row in _attributes("profiles", fields)}


def _attributes(folder: str, fields: tuple[str, ...]) -> Iterator[list[Any]]:
    package = f"harness_bench.scoring.{folder}"
    for name in modules_in(package):
        yield [attribute(f"{package}.{name}", field) for field in fields]
