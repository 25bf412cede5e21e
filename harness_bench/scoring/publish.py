"""The one publisher: predictions fill a template of `Result`, and both are written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import digest_strings
from harness_bench.core.workdir import command_line, hardware, versions
from harness_bench.cuts.table import Table
from harness_bench.leakage.compare import shared
from harness_bench.models import hub
from harness_bench.results.predictions import write_predictions
from harness_bench.results.record import Leakage, Result, save_result
from harness_bench.scoring.classes import score_classes
from harness_bench.scoring.registry import get_metric, get_profile, metric_names
from harness_bench.scoring.texts.joining import annotators, predicted
from harness_bench.scoring.texts.score import MAIN, all_metrics, score_rows
from harness_bench.scoring.texts.unscorable import scorable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut

    from harness_bench.cuts.fields import Row
    from harness_bench.results.predictions import ClassPrediction, TextPrediction
    from harness_bench.results.record import Metric
    from harness_bench.scoring.registry import MetricKind
    from harness_bench.scoring.texts.joining import Joined
    from harness_bench.scoring.texts.score import Grouping

Template = partial[Result]  # with all that predictions do not tell: model, task, corpus, split
PREDICTIONS = "predictions"  # folder below the results


def class_result(
    rows: Sequence[ClassPrediction],
    template: Template,
    *,
    main_metric: str = "accuracy",
) -> Result:
    """Score a classification run; a main metric of another kind is refused before."""
    if get_metric(main_metric).kind != "class":
        raise ValueError(f"{main_metric!r} is no metric of class predictions; choose another.")
    return _filled(template, rows, score_classes(rows), main_metric)


def text_result(
    rows: Sequence[TextPrediction],
    template: Template,
    found: Mapping[str, Mapping[str, Any]],
    *,
    main_metric: str | None = None,
) -> Result:
    """Make a result of what `score_rows` gave for the rows, of one or several references.

    The first profile is the result's, the others give further metrics such as `mr_wer_none`;
    default and errors of `main_metric` are those of `text_ranking`.
    """
    label = get_profile(next(iter(found))).label
    name = text_ranking(rows, main_metric)
    return _filled(partial(template, normaliser=label), rows, all_metrics(found), name)


def text_ranking(rows: Sequence[TextPrediction], main_metric: str | None = None) -> str:
    """Return the metric that ranks: by default `wer`, or `mr_wer` of several references.

    Another's name is refused, so call it before scoring: with one reference there is no `mr_wer`,
    with several there is no `wer`.
    """
    count = len(annotators(rows)) or 1
    kind: MetricKind = "references" if count > 1 else "text"
    name = main_metric or MAIN[count > 1]
    if get_metric(name).kind != kind:
        raise ValueError(
            f"{name!r} is not a metric of a hypothesis against {count} reference(s); there are: "
            f"{', '.join(metric_names(kind))}."
        )
    return name


def publish(result: Result, rows: Sequence[ClassPrediction | TextPrediction], folder: Path) -> Path:
    """Write the predictions and then the result that names them; return the result's path."""
    relative = f"{PREDICTIONS}/{result.file_name.removesuffix('.json')}.jsonl"
    write_predictions(folder / relative, rows)
    return save_result(result.model_copy(update={"predictions": relative}), folder)


def publish_joined(
    joined: Joined,
    template: Template,
    folder: Path,
    scored: Mapping[str, Mapping[str, Any]],
    *,
    profile: str,
    also: Iterable[str],
    grouping: Grouping,
) -> Path:
    """Publish files of transcripts: hypotheses of any recogniser.

    `scored` are their figures as `score_profiles` gives them. They are the result's unless a rule
    of `joined` leaves utterances out: what it does under the main profile is in no file that is
    written, and the rest is scored again.
    """
    kept, _ = scorable(joined, joined.unscorable, get_profile(profile).normalise)
    rows = predicted(kept, grouping.groups, grouping.cluster)
    found: Mapping[str, Mapping[str, Any]]
    if joined.unscorable == "none" and profile in scored:
        found = {name: scored[name] for name in (profile, *also) if name in scored}
    else:
        found, _ = score_rows(rows, profile, also)
    return publish(text_result(rows, template, found), rows, folder)


def split_digest(ids: Iterable[str]) -> str:
    """Return the digest of a split: of its sorted utterance ids."""
    return digest_strings(sorted(ids))


def upstream_fields(checkpoint: Path) -> dict[str, Any]:
    """Return the fields of a result that a checkpoint folder tells, by its card too."""
    from harness_bench.core.hub import address_of  # noqa: PLC0415 - with the next ones
    from harness_bench.models.frozen import checkpoint_digest, parameter_count  # noqa: PLC0415 - loads torch
    from harness_bench.models.readme import published_facts  # noqa: PLC0415 - loads torch

    source = hub.source_of(checkpoint)
    known = {"checkpoint_source": source, "weights_url": address_of(source)} if source else {}
    return {
        **published_facts(checkpoint),
        **known,
        "parameters": parameter_count(checkpoint),
        "checkpoint_digest": checkpoint_digest(checkpoint),
    }


def leakage(
    training: Iterable[tuple[str, Iterable[Cut | Row]]], scored: Iterable[Cut | Row], split: str
) -> Leakage:
    """Compare named training sets with the split that was scored; equal texts are no verdict."""
    test = Table(split).extend(scored)
    found = [shared(Table(name).extend(cuts), test) for name, cuts in training]
    return Leakage(
        verdict="shared" if any(each.leaks for each in found) else "clean",
        compared_with=tuple(each.first for each in found),
        detail="; ".join(str(each) for each in found if each.findings),
    )


def _filled(
    template: Template,
    rows: Sequence[ClassPrediction | TextPrediction],
    metrics: dict[str, Metric],
    main_metric: str,
) -> Result:
    """Fill a template with scores; command and machine are this process's unless it names them."""
    known = {"command": command_line(), "hardware": hardware()} | template.keywords
    return Result(
        **known,
        source="measured",
        main_metric=main_metric,
        metrics=metrics,
        utterances=len(rows),
        split_digest=split_digest(row.id for row in rows),
        versions=versions(),
    )
