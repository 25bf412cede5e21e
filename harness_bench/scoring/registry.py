"""Find metrics and text profiles by looking into their folders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, reduce
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.core.registry import attribute, modules_in
from harness_bench.results.record import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness_bench.scoring.statistics import Array

MetricKind = Literal["class", "text", "references"]
DEFAULT_PROFILE = "mgb2"
ABSENT = "absent"  # version of a profile whose library is not installed
JOINED_BY = "+"  # between profiles that follow one another


@dataclass(frozen=True)
class MetricPlugin:
    """One metric: how to get it from sums of sufficient statistics, and how to read it."""

    name: str
    kind: MetricKind
    higher_is_better: bool
    unit: str
    value: Callable[[Array], Array]

    def measured(self, value: float, spans: Sequence[Any], spread: float | None = None) -> Metric:
        """Make a figure of a result: its value, and intervals of which the first is the default.

        Rates here are per cent by their making, also one of 0.31.
        """
        found = {"value": value, "interval": spans[0], "other_intervals": spans[1:]}
        how = {"higher_is_better": self.higher_is_better, "unit": self.unit, "spread": spread}
        small = self.unit == "%" and 0 < value <= 1
        return Metric.model_validate(found | how | {"is_percent": small})


@dataclass(frozen=True)
class Profile:
    """One versioned way to normalise a text before it is scored."""

    name: str
    version: str
    rule: str  # one sentence for people
    normalise: Callable[[str], str]

    @property
    def label(self) -> str:
        """Name and version as results carry them, `mgb2 v1` or `unicode-clean+mgb2 v1+1`."""
        return f"{self.name} v{self.version}"


def metric_names(kind: MetricKind | None = None) -> list[str]:
    """List the metrics there are, of one kind or of all."""
    return sorted(name for name, plugin in _metrics().items() if kind in (None, plugin.kind))


def get_metric(name: str) -> MetricPlugin:
    """Return a metric; an unknown name is a `ValueError` that lists the known ones."""
    return _find("metric", name, _metrics())


def profile_names() -> list[str]:
    """List the text profiles whose libraries are installed."""
    return sorted(name for name, profile in _profiles().items() if profile.version != ABSENT)


def get_profile(name: str) -> Profile:
    """Return a text profile, or those of `FIRST+SECOND` one after another.

    An unknown name is a `ValueError` that lists the known ones.
    """
    parts = [_find("text profile", part, _profiles()) for part in name.split(JOINED_BY)]
    if len(parts) == 1:
        return parts[0]
    return Profile(
        name,
        JOINED_BY.join(part.version for part in parts),
        " Then: ".join(part.rule for part in parts),
        lambda text: reduce(lambda changed, part: part.normalise(changed), parts, text),
    )


def _find[T](what: str, name: str, known: dict[str, T]) -> T:
    if name not in known:
        raise ValueError(f"Unknown {what} {name!r}; there are: {', '.join(sorted(known))}.")
    return known[name]


@cache
def _metrics() -> dict[str, MetricPlugin]:
    return _plugins("metrics", MetricPlugin, "NAME", "KIND", "HIGHER_IS_BETTER", "UNIT", "value")


@cache
def _profiles() -> dict[str, Profile]:
    return _plugins("profiles", Profile, "NAME", "VERSION", "RULE", "normalise")


def _plugins[T](folder: str, make: Callable[..., T], *fields: str) -> dict[str, T]:
    """Make a plugin of the fields of each file in a folder -> by its name, the first field."""
    package = f"harness_bench.scoring.{folder}"
    files = [f"{package}.{module}" for module in modules_in(package)]
    rows = [[attribute(file, field) for field in fields] for file in files]
    return {row[0]: make(*row) for row in rows}
