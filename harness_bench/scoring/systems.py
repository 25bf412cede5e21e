"""Compare systems on the same utterances, one set of draws for all pairs, and break one down."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.results.predictions import ClassPrediction, TextPrediction
from harness_bench.scoring import classes
from harness_bench.scoring.bootstrap import (
    RESAMPLES,
    SeedSpread,
    cluster_sums,
    draws_of,
    holm,
    is_exact,
    paired_tests,
    paired_units,
    smallest_p,
    units_of,
)
from harness_bench.scoring.registry import DEFAULT_PROFILE, get_metric, get_profile
from harness_bench.scoring.texts import score as texts
from harness_bench.scoring.texts.joining import CODE_SWITCHED, NONE, code_switched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness_bench.scoring.registry import MetricPlugin
    from harness_bench.scoring.statistics import Array

SIGNIFICANT = 0.05  # a p-value below says that two systems differ
CLASS, GROUP = "class", "group"
_RECALL = "uar"  # within one true class it is that class's recall
_SLICES = 256  # measured at a time
_FIRST = 3  # utterances that a message names


def _joined[P: (ClassPrediction, TextPrediction)](
    systems: Mapping[str, Sequence[ClassPrediction | TextPrediction]],
    kind: type[P],
    plugin: MetricPlugin,
) -> dict[str, list[P]]:
    """Order every system's rows by id; all are of a kind and answer the same questions, once."""
    ordered: dict[str, list[P]] = {}
    for name, rows in systems.items():
        own = sorted((row for row in rows if isinstance(row, kind)), key=lambda row: row.id)
        if len(own) < len(rows):
            raise ValueError(
                f"{plugin.name!r} measures {plugin.kind} predictions and system {name!r} holds "
                "others; choose another metric."
            )
        if repeated := [a.id for a, b in itertools.pairwise(own) if a.id == b.id]:
            raise ValueError(f"System {name!r} holds {repeated[0]!r} twice; keep one row of it.")
        ordered[name] = own
    first, *others = ordered
    for name in others:
        one, other = ({question(row) for row in ordered[system]} for system in (first, name))
        if differing := sorted({key for key, *_ in one ^ other}):
            raise ValueError(
                f"The systems {first!r} and {name!r} differ in {len(differing)} utterances, first "
                f"{', '.join(differing[:_FIRST])}; a paired comparison needs the same ids, truths "
                "or references, and groups in both."
            )
    return ordered


def question(row: ClassPrediction | TextPrediction) -> tuple[str, str, str]:
    """Return id, truth and group: what must be equal for two answers to be comparable."""
    if isinstance(row, ClassPrediction):
        return row.id, row.truth, row.group
    named = (f"{name}\t{text}" for name, text in sorted(row.references.items()))
    return row.id, "\t".join([row.ref, *named]), row.group


@dataclass(frozen=True, eq=False)
class Systems:
    """Systems of one split and metric, and what is known about the difference of each pair.

    Tables are (M, M): the row's system minus the column's, in the metric's unit.
    """

    names: tuple[str, ...]  # best first
    values: Array  # (M,)
    differences: Array
    low: Array  # 95 % intervals of the differences
    high: Array
    p_values: Array  # two-sided; 1 on the diagonal
    p_holm: Array  # the same, corrected for the number of pairs
    ranks: tuple[int, ...]  # 1 + the number of systems that are significantly better
    last_ranks: tuple[int, ...]  # M - the number of systems that are significantly worse
    clusters: int
    smallest_p: float  # that p_holm can reach with so many clusters and pairs
    method: str
    interval_method: str  # of one pair alone

    @property
    def decidable(self) -> bool:
        """Whether any claim is possible, however large a difference is."""
        return self.smallest_p < SIGNIFICANT

    @property
    def too_few(self) -> bool:
        """Whether there are too few clusters (below 6) to tell even two systems apart."""
        return smallest_p(self.clusters) >= SIGNIFICANT


