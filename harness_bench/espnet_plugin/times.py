"""Times of a recipe's stages in one file, over all the calls that its stages took."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, replace
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from harness_bench.config import STRICT, build
from harness_bench.files import locked, read_json, write_json
from harness_bench.progress import StageTimes

if TYPE_CHECKING:
    from collections.abc import Collection

_TAG = re.compile(r" \[([^\]]+)\]$")


@dataclass(frozen=True, config=STRICT)
class StageTime:
    """What one stage took when it was last run to its end.

    Attributes:
        stage: its title.
        seconds: wall-clock time.
        cpu_seconds: user and system time of its process and of the children it waited for.
        ended: local time in ISO 8601.
    """

    stage: str
    seconds: float
    cpu_seconds: float
    ended: str


def record(path: Path, stage: str, seconds: float, cpu_seconds: float) -> None:
    """Note a stage's time; a stage that was run before gets its new time in place of the old.

    Raises:
        ValueError: the file is not one of stage times.
    """
    made = StageTime(stage, seconds, cpu_seconds, time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    with locked(path.with_name(f".{path.name}.lock")):  # parallel jobs share the file
        rows = {row.stage: row for row in read(path)} | {stage: made}
        write_json(path, [asdict(row) for row in sorted(rows.values(), key=_number)])


def read(path: Path) -> list[StageTime]:
    """Return the stages of a file in the recipe's order, none if there is no file.

    Raises:
        ValueError: the file is not one of stage times.
    """
    if not path.exists():
        return []
    rows = read_json(path)
    if not isinstance(rows, list):
        message = f"{path} is not a list of stage times. Delete it or name another file."
        raise ValueError(message)  # noqa: TRY004 - of a file's content, not of an argument
    return [build(StageTime, row, source=str(path)) for row in rows]


def read_own(path: Path, tags: Collection[str]) -> list[StageTime]:
    """Return the stages that belong to no model or to one of some, without the tag.

    Models that share a folder share its file; the title of what only one of them needed ends in
    `[TAG]`.

    Raises:
        ValueError: the file is not one of stage times.
    """
    rows = [(row, _TAG.search(row.stage)) for row in read(path)]
    return [
        replace(row, stage=row.stage.removesuffix(found[0]) if found else row.stage)
        for row, found in rows
        if found is None or found[1] in tags
    ]


def table(path: Path) -> str:
    """Return the table of all stages of a file, for people; the total is last."""
    return StageTimes([(row.stage, row.seconds, row.cpu_seconds) for row in read(path)]).summary()


def _number(row: StageTime) -> tuple[int, str]:
    """Sort by the number of "Stage 11: training"; what has no number comes last."""
    found = re.match(r"stage (\d+)", row.stage, flags=re.IGNORECASE)
    return (int(found[1]), row.stage) if found else (10**9, row.stage)
