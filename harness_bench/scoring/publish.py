"""From predictions and facts about the run to a Result on disk, predictions beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.core.files import digest_strings
from harness_bench.core.workdir import command_line, hardware, versions
from harness_bench.results import record
from harness_bench.results.predictions import write_predictions
from harness_bench.results.record import Result, save_result
from harness_bench.scoring.bootstrap import RESAMPLES
from harness_bench.scoring.classes.score import score_classes
from harness_bench.scoring.registry import get_metric, get_profile
from harness_bench.scoring.texts.profile import DEFAULT_PROFILE, score_texts
from harness_bench.scoring.texts.score import AGAINST, result_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness_bench.leakage.compare import Pair
    from harness_bench.results.predictions import ClassPrediction, TextPrediction
    from harness_bench.results.record import Costs, Leakage, Metric
    from harness_bench.scoring.registry import Kind


def declared(found: Sequence[Pair]) -> record.Leakage:
    """Put comparisons of training sets with one split into the form that results carry.

    Equal texts are told and no verdict.
    """
    return record.Leakage(
        verdict="shared" if any(each.leaks for each in found) else "clean",
        compared_with=tuple(each.first for each in found),
        detail="; ".join(str(each) for each in found if each.findings),
    )


PREDICTIONS = "predictions"  # folder below the results
_TABLES = ("learning_rates", "stage_seconds")  # whatever mapping they came as


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the predictions alone do not tell about a run; names as in `Result`."""

    model: str
    model_kind: Literal["baseline", "random", "pretrained", "other"]
    task: str
    corpus: str
    split: str
    synthetic: bool
    parameters: int | None = None
    costs: Costs | None = None
    layer_weights: tuple[float, ...] = ()
    checkpoint_digest: str | None = None
    hours: float | None = None
    seed: int | None = None
    seeds: tuple[int, ...] = ()
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    pretraining_data: str = ""
    leakage: Leakage | None = None
    command: str = field(default_factory=command_line)
    training_config: str = ""
    hardware: str = field(default_factory=hardware)
    seconds: float | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)


def class_result(
    rows: Sequence[ClassPrediction],
    facts: Facts,
    *,
    main_metric: str = "accuracy",
    resamples: int = RESAMPLES,
) -> Result:
    """Score a classification run.

    Raises:
        ValueError: no rows, or `main_metric` is no class metric.
    """
    _check_main(main_metric, "class")
    return _result(rows, facts, main_metric, score_classes(rows, resamples=resamples))


def text_result(
    rows: Sequence[TextPrediction],
    facts: Facts,
    *,
    profile: str = DEFAULT_PROFILE,
    also: Sequence[str] = (),
    main_metric: str = "wer",
    resamples: int = RESAMPLES,
) -> Result:
    """Score a recognition run under a text profile, and under further ones if asked.

    Raises:
        ValueError: no rows, unknown profile, or `main_metric` is no text metric.
    """
    _check_main(main_metric, "text")
    metrics = score_texts(rows, profile=profile, also=also, resamples=resamples)
    return _result(rows, facts, main_metric, metrics, normaliser=get_profile(profile).label)


def joined_result(
    rows: Sequence[TextPrediction],
    facts: Facts,
    found: Mapping[str, Mapping[str, Any]],
    *,
    main_metric: str | None = None,
) -> Result:
    """Make a result of what `asr.score_joined` gave for the rows, of one or several references.

    Args:
        rows: what was scored.
        facts: of the run.
        found: profile -> figures; the first profile is the result's, the others are further
            metrics such as `mr_wer_none`.
        main_metric: that ranks; default `wer`, or `mr_wer` of several references.

    Raises:
        ValueError: `main_metric` is none of a recogniser's metrics, or was not measured: with one
            reference there is no `mr_wer`, with several there is no `wer`.
    """
    main, *others = found
    metrics = result_metrics(found[main])
    name = main_metric or next(iter(metrics))
    if get_metric(name).kind == "class" or name not in metrics:
        count = len(found[main]["references"])
        raise ValueError(
            f"{name!r} is no figure of a hypothesis against {count} reference(s); there are: "
            f"{', '.join(known for known in metrics if not known.startswith(AGAINST))}."
        )
    for other in others:
        metrics |= result_metrics(found[other], other)
    return _result(rows, facts, name, metrics, normaliser=get_profile(main).label)


def publish(result: Result, rows: Sequence[ClassPrediction | TextPrediction], folder: Path) -> Path:
    """Write the predictions and then the result that names them; return the result's path."""
    relative = f"{PREDICTIONS}/{result.file_name.removesuffix('.json')}.jsonl"
    write_predictions(folder / relative, rows)
    return save_result(result.model_copy(update={"predictions": relative}), folder)


def split_digest(ids: Sequence[str]) -> str:
    """Return the digest of a split: of its sorted utterance ids."""
    return digest_strings(sorted(ids))


def _result(
    rows: Sequence[ClassPrediction | TextPrediction],
    facts: Facts,
    main_metric: str,
    metrics: Mapping[str, Metric],
    **more: Any,
) -> Result:
    """Put scores and facts together."""
    return Result(
        source="measured",
        main_metric=main_metric,
        metrics=dict(metrics),
        utterances=len(rows),
        split_digest=split_digest([row.id for row in rows]),
        versions=versions(),
        **(vars(facts) | {name: dict(getattr(facts, name)) for name in _TABLES}),
        **more,
    )


def _check_main(name: str, kind: Kind) -> None:
    """Refuse a main metric of the wrong kind before the scoring is done."""
    if get_metric(name).kind != kind:
        raise ValueError(f"{name!r} is no metric for {kind} predictions; choose another.")
