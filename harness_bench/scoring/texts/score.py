"""The one scorer of texts: every text metric of the registry, against one reference or several."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.scoring.bootstrap import cluster_sums, intervals
from harness_bench.scoring.registry import DEFAULT_PROFILE, get_metric, get_profile, metric_names
from harness_bench.scoring.statistics import (
    DELETIONS,
    HITS,
    INSERTIONS,
    SUBSTITUTIONS,
    Array,
    error_rate,
    text_statistics,
)
from harness_bench.scoring.texts.counts import (
    counts_to_share,
    counts_under,
    joined_counts,
    labels_of,
)
from harness_bench.scoring.texts.formats import Source, open_source, read_all
from harness_bench.scoring.texts.joining import (
    CODE_SWITCHED,
    GROUP,
    annotators,
    clusters,
    group_values,
    join,
    joined_rows,
    resolve,
)
from harness_bench.scoring.texts.look_alikes import look_alikes, told
from harness_bench.scoring.texts.multiref import MultiReferenceScores, score_multi_reference
from harness_bench.scoring.texts.unscorable import scorable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results.predictions import TextCounts, TextPrediction
    from harness_bench.results.record import Metric
    from harness_bench.scoring.registry import MetricPlugin
    from harness_bench.scoring.texts.formats import SourceReadings
    from harness_bench.scoring.texts.joining import Joined

AGAINST = "wer_against_"  # and the annotator: the WER against that one alone
MAIN = ("wer", "mr_wer")  # ranks: against one reference, against several
_EACH = "wer"  # reported against each reference; other text metrics as means over them
_FIRST = ("av_wer", "mr_wer", "cer")  # in reports; metrics that are dropped in follow
_FIRST_IN_RESULTS = ("wer", "mr_wer", "av_wer", "cer", "av_cer")  # the one that ranks leads
_COUNTS = {"ins": INSERTIONS, "del": DELETIONS, "sub": SUBSTITUTIONS, "cor": HITS}


class WordlessError(ValueError):
    """A text profile that leaves no word in a reference: there is no rate of it."""


@dataclass(frozen=True, kw_only=True)
class TranscriptFiles:
    """What to read, and how."""

    hypothesis: Path
    references: tuple[Path, ...]
    formats: tuple[str, ...] = ("auto",)  # one for all, or one per file, the hypothesis first
    encodings: tuple[str, ...] = ("auto",)  # the same
    ids: str = "strict"
    unscorable: str = "none"  # rule of `unscorable`


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """By what to group, and whose errors hang together; see `joining.group_values`."""

    groups: tuple[str, ...] = ()
    cluster: str | None = None


def grouping_of(rows: Sequence[TextPrediction]) -> Grouping:
    """Group by every tag of the rows, by script, and by clusters where some hold several rows."""
    tags = sorted({name for row in rows for name in row.tags})
    clustered = [GROUP] if len({row.group for row in rows}) < len(rows) else []
    return Grouping(groups=(*tags, CODE_SWITCHED, *clustered), cluster=GROUP)


def read_joined(
    files: TranscriptFiles, open_reference: Callable[[Source], SourceReadings] = open_source
) -> Joined:
    """Read and join all files; `open_reference` may keep references for the next hypothesis."""
    paths = [files.hypothesis, *files.references]
    formats = _one_each("--format", files.formats, len(paths))
    encodings = _one_each("--encoding", files.encodings, len(paths))
    roles = ["hyp", *["ref"] * len(files.references)]
    first, *others = map(Source, paths, formats, encodings, roles)
    hypothesis, *references = read_all([first, *map(open_reference, others)])
    return replace(join(hypothesis, references, files.ids), unscorable=files.unscorable)


def score_joined(
    joined: Joined, profile: str, grouping: Grouping
) -> tuple[MultiReferenceScores, dict[str, Any]]:
    """Score under one profile -> counts per utterance, and the object that `--json` prints."""
    chosen, told_of = _chosen(joined, get_profile(profile).normalise)
    scores = score_multi_reference(chosen.hypotheses, chosen.references, profile=profile)
    found = figures_of(counts_of(scores), scores.ids, chosen, scores.profile, grouping)
    notes = [*joined.notes, *told(told_of["look_alikes"], scores.profile)]
    return scores, found | {"ids": joined.left_out, **told_of, "notes": notes}


def score_profiles(
    joined: Joined, profiles: Iterable[str], grouping: Grouping
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Score under some profiles.

    Returns profile -> figures, and profiles without a word in a reference -> why they have none.
    """
    found: dict[str, dict[str, Any]] = {}
    wordless: dict[str, str] = {}
    for name in profiles:
        try:
            found[name] = score_joined(joined, name, grouping)[1]
        except WordlessError as error:
            wordless[name] = str(error)
    return found, wordless


