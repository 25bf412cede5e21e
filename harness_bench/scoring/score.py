"""Score and compare predictions however they are given: files, mappings of id to text, or rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_jsonl
from harness_bench.core.log import say
from harness_bench.results.predictions import (
    ClassPrediction,
    TextCounts,
    TextPrediction,
    read_predictions,
)
from harness_bench.scoring.classes import join_truth, score_classes
from harness_bench.scoring.registry import DEFAULT_PROFILE, get_metric, get_profile
from harness_bench.scoring.systems import compare_systems
from harness_bench.scoring.texts.counts import counts_under, labels_of, stand_ins
from harness_bench.scoring.texts.formats import Source, open_source, read_all
from harness_bench.scoring.texts.joining import GROUP, join, joined_rows
from harness_bench.scoring.texts.manifests import is_manifest, read_manifest
from harness_bench.scoring.texts.readers import Transcripts
from harness_bench.scoring.texts.score import (
    Grouping,
    TranscriptFiles,
    all_metrics,
    read_joined,
    score_counts,
    score_joined,
    score_texts,
    shared_counts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_bench.results.record import Metric
    from harness_bench.scoring.statistics import Array
    from harness_bench.scoring.systems import Systems
    from harness_bench.scoring.texts.formats import SourceReadings

type Predictions = Sequence[ClassPrediction] | Sequence[TextPrediction]
type Rows = Predictions | Sequence[TextCounts]
type ById = str | Path | Mapping[str, str]  # a file, or utterance id -> text or label
_FEWEST = 2  # systems to compare


def score(
    predictions: ById,
    *truths: ById,
    classes: bool = False,
    field: str | None = None,
    profile: str = DEFAULT_PROFILE,
    ids: str = "strict",
) -> dict[str, Metric]:
    """Score one system; return metric name -> value with a 95 % interval.

    Args:
        predictions: hypotheses or labels by utterance id; or, without truths, a file that contains
            them: `ClassPrediction` or `TextPrediction` lines, a manifest, or counts.
        truths: references, one per annotator; for classes only one, whose file must be prepared
            cuts. Files of texts may be Kaldi text, trn, STM, CTM or JSON lines.
        classes: score labels instead of texts.
        field: field of the cuts with the true label; default: the one that fits.
        profile: text normalisation profile.
        ids: strict: all files must have the same ids; common: score the ids that all have.
    """
    given, *known = (
        one if isinstance(one, Mapping) else Path(one) for one in (predictions, *truths)
    )
    if not known:
        if isinstance(given, Mapping):
            raise ValueError("A mapping of predictions holds no truth; give one as well.")
        rows = read_rows(given)
        if isinstance(rows[0], ClassPrediction):
            return score_classes([row for row in rows if isinstance(row, ClassPrediction)])
        if isinstance(rows[0], TextCounts):
            shared = [row for row in rows if isinstance(row, TextCounts)]
            return all_metrics(score_counts(shared, profile)[0])
        texts = [row for row in rows if isinstance(row, TextPrediction)]
        return score_texts(texts, profile=profile)
    if classes:
        if len(known) > 1:
            raise ValueError(f"{len(known)} truths of classes are given; expected one.")
        return score_classes(join_truth(given, known[0], field, ids)[0])
    hypothesis, *references = read_all(
        [
            _source(given, "hypotheses", "hyp"),
            *(_source(each, f"reference {place}", "ref") for place, each in enumerate(known, 1)),
        ]
    )
    joined = join(hypothesis, references, ids)
    return all_metrics({profile: score_joined(joined, profile, Grouping())[1]})


def _source(given: Path | Mapping[str, str], name: str, role: str) -> Source | Transcripts:
    if isinstance(given, Path):
        return Source(given, role=role)
    return Transcripts(Path(name), dict(given), {key: {} for key in given})


def compare(
    systems: Mapping[str, str | Path | Rows] | Sequence[str | Path],
    *,
    metric: str | None = None,
    profile: str | None = None,
    references: Sequence[str | Path] = (),
    ids: str = "strict",
    cluster: str | None = None,
) -> Systems:
    """Compare two or more systems on the same utterances by the sign-flip test, best first.

    Args:
        systems: name -> file of predictions, or its rows; or files, named by the parts of their
            paths that differ.
        metric: metric to compare; default: `accuracy` for classes, `wer` for texts, `mr_wer` for
            several references.
        profile: text normalisation profile; default: `mgb2`.
        references: files of references, one per annotator; the systems' files are then hypotheses
            in any format that `score` reads.
        ids: with references: strict: all files must have the same ids; common: compare on the ids
            that all have.
        cluster: with references: unit that intervals and tests resample, such as `speaker`;
            default: as in `score`.

    Raises:
        ValueError: fewer than two systems, or systems of other utterances or kinds.
    """
    if not references and (ids != "strict" or cluster is not None):
        raise ValueError("ids and cluster go with references; predictions have groups of their own")
    against = None
    if references:
        paths = tuple(map(Path, references))
        against = Against(paths, profile, ids=ids, cluster=cluster)
    rows = read_systems(systems, against=against)
    metric = metric or default_metric(rows)
    found, known, _ = comparable(rows, metric, profile)
    return compare_systems(found, metric=metric, profile=profile, known=known)


def comparable(
    systems: Mapping[str, Rows], metric: str, profile: str | None
) -> tuple[Mapping[str, Predictions], dict[str, Array] | None, str | None]:
    """Return what `compare_systems` takes, what it need not align, and the profile's label.

    Where a system is counts that were shared, the others are counted too. Counts of another
    version of the profile are a `ValueError`.
    """
    kind = get_metric(metric).kind
    if not any(isinstance(rows[0], TextCounts) for rows in systems.values()):
        label = None if kind == "class" else get_profile(profile or DEFAULT_PROFILE).label
        return {name: _predicted(rows) for name, rows in systems.items()}, None, label
    name = profile or DEFAULT_PROFILE
    shared = {system: _counted(rows, name) for system, rows in systems.items()}
    labels = {system: labels_of(rows, name)[name] for system, rows in shared.items()}
    if len(set(labels.values())) > 1:
        told = ", ".join(f"{system}: {label}" for system, label in labels.items())
        raise ValueError(
            f"The systems were counted under different profiles ({told}); score again."
        )
    known = {
        system: _known(counts_under(rows, labels[system]), kind) for system, rows in shared.items()
    }
    stands = {system: stand_ins(rows, labels[system]) for system, rows in shared.items()}
    return stands, known, next(iter(labels.values()))


def _predicted(rows: Rows) -> Predictions:
    return [row for row in rows if not isinstance(row, TextCounts)]  # type: ignore[return-value]


def _counted(rows: Rows, profile: str) -> list[TextCounts]:
    """Return counts as they are, and those of texts under a profile."""
    shared = [row for row in rows if isinstance(row, TextCounts)]
    texts = [row for row in rows if isinstance(row, TextPrediction)]
    if not shared and not texts:
        raise ValueError("Counts of texts and predictions of classes cannot be compared.")
    return shared or shared_counts(joined_rows(texts), [profile], Grouping(cluster=GROUP))


def _known(counts: Array, kind: str) -> Array:
    """Take what metrics of a kind read of counts (N, 1 + 3 R, 4)."""
    many = len(counts[0]) // 3
    if (kind == "references") != (many > 1):
        raise ValueError(
            f"These counts are of {many} reference(s), and the metric is of another kind."
        )
    return counts[:, : 1 + 2 * many] if many > 1 else counts[:, 1:3]


def default_metric(systems: Mapping[str, Rows]) -> str:
    """Return the metric that systems are compared by unless one is named."""
    row = next(iter(systems.values()))[0]
    if isinstance(row, ClassPrediction):
        return "accuracy"
    return "mr_wer" if row.references else "wer"


@dataclass(frozen=True)
class Against:
    """The references that files of hypotheses are compared against, and how they are read."""

    references: tuple[Path, ...]
    profile: str | None = None
    _: KW_ONLY
    ids: str = "strict"
    cluster: str | None = None
    formats: tuple[str, ...] = ("auto",)
    encodings: tuple[str, ...] = ("auto",)

    def counted(
        self, hypothesis: Path, open_reference: Callable[[Source], SourceReadings] = open_source
    ) -> list[TextCounts]:
        """Count one system's errors in each utterance; see `read_joined`."""
        files = TranscriptFiles(
            hypothesis=hypothesis, references=self.references, formats=self.formats,
            encodings=self.encodings, ids=self.ids,
        )  # fmt: skip
        joined = read_joined(files, open_reference)
        profiles = [self.profile or DEFAULT_PROFILE]
        return shared_counts(joined, profiles, Grouping(cluster=self.cluster))


