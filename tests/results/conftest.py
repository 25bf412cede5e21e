"""Results to write, break and compare."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import write_jsonl
from harness_bench.results.record import load_result, save_result
from tests.results.test_record import make_result

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, **changes: Any) -> Path:
    """Write a result with two predictions beside it; return its path."""
    stem = make_result(**changes).file_name.removesuffix(".json")
    relative = f"predictions/{stem}.jsonl"
    write_jsonl(folder / relative, [{"id": "a"}, {"id": "b"}])
    values = {"predictions": relative, "utterances": 2} | changes
    return save_result(make_result(**values), folder)


def predictions_of(path: Path) -> Path:
    """Return the file of predictions that a result names."""
    return path.parent / str(load_result(path).predictions)


def metrics(value: object, **more: Any) -> dict[str, Any]:
    """One accuracy."""
    return {"accuracy": {"value": value, "higher_is_better": True, **more}}


def edit(path: Path, **changes: Any) -> Path:
    """Change fields of a result file without any check; return its path."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))
    return path
