"""What exporting costs in the metric, and the row of an export beside its parent's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness_bench.core.files import digest_file, digest_strings
from harness_bench.core.workdir import command_line
from harness_bench.deploy.parity import Change
from harness_bench.models.runtime import CONFIG, GRAPH, load_config
from harness_bench.results.predictions import ClassPrediction, TextPrediction
from harness_bench.results.record import Costs, Exported, Interval, Result, load_results
from harness_bench.scoring.publish import class_result, publish, split_digest, text_result
from harness_bench.scoring.registry import DEFAULT_PROFILE
from harness_bench.scoring.systems import compare_systems
from harness_bench.scoring.texts.score import score_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from harness_bench.deploy.parity import Parity, Run
    from harness_bench.models.runtime import GraphConfig

SOME = 50  # utterances on which numbers are compared; metrics take the whole split
type Answers = list[ClassPrediction] | list[TextPrediction]


@dataclass(frozen=True)
class ExportCheck:
    """A split on which a graph is measured beside its parent."""

    ids: Sequence[str]  # of its utterances
    waves: Sequence[NDArray[np.float32]]  # of some
    answers: Callable[[Run], Answers] | None  # of all; None: hidden states, which nothing scores
    task: str
    split: str
    metrics: tuple[str, ...]  # the main one first
    profile: str | None = None  # of texts


@dataclass(frozen=True)
class Answered:
    """What graph and parent said."""

    graph: Answers
    parent: Answers
    changes: tuple[Change, ...]
    profile: str | None


def examine(examination: ExportCheck, graph: Run, parent: Run) -> Answered:
    """Let graph and parent answer the same utterances; compare them, paired by clusters."""
    assert examination.answers is not None
    own, theirs = examination.answers(graph), examination.answers(parent)
    changes = []
    for metric in examination.metrics:
        found = compare_systems(
            {"graph": own, "parent": theirs}, metric=metric, profile=examination.profile
        )
        here, there = found.names.index("graph"), found.names.index("parent")
        changes.append(
            Change(
                metric=metric,
                value=float(found.values[here]),
                parent=float(found.values[there]),
                difference=float(found.differences[here, there]),
                low=float(found.low[here, there]),
                high=float(found.high[here, there]),
                method=found.interval_method,
            )
        )
    return Answered(own, theirs, tuple(changes), examination.profile)


def publish_beside(
    folder: Path, parent: Result, answered: Answered, parity: Parity, graph: Path
) -> Path:
    """Write the result of an exported folder `graph` as its parent's result describes it."""
    config, files = load_config(graph), (graph / CONFIG, graph / GRAPH)
    digest = digest_strings(digest_file(file) for file in files if file.is_file())
    change = answered.changes[0]
    costs = Costs(
        real_time_factor=parity.real_time_factor,
        disk_bytes=parity.disk_bytes,
        macs_per_second=config.operations_per_second / 2 or None,
        hardware=parity.hardware,
    )
    method, span = change.method, sorted((change.low, change.high))
    exported = Exported(
        runtime=config.runtime,
        parent=parent.model,
        parent_digest=config.parent_digest,
        max_difference=parity.max_difference,
        difference=change.difference,
        interval=Interval(low=span[0], high=span[1], method=method),
    )
    kept = ("model_kind", "task", "corpus", "split", "synthetic", "parameters", "layer_weights",
            "hours", "seed", "pretraining_data", "leakage")  # fmt: skip
    how = f"{config.runtime}, greedy CTC" if config.kind == "ctc" else config.runtime
    template = partial(
        Result, **{name: getattr(parent, name) for name in kept},
        model=f"{parent.model} ({how})", costs=costs, exported=exported,
        checkpoint_digest=digest, command=command_line(),
    )  # fmt: skip
    rows = answered.graph
    if isinstance(rows[0], ClassPrediction):
        result = class_result(rows, template, main_metric=parent.main_metric)
    else:
        scores, _ = score_rows(rows, answered.profile or DEFAULT_PROFILE)
        result = text_result(rows, template, scores)
    return publish(result, rows, folder)


def parents_result(folder: Path, config: GraphConfig, examination: ExportCheck) -> Result:
    """Find the parent's result on the same utterances; none, or several, is a ValueError."""
    task, ids = examination.task, examination.ids
    digest = split_digest(ids)
    found = [
        result
        for result in load_results(folder)[0].values()
        if (result.source, result.task, result.split_digest) == ("measured", task, digest)
        and not result.head
        and result.exported is None
        # A probe on a model by its name alone has noted no digest.
        and result.checkpoint_digest in (None, config.upstream_digest)
    ]
    if len(found) != 1:
        names = ", ".join(sorted(result.model for result in found)) or "none"
        raise ValueError(
            f"{folder} has {len(found)} results of {config.name!r} in {task} on these {len(ids)} "
            f"utterances ({names}); expected the parent's alone. Name the folder with it by "
            "--results."
        )
    return found[0]