def compare_systems(
    systems: Mapping[str, Sequence[ClassPrediction] | Sequence[TextPrediction]],
    *,
    metric: str,
    profile: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    known: Mapping[str, Array] | None = None,
) -> Systems:
    """Compare every pair of systems by the sign-flip test, p-values corrected by Holm.

    Each pair's `p_values` are those of `bootstrap.paired`; claims and ranks follow `p_holm`. The
    ranks of a system reach from `ranks` to `last_ranks`: all of them are right together in 95 of
    100 such tables (Mogstad et al., 2024). The text profile is `mgb2` unless named. `known` are
    `system_statistics` of texts that need not be aligned again; counts of classes depend on the
    classes of all systems, and are always made. What has no value, or differs in utterances,
    references or groups is a `ValueError`.
    """
    plugin = get_metric(metric)
    groups, statistics = systems_statistics(systems, plugin, profile, known)
    units = _joint_units(statistics, groups, len(systems))
    values = plugin.value(units.sum(axis=0, dtype=np.float64))
    names, sign = list(systems), -1 if plugin.higher_is_better else 1
    if undefined := [name for name, value in zip(names, values, strict=True) if np.isnan(value)]:
        raise ValueError(
            f"{metric!r} of {undefined[0]!r} cannot be computed: there is no utterance, or all "
            "references are empty after normalisation."
        )
    order = sorted(range(len(names)), key=lambda place: (sign * values[place], names[place]))
    clusters, many = len(set(groups)), len(names)
    seeds = _seeds(systems, plugin)
    found = paired_tests(
        units[:, order], clusters, plugin.value, seed=seed, resamples=resamples,
        seeds=[seeds[place] for place in order],
    )  # fmt: skip
    p_holm = holm(found.p_values)
    differences = _square(many, found.differences, -found.differences)
    better = (sign * differences < 0) & (_square(many, p_holm, p_holm) < SIGNIFICANT)
    return Systems(
        names=tuple(names[place] for place in order),
        values=values[order],
        differences=differences,
        low=_square(many, found.low, -found.high),
        high=_square(many, found.high, -found.low),
        p_values=_square(many, found.p_values, found.p_values, 1),
        p_holm=_square(many, p_holm, p_holm, 1),
        ranks=tuple((1 + better.sum(axis=0)).tolist()),
        last_ranks=tuple((many - better.sum(axis=1)).tolist()),
        clusters=clusters,
        smallest_p=smallest_p(clusters, len(p_holm), resamples),
        method=_method(units, groups, len(p_holm), resamples, seeds),
        interval_method=f"paired {units_of(units, groups)}",
    )


def _square(many: int, above: Array, below: Array, diagonal: float = 0) -> Array:
    """Make a table (M, M) of what stands above its diagonal, and below at the same two systems."""
    table, places = np.full((many, many), diagonal, dtype=float), np.triu_indices(many, 1)
    table[places], table.T[places] = above, below
    return table + 0.0  # -0.0 is 0


def _method(
    units: Array, groups: Sequence[str], pairs: int, resamples: int, seeds: Sequence[Any]
) -> str:
    """Say how differences were tested, and where no claim is possible."""
    clusters, draws = len(set(groups)), draws_of(pairs, resamples)
    how = "all" if is_exact(clusters, draws) else f"{draws} drawn"
    many = "clusters" if clusters < len(groups) else "utterances"
    least = smallest_p(clusters, pairs, resamples)
    parts = [
        f"sign-flip test over {clusters} {many}, {how} signs",
        f"p corrected by Holm for {pairs} pairs" if pairs > 1 else "one pair",
        f"intervals by {units_of(units, groups)}",
    ]
    parts += ["spread of seeds added"] * any(seeds)
    if least >= SIGNIFICANT:
        parts.append(f"no claim is possible: p cannot fall below {least:.3g}")
    return "; ".join(parts)


def _seeds(
    systems: Mapping[str, Sequence[ClassPrediction | TextPrediction]], plugin: MetricPlugin
) -> list[SeedSpread | None]:
    """Return how the metric differs between the seeds of each system; None where there is one."""
    found = []
    for rows in systems.values():
        own = [row for row in rows if isinstance(row, ClassPrediction) and row.others]
        heads = classes.head_statistics(own, classes.classes_of(own)) if own else ()
        found.append(
            SeedSpread.of(
                [float(plugin.value(head.sum(axis=0, dtype=np.float64))) for head in heads]
            )
        )
    return found


def systems_statistics(
    systems: Mapping[str, Sequence[ClassPrediction | TextPrediction]],
    plugin: MetricPlugin,
    profile: str | None,
    known: Mapping[str, Array] | None = None,
) -> tuple[list[str], Iterator[Array]]:
    """Return groups (N,), and lazily each system's statistics (N, ...); utterances by id."""
    if not systems:
        raise ValueError("There is no system to compare; name two or more.")
    if plugin.kind == "class":
        if profile is not None:
            raise ValueError(f"Text profiles apply to text metrics only, not to {plugin.name!r}.")
        answers = [*_joined(systems, ClassPrediction, plugin).values()]
        labels = classes.classes_of([row for rows in answers for row in rows])
        groups = [row.group for row in answers[0]]
        return groups, (classes.row_statistics(rows, labels) for rows in answers)
    written = _joined(systems, TextPrediction, plugin)
    name = get_profile(profile or DEFAULT_PROFILE).name
    groups = [row.group for row in next(iter(written.values()))]
    several, made = plugin.kind == "references", known or {}
    return groups, (
        made[system] if system in made else texts.row_statistics(rows, name, several=several)
        for system, rows in written.items()
    )


