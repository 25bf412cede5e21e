"""Score and compare predictions however they are given: files, mappings of id to text, or rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_jsonl
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.scoring.classes import join_truth, score_classes
from harness_bench.scoring.registry import DEFAULT_PROFILE
from harness_bench.scoring.systems import compare_systems
from harness_bench.scoring.texts.formats import Source, read_all
from harness_bench.scoring.texts.joining import join
from harness_bench.scoring.texts.readers import Transcripts
from harness_bench.scoring.texts.score import Grouping, all_metrics, score_joined, score_texts

if TYPE_CHECKING:
    from harness_bench.results.record import Metric
    from harness_bench.scoring.systems import Systems

type Rows = Sequence[ClassPrediction] | Sequence[TextPrediction]
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
    """Score one system -> metric's name -> value with 95 % intervals.

    Args:
        predictions: hypotheses or labels by utterance id; or, without truths, a file of
            `ClassPrediction` or `TextPrediction` lines, which hold their truth.
        truths: references, one for each annotator; of classes one, and a file is one of prepared
            cuts. Files of texts may be Kaldi text, trn, STM, CTM or JSON lines.
        classes: labels are scored instead of texts.
        field: of the cuts, that holds the true label; default: the one that fits.
        profile: the text profile.
        ids: strict refuses ids that do not join, common leaves them out.
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
) -> Systems:
    """Compare two systems or more on the same utterances by the paired bootstrap, best first.

    Systems are name -> file of predictions, or its rows; or files, named by what differs in them.
    By default the metric is `accuracy` of classes or `wer` of texts, and the profile `mgb2`.
    """
    rows = read_systems(systems)
    return compare_systems(rows, metric=metric or default_metric(rows), profile=profile)


def default_metric(systems: Mapping[str, Rows]) -> str:
    """Return the metric that systems are compared by unless one is named."""
    classes = isinstance(next(iter(systems.values()))[0], ClassPrediction)
    return "accuracy" if classes else "wer"


def read_systems(
    systems: Mapping[str, str | Path | Rows] | Sequence[str | Path], names: Sequence[str] = ()
) -> dict[str, Rows]:
    """Return the rows of each system by its name; arguments and errors as for `compare`."""
    if len(systems) < _FEWEST:
        raise ValueError(f"{len(systems)} system to compare; give two or more.")
    if not isinstance(systems, Mapping):
        paths = [*map(Path, systems)]
        systems = dict(zip(_names(paths, names), paths, strict=True))
    return {
        name: read_rows(Path(given)) if isinstance(given, str | Path) else given
        for name, given in systems.items()
    }


def read_rows(path: Path) -> Rows:
    """Read a file of predictions of either kind, which its first line tells."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file of predictions.")
    row: Any = next(read_jsonl(path), None)
    keys = set(row) if isinstance(row, dict) else set()
    if not keys & {"truth", "ref"}:
        raise ValueError(
            f"{path} holds no predictions: a line of classes has `id`, `truth`, `pred`, `probs` "
            "and `group`, one of texts `id`, `ref`, `hyp` and `group`; see docs/scoring.md."
        )
    if "truth" in keys:
        return read_predictions(path, ClassPrediction)
    return read_predictions(path, TextPrediction)


def _names(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return one name per file: those given, or the parts of the paths that are not shared."""
    if names and len(names) != len(paths):
        raise ValueError(f"--name is given {len(names)} times for {len(paths)} files.")
    found = list(names) or _unshared([path.with_suffix("").parts for path in paths])
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise ValueError(f"Two systems are called {twice[0]!r}; tell them apart with --name.")
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
