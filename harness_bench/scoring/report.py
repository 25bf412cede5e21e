"""What `harness-bench score asr --hyp H --ref R` prints and writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_jsonl
from harness_bench.core.tables import columns
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.scoring.classes.readers import read_table, read_with_cuts
from harness_bench.scoring.classes.score import confusion, score_classes
from harness_bench.scoring.classes.tables import (
    BINS,
    calibration_error,
    check_picture,
    per_class,
    plot_confusion,
)
from harness_bench.scoring.registry import (
    DEFAULT_PROFILE,
    get_metric,
    get_profile,
    profile_names,
)
from harness_bench.scoring.systems import SIGNIFICANT, Systems, compare_systems
from harness_bench.scoring.texts.alignment import check_view, write_alignment
from harness_bench.scoring.texts.joining import annotators, check_ids, joined_rows
from harness_bench.scoring.texts.score import (
    Grouping,
    TranscriptFiles,
    read_joined,
    score_joined,
    score_texts,
    title_of,
    told_rates,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results.record import Metric
    from harness_bench.scoring.classes.score import Confusion
    from harness_bench.scoring.classes.tables import ClassFigures
    from harness_bench.scoring.texts.joining import Joined

ALL = "all"
_REASONS = {
    "missing": "without a hypothesis", "extra": "hypotheses without a reference",
    "unreferenced": "that some reference lacks", "duplicate": "given twice",
    "ignored": "ignored as the STM says", "words_outside": "words outside every segment",
}  # fmt: skip
_COUNTS = ("cor", "sub", "del", "ins", "utterances")


def asr_report(
    files: TranscriptFiles, *, profile: str, grouping: Grouping, view: Path | None, as_json: bool
) -> str:
    """Score files of transcripts under one profile, or under all of them.

    Raises:
        ValueError: whatever is wrong with the files or the options, before anything is written.
    """
    check_ids(files.ids)
    profiles = _profiles(profile)
    if view is not None:
        check_view(view)
        if len(profiles) > 1:
            raise ValueError("--align shows one text profile; name it instead of `all`.")
    return joined_report(read_joined(files), profile, grouping, view=view, as_json=as_json)


def joined_report(
    joined: Joined, profile: str, grouping: Grouping, *, view: Path | None = None, as_json: bool
) -> str:
    """Score joined texts under one profile, or under all of them, as `asr_report` does."""
    profiles = _profiles(profile)
    found: dict[str, dict[str, Any]] = {}
    for name in profiles:
        scores, found[name] = score_joined(joined, name, grouping)
        if view is not None:
            write_alignment(view, scores, _summary(found[name]))
    if as_json:
        return json.dumps(found if profile == ALL else found[profile], indent=2, ensure_ascii=False)
    return "\n\n".join(map(_as_text, found.values()))


def _profiles(profile: str) -> list[str]:
    return profile_names() if profile == ALL else [get_profile(profile).name]


def _summary(found: Mapping[str, Any]) -> str:
    """Say the main rates in one line."""
    if len(found["wer"]) == 1:
        return f"WER {found['wer'][0]:.2f} %, CER {found['cer']:.2f} %."
    return f"AV-WER {found['av_wer']:.2f} %, MR-WER {found['mr_wer']:.2f} %."


def _as_text(found: Mapping[str, Any]) -> str:
    """Lay out the figures of one profile for people."""
    lines = [f"Profile {found['profile']}, {found['utterances']} utterances scored."]
    left_out = [f"{count} {_REASONS[name]}" for name, count in found["ids"].items() if count]
    lines += [f"Left out: {', '.join(left_out)}."] if left_out else []
    lines += ["", *_rates(found)]
    several = len(found["wer"]) > 1
    if several:
        costs = found["authors_costs"]
        listed = ", ".join(f"{value:.2f}" for value in costs["wer"])
        lines += [
            "",
            f"With substitution cost 2, the MR-WER way: {listed}; mean {costs['av_wer']:.2f} %",
        ]
    lines += [
        "",
        (
            f"{'MR-WER' if several else 'WER'}'s counts: {found['ins']} ins, {found['del']} del, "
            f"{found['sub']} sub, {found['cor']} cor"
        ),
    ]
    for name, rows in found.get("groups", {}).items():
        lines += ["", f"By {name}", *_table(rows, told_rates(found))]
    return "\n".join(lines)


def _rates(found: Mapping[str, Any]) -> list[str]:
    """List each rate with its default interval."""
    known = found["intervals"]
    rows = [
        (f"WER against {name}", value, interval)
        for name, value, interval in zip(
            found["references"], found["wer"], known["wer"], strict=True
        )
    ]
    rows += [(title_of(name), found[name], known[name]) for name in told_rates(found)]
    width = max(len(title) for title, *_ in rows)
    return [
        f"{title:<{width}}  {value:6.2f} %  [{first['low']:.2f}, {first['high']:.2f}]  "
        f"{first['method']}"
        for title, value, (first, *_) in rows
    ]


def _table(rows: Mapping[str, Mapping[str, Any]], rates: Sequence[str]) -> list[str]:
    """Write one line per group."""
    cells: list[tuple[str, ...]] = [("", "WER", *map(title_of, rates), *_COUNTS)]
    for name, row in rows.items():
        wer = " / ".join(map(_rate, row["wer"]))
        counts = [str(row[key]) for key in _COUNTS]
        cells.append((name, wer, *(_rate(row[key]) for key in rates), *counts))
    return columns(cells)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


_FEWEST = 2  # systems to compare


def compare_report(
    paths: Sequence[Path],
    *,
    names: Sequence[str] = (),
    metric: str | None = None,
    profile: str | None = None,
    as_json: bool = False,
) -> str:
    """Compare files of predictions of the same utterances, best first.

    Args:
        paths: two files or more, all `ClassPrediction` or all `TextPrediction`.
        names: of the systems, as many as files; default: what the paths do not share.
        metric: default `accuracy` or `wer`.
        profile: of a text metric; default `mgb2`.
        as_json: print one object instead of a table.

    Raises:
        ValueError: a broken file, files of different utterances or kinds, names that do not fit.
    """
    called: dict[str, Path] = dict(zip(_names(paths, names), paths, strict=True))
    classes = _is_classes(paths[0])
    metric = metric or ("accuracy" if classes else "wer")
    profile = profile if classes else profile or DEFAULT_PROFILE
    systems: dict[str, list[ClassPrediction]] | dict[str, list[TextPrediction]] = (
        _read(called, ClassPrediction) if classes else _read(called, TextPrediction)
    )
    plugin = get_metric(metric)
    found = compare_systems(systems, metric=metric, profile=profile)
    about = {
        "metric": metric,
        "unit": plugin.unit,
        "higher_is_better": plugin.higher_is_better,
        "profile": get_profile(profile).label if profile else None,
        "utterances": len(systems[found.names[0]]),
        "method": found.method,
    }
    if as_json:
        return json.dumps(_whole(found, about, called), indent=2, ensure_ascii=False)
    return "\n".join(_lines(found, about))


def _names(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return one name per file: those given, or the parts of the paths that are not shared."""
    if len(paths) < _FEWEST:
        raise ValueError(f"{len(paths)} file to compare; give two or more.")
    if folders := [path for path in paths if path.is_dir()]:
        raise ValueError(f"{folders[0]} is a folder; name a file of predictions.")
    if names and len(names) != len(paths):
        raise ValueError(
            f"--name is given {len(names)} times for {len(paths)} files; once per file, please."
        )
    found = list(names) or _unshared([path.with_suffix("").parts for path in paths])
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise ValueError(f"Two systems are called {twice[0]!r}; tell them apart with --name.")
    return found