def system_statistics(
    rows: Sequence[ClassPrediction] | Sequence[TextPrediction],
    *,
    metric: str,
    profile: str | None = None,
) -> Array:
    """Return what each utterance of one system adds to sums (N, ...), utterances ordered by id."""
    return next(systems_statistics({"to break down": rows}, get_metric(metric), profile)[1])


def _joint_units(statistics: Iterator[Array], groups: Sequence[str], systems: int) -> Array:
    """Put all systems' resampling units side by side -> (U, M, ...), copying each of them once."""
    first = paired_units(next(statistics), groups)
    units: Array = np.empty((len(first), systems, *first.shape[1:]), dtype=first.dtype)
    units[:, 0] = first
    for place, counts in enumerate(statistics, start=1):
        own = paired_units(counts, groups)
        units = units.astype(np.result_type(units, own), copy=False)  # means of heads are no uint8
        units[:, place] = own
    return units


@dataclass(frozen=True)
class Slice:
    """The utterances that share one value of a dimension."""

    value: str
    utterances: int
    figure: float  # in the metric's unit; NaN where there is nothing to divide by


def breakdown(
    rows: Sequence[ClassPrediction] | Sequence[TextPrediction],
    *,
    metric: str,
    profile: str | None = None,
    known: Array | None = None,
) -> dict[str, list[Slice]]:
    """Return dimension -> its slices, most utterances first; the order of rows does not matter.

    Dimensions: `class`, the recall of each true class (class predictions); `group`, the cluster,
    unless each utterance is its own; every name among the rows' tags; `code-switched` (texts),
    `yes` where a reference has Latin letters. Rows without a tag have the value `(none)`. `known`
    are the rows' `system_statistics`, where they were made before. A tag with the name of a
    dimension is refused, as is what `compare_systems` refuses.
    """
    plugin, recall = get_metric(metric), get_metric(_RECALL)
    counts = system_statistics(rows, metric=metric, profile=profile) if known is None else known
    ordered: list[ClassPrediction | TextPrediction] = [*rows]
    ordered.sort(key=lambda row: row.id)  # as the counts are
    dimensions = _dimensions(ordered)
    tags = sorted({name for row in ordered for name in row.tags})
    if taken := [name for name in tags if name in (CLASS, GROUP, CODE_SWITCHED)]:
        raise ValueError(
            f"The tag {taken[0]!r} has the name of a breakdown that is always made; rename it."
        )
    dimensions |= {name: [row.tags.get(name, NONE) for row in ordered] for name in tags}
    return {
        name: _slices(counts, values, recall if name == CLASS else plugin)
        for name, values in dimensions.items()
    }


def _dimensions(rows: Sequence[ClassPrediction | TextPrediction]) -> dict[str, list[str]]:
    """Return the value of each row (N,) in the dimensions that need no tag."""
    found: dict[str, list[str]] = {CLASS: [], CODE_SWITCHED: [], GROUP: [r.group for r in rows]}
    for row in rows:
        if isinstance(row, ClassPrediction):
            found[CLASS].append(row.truth)
        else:
            found[CODE_SWITCHED].append(code_switched(" ".join(row.written)))
    if len(set(found[GROUP])) == len(rows):
        del found[GROUP]
    return {name: values for name, values in found.items() if values}


def _slices(counts: Array, values: Sequence[str], plugin: MetricPlugin) -> list[Slice]:
    """Measure the utterances of each value; most utterances first, then by value."""
    sizes = sorted(Counter(values).items())
    sums = cluster_sums(counts, values)
    figures = [  # some at a time: where each utterance is a slice they are as large as the counts
        figure
        for at in range(0, len(sums), _SLICES)
        for figure in plugin.value(sums[at : at + _SLICES].astype(np.float64)).tolist()
    ]
    found = [Slice(*size, figure) for size, figure in zip(sizes, figures, strict=True)]
    return sorted(found, key=lambda one: -one.utterances)