def require_words(found: Mapping[str, object], wordless: Mapping[str, str]) -> None:
    """Raise a `WordlessError` where no profile leaves a word in a reference."""
    if wordless and not found:
        raise WordlessError(next(iter(wordless.values())))


def _chosen(joined: Joined, normalise: Callable[[str], str]) -> tuple[Joined, dict[str, Any]]:
    """Return the texts that a profile scores, and what reports tell of those it found."""
    kept, left_out = scorable(joined, joined.unscorable, normalise)
    chosen, not_said = resolve(kept, normalise)
    return chosen, {
        "unscorable": {"rule": joined.unscorable, "utterances": left_out},
        "marks": {"utterances": len(kept.marked), "not_said": not_said},
        "look_alikes": look_alikes(chosen, normalise),
    }


def shared_counts(joined: Joined, profiles: Iterable[str], grouping: Grouping) -> list[TextCounts]:
    """Count each utterance under some profiles, to be shared without its transcripts."""
    counted = {}
    for name in profiles:
        chosen, _ = _chosen(joined, get_profile(name).normalise)
        scores = score_multi_reference(chosen.hypotheses, chosen.references, profile=name)
        counted[scores.profile] = scores.ids, counts_of(scores)
    tags = dict(group_values(spec, joined) for spec in grouping.groups)
    groups = clusters(grouping.cluster, joined)
    return counts_to_share(counted, list(joined.references), groups, tags)


def counts_of(scores: MultiReferenceScores) -> Array:
    """Return the counts of each utterance (N, 1 + 3 R, 4): what metrics read, the authors' last."""
    authors = np.stack([*scores.single.values()], axis=1)
    return np.concatenate([scores.statistics, authors], axis=1)


def figures_of(
    counts: Array, ids: Sequence[str], joined: Joined, label: str, grouping: Grouping
) -> dict[str, Any]:
    """Make figures, intervals and groups of the counts of utterances (N, 1 + 3 R, 4)."""
    many = len(joined.references)
    rates = _rates(many)
    found = _figures(counts.sum(axis=0), len(counts), rates) | {
        "references": list(joined.references),
        "profile": label,
    }
    if None in (*found["wer"], *(found[name] for name in rates if name in found)):
        raise WordlessError(
            f"A reference is empty in all {len(ids)} utterances after normalisation by "
            f"{label.partition(' v')[0]!r}. Check the transcripts or choose another text profile."
        )
    of = clusters(grouping.cluster, joined)
    spans = intervals(
        counts[:, : 1 + 2 * many],
        [of[key] for key in ids],
        rates,
    )
    plain = {name: [one.model_dump() for one in ones] for name, ones in spans.items()}
    found["intervals"] = {"wer": [plain.pop(_each(n)) for n in range(many)], **plain}
    if grouping.groups:
        found["groups"] = {}
        for name, values in (group_values(spec, joined) for spec in grouping.groups):
            own = [values[key] for key in ids]
            sizes = Counter(own)
            sums = zip(sorted(sizes), cluster_sums(counts, own), strict=True)
            found["groups"][name] = {
                value: _figures(totals, sizes[value], rates) for value, totals in sums
            }
    return found


