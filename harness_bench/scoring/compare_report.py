"""What `harness-bench score compare A.jsonl B.jsonl` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness_bench.files import read_jsonl
from harness_bench.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.scoring.registry import get_metric, get_profile
from harness_bench.scoring.systems import SIGNIFICANT, Systems, compare_systems
from harness_bench.scoring.text import DEFAULT_PROFILE
from harness_bench.text_table import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

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