def read_systems(
    systems: Mapping[str, str | Path | Rows] | Sequence[str | Path],
    names: Sequence[str] = (),
    against: Against | None = None,
) -> dict[str, Rows]:
    """Return the rows of each system by its name; arguments and errors as for `compare`."""
    # References are read once for all systems.
    read = partial(against.counted, open_reference=cache(open_source)) if against else read_rows
    if len(systems) < _FEWEST:
        raise ValueError(f"{len(systems)} system to compare; give two or more.")
    if not isinstance(systems, Mapping):
        paths = [*map(Path, systems)]
        systems = dict(zip(_names(paths, names), paths, strict=True))
    rows = [name for name, given in systems.items() if not isinstance(given, str | Path)]
    if against and rows:
        raise ValueError(
            f"{rows[0]!r} is rows of predictions, which have references of their own; give a file "
            "of hypotheses, or no references."
        )
    found = {
        name: read(Path(given)) if isinstance(given, str | Path) else given
        for name, given in systems.items()
    }
    return _shared(found) if against and against.ids == "common" else found


def _shared(systems: Mapping[str, Rows]) -> dict[str, Rows]:
    """Keep the utterances that all systems have: each may lack others of the references."""
    ids = [{row.id for row in rows} for rows in systems.values()]
    kept = set.intersection(*ids)
    if not kept:
        raise ValueError(f"No utterance is in all of the files of {', '.join(systems)}.")
    if less := len(set.union(*ids)) - len(kept):
        say(f"{less} utterances are left out: not every system has them")
    return {name: [row for row in rows if row.id in kept] for name, rows in systems.items()}  # type: ignore[misc]