def _unshared(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """Drop the parts that all paths begin and end with; at least one of each path stays."""
    most = min(map(len, parts)) - 1
    start = 0
    while start < most and len({one[start] for one in parts}) == 1:
        start += 1
    end = 0
    while end < most - start and len({one[-1 - end] for one in parts}) == 1:
        end += 1
    return ["/".join(one[start : len(one) - end]) for one in parts]


def _is_classes(path: Path) -> bool:
    """Tell by the first line whether a file holds predicted classes or texts."""
    row: Any = next(read_jsonl(path), None)
    keys = set(row) if isinstance(row, dict) else set()
    if not keys & {"truth", "ref"}:
        raise ValueError(
            f"{path} holds no predictions: a line of classes has `id`, `truth`, `pred`, `probs` "
            "and `group`, one of texts `id`, `ref`, `hyp` and `group`; see docs/scoring.md."
        )
    return "truth" in keys


def _read[P: (ClassPrediction, TextPrediction)](
    paths: Mapping[str, Path], kind: type[P]
) -> dict[str, list[P]]:
    return {name: read_predictions(path, kind) for name, path in paths.items()}


def _lines(found: Systems, about: Mapping[str, Any]) -> list[str]:
    """Lay out the table for people, and for two systems the answer in words."""
    better = "higher" if about["higher_is_better"] else "lower"
    profile = f", text profile {about['profile']}" if about["profile"] else ""
    rows = [("system", "rank", about["metric"], "to the best", "95 % interval", "p-value")]
    for place, (name, rank, value) in enumerate(
        zip(found.names, found.ranks, found.values, strict=True)
    ):
        difference = _to_best(found, place)
        span = f"[{difference['low']:+.2f}, {difference['high']:+.2f}]"
        cells = (f"{difference['difference']:+.2f}", span, f"{difference['p_value']:.4f}")
        rows.append((name, str(rank), f"{value:.2f}", *(cells if place else ("", "", ""))))
    return [
        (
            f"{about['metric']} in {about['unit']}, {better} is better{profile}; "
            f"{about['utterances']} utterances."
        ),
        "",
        *(line.rstrip() for line in columns(rows)),
        "",
        f"Rank: 1 + the number of systems that are better with p < {SIGNIFICANT}.",
        f"Intervals and p-values: {found.method}.",
        *(["", _sentence(found, about)] if len(found.names) == _FEWEST else []),
    ]


def _sentence(found: Systems, about: Mapping[str, Any]) -> str:
    """Say of two systems which one is better, or that nobody can know."""
    first, second = found.names
    metric, p_value = about["metric"], found.p_values[0, 1]
    how = (
        f"{metric} of {first} minus {metric} of {second} is {found.differences[0, 1]:+.2f} points, "
        f"95 % interval {found.low[0, 1]:+.2f} to {found.high[0, 1]:+.2f}, p = {p_value:.4f}"
    )
    if p_value < SIGNIFICANT:
        return f"{first} is better than {second}: {how}."
    return f"These data cannot tell {first} and {second} apart: {how}."


def _to_best(found: Systems, place: int) -> dict[str, float]:
    """Return a system's difference to the first one, how sure it is, and its p-value."""
    tables = ("low", "high", "p_values")
    low, high, p_value = (float(getattr(found, name)[place, 0]) for name in tables)
    difference = float(found.differences[place, 0])
    return {"difference": difference, "low": low, "high": high, "p_value": p_value}


def _whole(found: Systems, about: Mapping[str, Any], paths: Mapping[str, Path]) -> dict[str, Any]:
    """Return what `--json` prints: systems best first, then all pairs in that order."""
    systems = [
        {"name": name, "file": str(paths[name]), "value": value, "rank": rank}
        | {"to_best": _to_best(found, place)}
        for place, (name, rank, value) in enumerate(
            zip(found.names, found.ranks, found.values.tolist(), strict=True)
        )
    ]
    tables = ("differences", "low", "high", "p_values")
    return {
        **about,
        "systems": systems,
        "pairs": {name: getattr(found, name).tolist() for name in tables},
    }


_WIDEST = 12  # classes of a confusion matrix in print


def class_report(predictions: Path, *, as_json: bool, plot: Path | None = None) -> str:
    """Score a file of `ClassPrediction`."""
    return class_rows_report(
        lambda: (read_predictions(predictions, ClassPrediction), {}), as_json=as_json, plot=plot
    )


def table_report(table: Path, *, as_json: bool, plot: Path | None = None) -> str:
    """Score a table of id, truth and prediction."""
    return class_rows_report(lambda: (read_table(table), {}), as_json=as_json, plot=plot)


def cuts_report(
    pred: Path, cuts: Path, field: str | None, *, ids: str, as_json: bool, plot: Path | None = None
) -> str:
    """Score predictions whose truth is a field of prepared cuts."""
    return class_rows_report(
        lambda: read_with_cuts(pred, cuts, field, ids), as_json=as_json, plot=plot
    )


def class_rows_report(
    read: Callable[[], tuple[list[ClassPrediction], dict[str, int]]],
    *,
    as_json: bool,
    plot: Path | None,
) -> str:
    """Score what `read` gives: metrics with intervals, calibration, classes, confusion."""
    if plot is not None:
        check_picture(plot)
    rows, left_out = read()
    scores = score_classes(rows)
    error = calibration_error(rows)
    found = confusion(rows)
    classes = per_class(found)
    if plot is not None:
        plot_confusion(rows, plot)
    if as_json:
        whole = {name: score.model_dump() for name, score in scores.items()} | {
            "ece": error,
            "classes": {label: vars(figures) for label, figures in classes.items()},
            "confusion": {"labels": found.labels, "counts": found.counts.tolist()},
            "utterances": len(rows),
            "ids": left_out,
        }
        return json.dumps(whole, indent=2, ensure_ascii=False)
    lines = [_render(scores, as_json=False)]
    lines += (
        [] if error is None else [f"{'ece':<{max(map(len, scores))}}  {error:6.2f} %  {BINS} bins"]
    )
    unjoined = [f"{count} {reason}" for reason, count in left_out.items() if count]
    lines += [f"Left out: {', '.join(unjoined)}."] if unjoined else []
    return "\n".join([*lines, "", *_class_table(classes), "", *_matrix(found)])


def text_report(predictions: Path, *, profile: str, as_json: bool) -> str:
    """Score a file of `TextPrediction` under one text profile, or under all of them.

    Rows with the references of several annotators are reported as files of references are.
    """
    rows = read_predictions(predictions, TextPrediction)
    if annotators(rows):
        return joined_report(joined_rows(rows), profile, Grouping(), as_json=as_json)
    if profile != ALL:
        return _render(score_texts(rows, profile=profile), as_json=as_json)
    first, *others = profile_names()
    scores = score_texts(rows, profile=first, also=others)
    named = {name if "_" in name else f"{name}_{first}": score for name, score in scores.items()}
    return _render(named, as_json=as_json)


def _render(scores: Mapping[str, Metric], *, as_json: bool) -> str:
    if as_json:
        return json.dumps({name: score.model_dump() for name, score in scores.items()}, indent=2)
    width = max(map(len, scores))
    return "\n".join(f"{name:<{width}}  {_line(score)}" for name, score in scores.items())


def _line(score: Metric) -> str:
    text = f"{score.value:6.2f} {score.unit}"
    if score.interval is None:
        return text
    found = score.interval
    return f"{text}  [{found.low:.2f}, {found.high:.2f}]  {found.method}"


def _class_table(classes: Mapping[str, ClassFigures]) -> list[str]:
    """Write one line per class."""
    cells = [("class", "precision", "recall", "F1", "support")]
    for label, one in classes.items():
        rates = [
            "-" if rate is None else f"{rate:.2f}" for rate in (one.precision, one.recall, one.f1)
        ]
        cells.append((label, rates[0], rates[1], rates[2], str(one.support)))
    return columns(cells)


def _matrix(found: Confusion) -> list[str]:
    """Write the confusion matrix, or of many classes the most frequent confusions."""
    rows = list(zip(found.labels, found.counts.tolist(), strict=True))
    cells: list[tuple[str, ...]]
    if len(rows) <= _WIDEST:
        cells = [("true \\ predicted", *found.labels)]
        return columns([*cells, *((label, *map(str, counts)) for label, counts in rows)])
    wrong = [
        (count, true, guess)
        for true, counts in rows
        for guess, count in zip(found.labels, counts, strict=True)
        if count and true != guess
    ]
    top = sorted(wrong, key=lambda one: (-one[0], *one[1:]))[:_WIDEST]
    cells = [("most frequent confusions", "predicted", "times")]
    return columns([*cells, *((true, guess, str(count)) for count, true, guess in top)])
