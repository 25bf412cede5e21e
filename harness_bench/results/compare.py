"""Tell what changed, appeared and vanished between two sets of results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, override

from harness_bench.core.sanitize import clean, shorten
from harness_bench.results.check import load_folder
from harness_bench.results.record import load_result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.results.check import Problem
    from harness_bench.results.record import Result

# What differs between any two runs and says nothing about what was measured.
OF_THE_RUN = {"created", "seconds", "stage_seconds", "hardware", "command", "predictions"}
# The same of the costs; operations and size are the model's.
OF_THE_MEASUREMENT = {"real_time_factor", "gpu_real_time_factor", "peak_bytes", "hardware"}


@dataclass(frozen=True)
class Difference:
    """One result that changed, appeared or vanished from one set to the other."""

    kind: str  # changed, appeared, vanished
    name: str
    field: str = ""  # of a change, dotted
    first: object = None
    second: object = None

    @override
    def __str__(self) -> str:
        """Write it as one line, safe to print."""
        line = f"{self.kind}  {self.name}"
        if self.field:
            line += f"  {self.field}: {_shown(self.first)} -> {_shown(self.second)}"
        return line


def diff(first: Path, second: Path) -> tuple[list[Difference], list[Problem]]:
    """Tell what changed, appeared and vanished from one folder of results to another.

    Two files are compared whatever they are results of. What every run has of its own (times,
    memory, machine, command, the path of the predictions) is not compared.

    Returns:
        The differences, and what is wrong with files that are left out of a folder.

    Raises:
        ValueError: one is a folder and the other is not, or a file is no valid result.
    """
    if first.is_dir() != second.is_dir():
        raise ValueError(f"Give two folders or two files; {first} and {second} are one of each.")
    if not first.is_dir():
        return compare_results(load_result(first), load_result(second)), []
    (old, wrong), (new, also) = load_folder(first), load_folder(second)
    before, after = ({result.key: result for result in found.values()} for found in (old, new))
    found = [
        difference
        for key in sorted(before | after)
        for difference in compare_results(before.get(key), after.get(key))
    ]
    return found, [*wrong, *also]


def compare_results(first: Result | None, second: Result | None) -> list[Difference]:
    """Tell what differs between two results; None is a result that is not there."""
    present = second or first
    if present is None:
        return []
    name = _name(present)
    if first is None or second is None:
        return [Difference("vanished" if second is None else "appeared", name)]
    left_out: dict[str, bool | set[str]] = {
        **dict.fromkeys(OF_THE_RUN, True),
        "costs": OF_THE_MEASUREMENT,
    }
    old, new = (
        dict(_leaves(result.model_dump(mode="json", exclude=left_out)))
        for result in (first, second)
    )
    return [
        Difference("changed", name, shorten(field, 120), old.get(field), new.get(field))
        for field in sorted(old | new)
        if old.get(field) != new.get(field)
    ]


def _name(result: Result) -> str:
    return clean(f"{result.model} {result.task} {result.corpus}/{result.split} ({result.source})")


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted name, value) of everything in nested JSON that is no object or array."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))


def _shown(value: object) -> str:
    return "nothing" if value is None else shorten(json.dumps(value, ensure_ascii=False), 80)
