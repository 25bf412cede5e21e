"""What `harness-bench score` prints and writes: texts, classes, and comparisons of systems."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness_bench.core.tables import columns
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.scoring.classes import (
    BINS,
    calibration_error,
    check_picture,
    confusion,
    confusion_table,
    join_truth,
    per_class,
    plot_confusion,
    read_table,
    score_classes,
)
from harness_bench.scoring.registry import DEFAULT_PROFILE, get_metric, get_profile, profile_names
from harness_bench.scoring.score import default_metric, read_systems
from harness_bench.scoring.systems import SIGNIFICANT, Systems, compare_systems
from harness_bench.scoring.texts.alignment import check_view, write_alignment
from harness_bench.scoring.texts.joining import annotators, check_ids, joined_rows
from harness_bench.scoring.texts.score import (
    Grouping,
    TranscriptFiles,
    all_metrics,
    read_joined,
    score_joined,
    score_rows,
    title_of,
    told_rates,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results.record import Metric
    from harness_bench.scoring.texts.joining import Joined

ALL = "all"
_REASONS = {
    "missing": "without a hypothesis", "extra": "hypotheses without a reference",
    "unreferenced": "that some reference lacks", "duplicate": "given twice",
    "ignored": "ignored as the STM says", "words_outside": "words outside every segment",
}  # fmt: skip
_COUNTS = ("cor", "sub", "del", "ins", "utterances")
_FEWEST = 2  # systems to compare


def asr_report(
    files: TranscriptFiles, *, profile: str, grouping: Grouping, view: Path | None, as_json: bool
) -> str:
    """Score files of transcripts under one profile or all; nothing is written on bad input."""
    check_ids(files.ids)
    profiles = _profiles(profile)
    if view is not None:
        check_view(view)
        if len(profiles) > 1:
            raise ValueError("--align shows one text profile; name it instead of `all`.")
    return _joined_report(read_joined(files), profile, grouping, view=view, as_json=as_json)


def text_report(predictions: Path, *, profile: str, as_json: bool) -> str:
    """Score a file of `TextPrediction`; several annotators are reported as files of references."""
    rows = read_predictions(predictions, TextPrediction)
    if annotators(rows):
        return _joined_report(joined_rows(rows), profile, Grouping(), as_json=as_json)
    first, *others = _profiles(profile)
    found, wordless = score_rows(rows, first, others)
    scores = all_metrics(found)
    if profile == ALL:
        scores = {name if "_" in name else f"{name}_{first}": one for name, one in scores.items()}
    notes = [f"{note}." for one in found.values() for note in one["notes"]] + [*wordless.values()]
    if as_json:
        told = {"notes": notes} if notes else {}
        return _json({name: score.model_dump() for name, score in scores.items()} | told)
    return "\n".join([*_metric_lines(scores), *(f"Note: {note}" for note in notes)])


def class_report(
    *,
    predictions: Path | None = None,
    tsv: Path | None = None,
    pred_and_cuts: tuple[Path, Path] | None = None,
    field: str | None = None,
    ids: str = "strict",
    as_json: bool = False,
    plot: Path | None = None,
) -> str:
    """Score classes: metrics with intervals, calibration, figures of each class, confusion.

    They come as `ClassPrediction`, as a table of id, truth and prediction, or as predictions and
    prepared cuts whose `field` is the truth. `plot` is a picture of the confusion matrix.
    """
    if plot is not None:
        check_picture(plot)
    left_out: dict[str, int] = {}
    if predictions:
        rows = read_predictions(predictions, ClassPrediction)
    elif tsv:
        rows = read_table(tsv)
    else:
        assert pred_and_cuts
        rows, left_out = join_truth(*pred_and_cuts, field, ids)
    scores, error, found = score_classes(rows), calibration_error(rows), confusion(rows)
    classes = per_class(found)
    if plot is not None:
        plot_confusion(found, plot)
    if as_json:
        return _json(
            {name: score.model_dump() for name, score in scores.items()}
            | {
                "ece": error,
                "classes": classes,
                "confusion": {"labels": [*found.columns], "counts": found.to_numpy().tolist()},
                "utterances": len(rows),
                "ids": left_out,
            }
        )
    lines = _metric_lines(scores)
    if error is not None:
        lines.append(f"{'ece':<{max(map(len, scores))}}  {error:6.2f} %  {BINS} bins")
    if unjoined := [f"{count} {reason}" for reason, count in left_out.items() if count]:
        lines.append(f"Left out: {', '.join(unjoined)}.")
    table: list[tuple[str, ...]] = [("class", "precision", "recall", "F1", "support")]
    for label, one in classes.items():
        *rates, support = one.values()
        table.append((label, *map(_rate, rates), str(support)))
    return "\n".join([*lines, "", *columns(table), "", *confusion_table(found)])


def compare_report(
    paths: Sequence[Path],
    *,
    names: Sequence[str] = (),
    metric: str | None = None,
    profile: str | None = None,
    as_json: bool = False,
) -> str:
    """Compare two files or more of predictions of the same utterances, best first."""
    systems = read_systems(paths, names)
    metric = metric or default_metric(systems)
    plugin = get_metric(metric)
    found = compare_systems(systems, metric=metric, profile=profile)
    label = None if plugin.kind == "class" else get_profile(profile or DEFAULT_PROFILE).label
    called = dict(zip(systems, map(str, paths), strict=True))
    about = {
        "metric": metric,
        "unit": plugin.unit,
        "higher_is_better": plugin.higher_is_better,
        "profile": label,
        "utterances": len(systems[found.names[0]]),
        "method": found.method,
    }
    tables = ("differences", "low", "high", "p_values")
    pairs = {name: getattr(found, name).tolist() for name in tables}
    rows = [
        {"name": name, "file": called[name], "value": value, "rank": rank}
        | {"to_best": {key.rstrip("s"): table[place][0] for key, table in pairs.items()}}
        for place, (name, value, rank) in enumerate(
            zip(found.names, found.values.tolist(), found.ranks, strict=True)
        )
    ]
    if as_json:
        return _json({**about, "systems": rows, "pairs": pairs})
    return "\n".join(_comparison(found, rows, about))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _joined_report(
    joined: Joined, profile: str, grouping: Grouping, *, view: Path | None = None, as_json: bool
) -> str:
    found: dict[str, dict[str, Any]] = {}
    for name in _profiles(profile):
        scores, found[name] = score_joined(joined, name, grouping)
        if view is not None:
            write_alignment(view, scores, _summary(found[name]))
    if as_json:
        return _json(found if profile == ALL else found[profile])
    return "\n\n".join("\n".join(_text_lines(one)) for one in found.values())


def _profiles(profile: str) -> list[str]:
    return profile_names() if profile == ALL else [get_profile(profile).name]


def _summary(found: Mapping[str, Any]) -> str:
    if len(found["wer"]) == 1:
        return f"WER {found['wer'][0]:.2f} %, CER {found['cer']:.2f} %."
    return f"AV-WER {found['av_wer']:.2f} %, MR-WER {found['mr_wer']:.2f} %."


def _text_lines(found: Mapping[str, Any]) -> Iterable[str]:
    several, rates = len(found["wer"]) > 1, told_rates(found)
    yield f"Profile {found['profile']}, {found['utterances']} utterances scored."
    if left_out := [f"{count} {_REASONS[name]}" for name, count in found["ids"].items() if count]:
        yield f"Left out: {', '.join(left_out)}."
    if found["marks"]["utterances"]:
        yield (
            f"{found['marks']['utterances']} references have alternatives or optional words, read "
            f"as sclite -D does; {found['marks']['not_said']} optional words were not said and "
            "count as correct."
        )
    yield from (f"Note: {note}." for note in found["notes"])
    yield ""
    titles = [f"WER against {name}" for name in found["references"]] + [*map(title_of, rates)]
    values = found["wer"] + [found[name] for name in rates]
    spans = found["intervals"]["wer"] + [found["intervals"][name] for name in rates]
    width = max(map(len, titles))
    for title, value, (first, *_) in zip(titles, values, spans, strict=True):
        interval = f"[{first['low']:.2f}, {first['high']:.2f}]"
        yield f"{title:<{width}}  {value:6.2f} %  {interval}  {first['method']}"
    if several:
        listed = ", ".join(f"{value:.2f}" for value in found["authors_costs"]["wer"])
        mean = found["authors_costs"]["av_wer"]
        yield f"\nWith substitution cost 2, the MR-WER way: {listed}; mean {mean:.2f} %"
    counts = ", ".join(f"{found[name]} {name}" for name in ("ins", "del", "sub", "cor"))
    yield f"\n{title_of(found['counts_of'])}'s counts: {counts}"
    for name, rows in found.get("groups", {}).items():
        table: list[tuple[str, ...]] = [("", "WER", *map(title_of, rates), *_COUNTS)]
        for value, row in rows.items():
            figures = [" / ".join(map(_rate, row["wer"])), *(_rate(row[rate]) for rate in rates)]
            table.append((value, *figures, *(str(row[key]) for key in _COUNTS)))
        yield "\n".join(["", f"By {name}", *columns(table)])


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _comparison(
    found: Systems, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> Iterable[str]:
    better = "higher" if about["higher_is_better"] else "lower"
    profile = f", text profile {about['profile']}" if about["profile"] else ""
    yield (
        f"{about['metric']} in {about['unit']}, {better} is better{profile}; "
        f"{about['utterances']} utterances.\n"
    )
    table = [("system", "rank", about["metric"], "to the best", "95 % interval", "p-value")]
    for place, row in enumerate(rows):
        to = row["to_best"]
        span = f"[{to['low']:+.2f}, {to['high']:+.2f}]"
        cells = (f"{to['difference']:+.2f}", span, f"{to['p_value']:.4f}")
        own = (row["name"], str(row["rank"]), f"{row['value']:.2f}")
        table.append((*own, *(cells if place else ("", "", ""))))
    yield from (line.rstrip() for line in columns(table))
    yield f"\nRank: 1 + the number of systems that are better with p < {SIGNIFICANT}."
    yield f"Intervals and p-values: {found.method}."
    if len(rows) == _FEWEST:
        yield f"\n{_sentence(found, about['metric'])}"


def _sentence(found: Systems, metric: str) -> str:
    first, second = found.names
    p_value = found.p_values[0, 1]
    how = (
        f"{metric} of {first} minus {metric} of {second} is {found.differences[0, 1]:+.2f} points, "
        f"95 % interval {found.low[0, 1]:+.2f} to {found.high[0, 1]:+.2f}, p = {p_value:.4f}"
    )
    if p_value < SIGNIFICANT:
        return f"{first} is better than {second}: {how}."
    return f"These data cannot tell {first} and {second} apart: {how}."


def _metric_lines(scores: Mapping[str, Metric]) -> list[str]:
    width = max(map(len, scores))
    lines = []
    for name, score in scores.items():
        found = score.interval
        span = f"  [{found.low:.2f}, {found.high:.2f}]  {found.method}" if found else ""
        lines.append(f"{name:<{width}}  {score.value:6.2f} {score.unit}{span}")
    return lines
