"""What `harness-bench score` prints and writes: texts, classes, and comparisons of systems."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness_bench.core.log import bar
from harness_bench.core.tables import columns
from harness_bench.results.predictions import (
    ClassPrediction,
    TextCounts,
    TextPrediction,
    read_predictions,
    write_predictions,
)
from harness_bench.results.record import Interval, Metric
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
from harness_bench.scoring.score import (
    Against,
    comparable,
    default_metric,
    read_systems,
    read_texts,
)
from harness_bench.scoring.systems import SIGNIFICANT, Systems, compare_systems
from harness_bench.scoring.texts.alignment import check_view, write_alignment
from harness_bench.scoring.texts.joining import (
    CODE_SWITCHED,
    GROUP,
    annotators,
    check_ids,
    joined_rows,
)
from harness_bench.scoring.texts.score import (
    Grouping,
    TranscriptFiles,
    all_metrics,
    grouping_of,
    read_joined,
    require_words,
    score_counts,
    score_joined,
    score_profiles,
    shared_counts,
    title_of,
    told_rates,
)
from harness_bench.scoring.texts.unscorable import check_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.scoring.publish import Template
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
    files: TranscriptFiles,
    *,
    profile: str,
    grouping: Grouping,
    view: Path | None = None,
    counts: Path | None = None,
    publish_as: tuple[Template, Path] | None = None,
    as_json: bool,
) -> str:
    """Score files of transcripts under one profile or all; nothing is written on bad input.

    `view` shows the alignments, and `counts` is a file of `TextCounts`, without transcripts.
    `publish_as` is what the files do not tell of a result, and the folder of results.
    """
    check_ids(files.ids)
    check_rule(files.unscorable)
    profiles = _profiles(profile)
    if view is not None:
        check_view(view)
        if len(profiles) > 1:
            raise ValueError("--align shows one text profile; name it instead of `all`.")
    joined = read_joined(files)
    found, report = _joined_report(joined, profile, grouping, view=view, as_json=as_json)
    if publish_as is not None:
        from harness_bench.scoring.publish import publish_joined  # noqa: PLC0415 - for it alone

        main = DEFAULT_PROFILE if profile == ALL else profiles[0]
        path = publish_joined(
            joined, *publish_as, found, profile=main, also=profiles, grouping=grouping
        )
        report += "" if as_json else f"\n\nResult: {path}"
    if counts is not None:
        write_predictions(counts, shared_counts(joined, profiles, grouping))
    return report


def text_report(
    predictions: Path,
    *,
    profile: str,
    unscorable: str = "none",
    counts: Path | None = None,
    as_json: bool,
) -> str:
    """Score a file of `TextPrediction`, a manifest, or counts that were shared.

    Several annotators are reported as files of references.
    """
    check_rule(unscorable)
    rows: Sequence[TextPrediction | TextCounts] = read_texts(predictions)
    shared = [row for row in rows if isinstance(row, TextCounts)]
    texts = [row for row in rows if isinstance(row, TextPrediction)]
    if shared:
        if counts is not None or unscorable != "none":
            raise ValueError(f"{predictions} holds counts; --counts and --unscorable need texts.")
        found, wordless = score_counts(shared, profile)
        return _figures_report(found, profile, [*wordless.values()], as_json=as_json)
    joined = replace(joined_rows(texts), unscorable=unscorable)
    profiles = _profiles(profile)
    if annotators(texts):
        _, report = _joined_report(joined, profile, Grouping(), as_json=as_json)
    else:
        found, wordless = score_profiles(joined, _shown(profiles), Grouping(cluster=GROUP))
        require_words(found, wordless)
        report = _figures_report(found, profile, [*wordless.values()], as_json=as_json)
    if counts is not None:
        tags = tuple(
            name for name in grouping_of(texts).groups if name not in (CODE_SWITCHED, GROUP)
        )
        grouping = Grouping(groups=tags, cluster=GROUP)
        write_predictions(counts, shared_counts(joined, profiles, grouping))
    return report


def _figures_report(
    found: Mapping[str, Mapping[str, Any]], profile: str, wordless: Sequence[str], *, as_json: bool
) -> str:
    """Report the metrics that results carry; of all profiles by metric and profile."""
    first = next(iter(found))
    scores = all_metrics(found)
    if profile == ALL:
        scores = {name if "_" in name else f"{name}_{first}": one for name, one in scores.items()}
    notes = [f"{note}." for one in found.values() for note in _notes(one)] + [*wordless]
    if as_json:
        said = {"notes": notes} if notes else {}
        return _json({name: score.model_dump() for name, score in scores.items()} | said)
    return "\n".join([*_metric_lines(scores), *(f"Note: {note}" for note in notes)])


def _notes(found: Mapping[str, Any]) -> list[str]:
    """List what a reader of the figures under one profile should know."""
    notes = list(found.get("notes", []))
    left_out = found.get("unscorable")  # counts that were shared say nothing of it
    if left_out and left_out["utterances"]:
        rule = (
            f"{left_out['utterances']} utterances left out under {found['profile']}, whose "
            f"references the rule {left_out['rule']} names unscorable"
        )
        notes.insert(0, rule)
    return notes


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
    against: Against | None = None,
    as_json: bool = False,
) -> str:
    """Compare two files or more of predictions of the same utterances, best first.

    `against` has the references where the files are hypotheses alone.
    """
    systems = read_systems(paths, names, against)
    metric = metric or default_metric(systems)
    plugin = get_metric(metric)
    rows_of, known, label = comparable(systems, metric, profile)
    found = compare_systems(rows_of, metric=metric, profile=profile, known=known)
    called = dict(zip(systems, map(str, paths), strict=True))
    about = {
        "metric": metric,
        "unit": plugin.unit,
        "higher_is_better": plugin.higher_is_better,
        "profile": label,
        "utterances": len(systems[found.names[0]]),
        "method": found.method,
        "clusters": found.clusters,
        "claims_possible": found.decidable,
        "smallest_p": found.smallest_p,
    }
    tables = ("differences", "low", "high", "p_values", "p_holm")
    pairs = {name: getattr(found, name).tolist() for name in tables}
    rows = [
        {"name": name, "file": called[name], "value": value, "rank": rank}
        | {"rank_interval": [rank, found.last_ranks[place]]}
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
) -> tuple[dict[str, dict[str, Any]], str]:
    """Return profile -> figures, and what is printed of them."""
    if profile != ALL:
        (name,) = _profiles(profile)
        scores, one = score_joined(joined, name, grouping)
        if view is not None:
            write_alignment(view, scores, _summary(one))
        return {name: one}, _json(one) if as_json else "\n".join(_text_lines(one))
    found, wordless = score_profiles(joined, _shown(profile_names()), grouping)
    require_words(found, wordless)
    if as_json:
        return found, _json(found | {name: {"notes": [why]} for name, why in wordless.items()})
    parts = ["\n".join(_text_lines(one)) for one in found.values()]
    return found, "\n\n".join([*parts, *(f"Note: {why}" for why in wordless.values())])


def _shown(profiles: Sequence[str]) -> Iterable[str]:
    return bar(profiles, title="Scoring", unit="profile") if len(profiles) > 1 else profiles


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
    yield from (f"Note: {note}." for note in _notes(found))
    yield ""
    titles = [f"WER against {name}" for name in found["references"]] + [*map(title_of, rates)]
    values = found["wer"] + [found[name] for name in rates]
    spans = found["intervals"]["wer"] + [found["intervals"][name] for name in rates]
    width = max(map(len, titles))
    for title, value, (first, *_) in zip(titles, values, spans, strict=True):
        span = Interval(**{key: first[key] for key in ("low", "high", "method")})
        yield f"{title:<{width}}  {value:6.2f} %  {_written(span)}"
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
    one_pair = len(rows) == _FEWEST
    head = ("system", "rank", about["metric"], "to the best", "95 % interval", "p")
    table = [head if one_pair else (*head, "p, Holm")]
    for place, row in enumerate(rows):
        to, (first, last) = row["to_best"], row["rank_interval"]
        span = "not known" if found.too_few else f"[{to['low']:+.2f}, {to['high']:+.2f}]"
        values = (to["p_value"],) if one_pair else (to["p_value"], to["p_holm"])
        cells = (f"{to['difference']:+.2f}", span, *(f"{value:.4f}" for value in values))
        own = (row["name"], rank_range(first, last), f"{row['value']:.2f}")
        table.append((*own, *(cells if place else [""] * len(cells))))
    yield from (line.rstrip() for line in columns(table))
    corrected = "p" if one_pair else "p by Holm"
    yield (
        f"\nRank: from 1 + the number of systems that are better with {corrected} < {SIGNIFICANT}, "
        "to the number of systems that are not worse."
    )
    yield f"{found.method[0].upper()}{found.method[1:]}."
    if one_pair:
        yield f"\n{_sentence(found, about['metric'])}"
    elif not found.decidable:
        yield "\nNo difference between these systems can be significant."


def rank_range(first: int, last: int) -> str:
    """Write the ranks that a system may have: 1-4, or 2."""
    return str(first) if first == last else f"{first}-{last}"


def _sentence(found: Systems, metric: str) -> str:
    first, second = found.names
    p_value = found.p_values[0, 1]
    span = f"95 % interval {found.low[0, 1]:+.2f} to {found.high[0, 1]:+.2f}, "
    how = (
        f"{metric} of {first} minus {metric} of {second} is {found.differences[0, 1]:+.2f} points, "
        f"{'' if found.too_few else span}p = {p_value:.4f}"
    )
    if p_value < SIGNIFICANT:
        return f"{first} is better than {second}: {how}."
    if not found.decidable:
        how += f"; {found.clusters} clusters allow no p below {found.smallest_p:.3g}, and no claim"
    return f"{first} and {second} do not differ significantly: {how}."


def _written(span: Interval) -> str:
    return f"{span.text(2) or 'no interval:'}  {span.method}"


def _metric_lines(scores: Mapping[str, Metric]) -> list[str]:
    width = max(map(len, scores))
    lines = []
    for name, score in scores.items():
        span = f"  {_written(score.interval)}" if score.interval else ""
        lines.append(f"{name:<{width}}  {score.value:6.2f} {score.unit}{span}")
    return lines