def read_rows(path: Path) -> Rows:
    """Read a file of predictions, a manifest or shared counts, which the first line tells."""
    if "truth" in _keys(path):
        return read_predictions(path, ClassPrediction)
    return read_texts(path)


def read_texts(path: Path) -> list[TextPrediction] | list[TextCounts]:
    """Read predictions of texts, a manifest with references and hypotheses, or shared counts."""
    keys = _keys(path)
    if "counts" in keys:
        return read_predictions(path, TextCounts)
    if is_manifest(keys):
        return read_manifest(path)
    if "ref" not in keys:
        raise ValueError(
            f"{path} holds no predictions: a line of classes has `id`, `truth`, `pred`, `probs` "
            "and `group`, one of texts `id`, `ref`, `hyp` and `group`, one of a manifest `text` "
            "and `pred_text`; see docs/scoring.md."
        )
    return read_predictions(path, TextPrediction)


def _keys(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file of predictions.")
    row: Any = next(read_jsonl(path), None)
    return row if isinstance(row, dict) else {}


def _names(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return one name per file: those given, or the parts of the paths that are not shared."""
    if names and len(names) != len(paths):
        raise ValueError(f"--name is given {len(names)} times for {len(paths)} files.")
    found = list(names) or _unshared([path.with_suffix("").parts for path in paths])
    written = [unicodedata.normalize("NFC", name) for name in found]  # look the same, are the same
    if twice := sorted({name for name in written if written.count(name) > 1}):
        raise ValueError(
            f"Two systems are called {twice[0]!r}; give them different names with --name."
        )
    return found


def _unshared(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """Drop the parts that all paths begin and end with; at least one of each path stays."""
    most = min(map(len, parts)) - 1
    start = end = 0
    while start < most and len({one[start] for one in parts}) == 1:
        start += 1
    while end < most - start and len({one[-1 - end] for one in parts}) == 1:
        end += 1
    return ["/".join(one[start : len(one) - end]) for one in parts]
