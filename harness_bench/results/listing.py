"""List the results of a folder, one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.sanitize import clean, shorten
from harness_bench.core.tables import columns
from harness_bench.results.check import load_folder

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.results.check import Problem
    from harness_bench.results.record import Result

_ORDER = ("source", "task", "corpus", "split", "model")


def list_results(
    folder: Path, *, task: str | None = None, model: str | None = None
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """List the results of a folder or of one task or model, one JSON-ready row each, sorted.

    Returns:
        The rows, and what is wrong with files that are left out.

    Raises:
        ValueError: there is no such folder, or no result of this task or model in it.
    """
    found, problems = load_folder(folder)
    results = found.items()
    for field, wanted in (("task", task), ("model", model)):
        known = sorted({clean(getattr(result, field)) for _, result in results})
        if wanted is not None and wanted not in known:
            there = shorten(", ".join(known), 500)
            raise ValueError(f"No result of {field} {wanted!r} in {folder}; there are: {there}.")
    rows = [
        _row(path, result)
        for path, result in results
        if task in (None, clean(result.task)) and model in (None, clean(result.model))
    ]
    rows.sort(key=lambda row: [row[key] for key in _ORDER])
    return rows, problems


def render(rows: list[dict[str, Any]]) -> str:
    """Write rows as an aligned table, safe to print."""
    head = ("model", "task", "corpus/split", "metric", "value", "kind")
    return "\n".join(columns([head, *map(_line, rows)], texts=True))


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    value = row["printed"] or f"{row['value']:.2f}"
    if row["low"] is not None:
        value += f" [{row['low']:.2f}, {row['high']:.2f}]"
    kind = row["source"] + (", synthetic" if row["synthetic"] else "")
    place = f"{row['corpus']}/{row['split']}"
    return row["model"], row["task"], place, row["metric"], f"{value} {row['unit']}", kind


def _row(path: Path, result: Result) -> dict[str, Any]:
    main = result.main
    texts = {
        "file": path.name, "source": result.source, "model": result.model, "task": result.task,
        "corpus": result.corpus, "split": result.split, "metric": result.main_metric,
        "unit": main.unit,
    }  # fmt: skip
    return {key: clean(text) for key, text in texts.items()} | {
        "value": main.value,
        "low": main.interval.low if main.interval else None,
        "high": main.interval.high if main.interval else None,
        "printed": main.printed,
        "synthetic": result.synthetic,
        "parameters": result.parameters,
        "metrics": {clean(name): metric.value for name, metric in result.metrics.items()},
    }