def score_counts(
    rows: Sequence[TextCounts], profile: str
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Score counts that were shared, under one of the profiles they hold or under `all`.

    Returns what `score_profiles` does; where no profile has figures, that is a `WordlessError`.
    """
    found: dict[str, dict[str, Any]] = {}
    wordless: dict[str, str] = {}
    joined = joined_counts(rows)
    ids, grouping = [*joined.hypotheses], Grouping(cluster=GROUP)
    for name, label in labels_of(rows, profile).items():
        try:
            found[name] = figures_of(counts_under(rows, label), ids, joined, label, grouping)
        except WordlessError as error:
            wordless[name] = str(error)
    require_words(found, wordless)
    return found, wordless


def score_rows(
    rows: Sequence[TextPrediction],
    profile: str = DEFAULT_PROFILE,
    also: Iterable[str] = (),
    grouping: Grouping | None = None,
    unscorable: str = "none",
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Score predictions under a profile and further ones; clusters are the rows' groups.

    Returns profile -> figures, the main one first; and each further profile that leaves no word
    in a reference (of Latin words alone, say) -> why it has no figures. Where the main profile
    does, that is a `WordlessError`.
    """
    joined = replace(joined_rows(rows), unscorable=unscorable)
    grouping = grouping or Grouping(cluster=GROUP)
    # An unknown one fails before any scoring.
    others = dict.fromkeys(get_profile(name).name for name in also if name != profile)
    main = {profile: score_joined(joined, profile, grouping)[1]}
    found, wordless = score_profiles(joined, others, grouping)
    return main | found, wordless


def score_texts(
    rows: Sequence[TextPrediction],
    *,
    profile: str = DEFAULT_PROFILE,
    also: Iterable[str] = (),
) -> dict[str, Metric]:
    """Return every text metric with its intervals; the order of rows does not matter.

    Metrics under the further profiles of `also` are called `wer_<profile>` and so on.
    """
    return all_metrics(score_rows(rows, profile, also, Grouping(cluster=GROUP))[0])


def all_metrics(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """Return what `score_rows` gave as the metrics of a result, `mr_wer_PROFILE` of further ones.

    Against one reference these are the registry's `text` metrics; against several its
    `references` metrics, and `wer_against_NAME` of each annotator under the first profile. `wer`
    is always of one reference. The one that ranks is listed first.
    """
    (_, figures), *others = found.items()
    return _metrics(figures) | {
        f"{name}_{profile}": metric
        for profile, further in others
        for name, metric in _metrics(further).items()
        if not name.startswith(AGAINST)
    }


def _metrics(found: Mapping[str, Any]) -> dict[str, Metric]:
    values, spans = ({**of} for of in (found, found["intervals"]))
    several = len(found["references"]) > 1
    known = metric_names("references" if several else "text")
    names = dict.fromkeys([*(name for name in _FIRST_IN_RESULTS if name in known), *known])
    places = {name: (name, name if name in values else name.removeprefix("av_")) for name in names}
    for number, reference in enumerate(found["references"]):
        key = _each(number)
        values[key], spans[key] = found["wer"][number], found["intervals"]["wer"][number]
        places[AGAINST + reference if several else _EACH] = _EACH, key
    return {
        name: get_metric(plugin).measured(values[key], spans[key])
        for name, (plugin, key) in places.items()
    }


def told_rates(found: Mapping[str, Any]) -> list[str]:
    """List what reports show beside the WER against each reference, in reading order."""
    shown = metric_names(None if len(found["wer"]) > 1 else "text")
    return [name for name in found["intervals"] if name != _EACH and name in shown]


def title_of(name: str) -> str:
    """Write a metric's name for people: MR-WER of `mr_wer`."""
    return name.upper().replace("_", "-")


def row_statistics(rows: Sequence[TextPrediction], profile: str, *, several: bool) -> Array:
    """Normalise and align rows, ordered by id -> (N, 2, 4), or (N, 1 + 2 R, 4) of R references."""
    names = annotators(rows)
    if several and not names:
        raise ValueError(
            "These predictions have one reference; MR-WER and AV-WER need those of two or more "
            "annotators. Take `wer`."
        )
    if names and not several:
        raise ValueError(
            f"{rows[0].id!r} has {len(names)} references ({', '.join(names)}), and `wer` and `cer` "
            "are of one. Take `mr_wer` or `av_wer`."
        )
    if several:
        joined = joined_rows(rows)
        scores = score_multi_reference(joined.hypotheses, joined.references, profile=profile)
        return scores.statistics
    normalise = get_profile(profile).normalise
    pairs = [(normalise(r.ref), normalise(r.hyp)) for r in sorted(rows, key=lambda row: row.id)]
    return text_statistics([ref for ref, _ in pairs], [hyp for _, hyp in pairs])


def _rates(references: int) -> dict[str, MetricPlugin]:
    """Return metrics of totals (..., 1 + 2 R or more, 4) of R references, by name.

    A text metric is averaged over the references, but WER is reported against each. Metrics of
    several references follow, without `av_X` where X is already that mean.
    """

    def mean(name: str, *places: int) -> MetricPlugin:
        plugin, rows = get_metric(name), [[1 + n, 1 + n + references] for n in places]

        def value(totals: Array) -> Array:
            each = [plugin.value(totals[..., row, :]) for row in rows]
            return np.asarray(np.stack(each, -1).mean(-1))

        return replace(plugin, value=value)

    def whole(name: str) -> MetricPlugin:
        plugin = get_metric(name)
        return replace(
            plugin, value=lambda totals: plugin.value(totals[..., : 1 + 2 * references, :])
        )

    every = range(references)
    means = {name: mean(name, *every) for name in metric_names("text") if name != _EACH}
    names = [name for name in metric_names("references") if name.removeprefix("av_") not in means]
    found = means | {name: whole(name) for name in names}
    ordered = dict.fromkeys([*(name for name in _FIRST if name in found), *found])
    return {_each(n): mean(_EACH, n) for n in every} | {name: found[name] for name in ordered}


def _each(place: int) -> str:
    return f"wer {place}"


def _figures(totals: Array, utterances: int, rates: Mapping[str, MetricPlugin]) -> dict[str, Any]:
    """Return rates in percent and counts of totals (1 + 3 R, 4); no words give None.

    `wer` is jiwer's, one per reference, and `av_wer` its mean; `cer` is the mean over references.
    The counts are those of MR-WER, and with a single reference those of its WER. `authors_costs`
    holds the single-reference WERs with the substitution cost 2 of MR-WER's authors.
    """
    many = len(totals) // 3
    values = {name: _known(rate.value(totals)) for name, rate in rates.items()}
    counted = totals[0 if many > 1 else 1]
    single = error_rate(totals[1 + 2 * many :])
    return {
        "wer": [values.pop(_each(place)) for place in range(many)],
        **values,
        **{name: int(counted[place]) for name, place in _COUNTS.items()},
        "counts_of": MAIN[many > 1],
        "authors_costs": {"wer": [_known(one) for one in single], "av_wer": _known(single.mean())},
        "utterances": utterances,
        "words": totals[1 : 1 + many, [HITS, SUBSTITUTIONS, DELETIONS]].sum(1).astype(int).tolist(),
    }


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _one_each(option: str, values: Sequence[str], files: int) -> list[str]:
    if len(values) not in (1, files):
        raise ValueError(
            f"{option} is given {len(values)} times for {files} files; give it once for all of "
            "them, or once per file: the hypothesis first, then the references."
        )
    return list(values) * (files if len(values) == 1 else 1)
