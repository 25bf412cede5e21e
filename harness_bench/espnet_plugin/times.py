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
    """What one stage took, added up over the calls that ended well.

    Attributes:
        stage: its title.
        seconds: wall-clock time.
        cpu_seconds: user and system time of its process and of the children it waited for.
        ended: local time of the last call's end in ISO 8601.
        calls: how many there were.
    """

    stage: str
    seconds: float
    cpu_seconds: float
    ended: str
    calls: int = 1


def record(path: Path, stage: str, seconds: float, cpu_seconds: float) -> None:
    """Note a stage's time, added to that of its earlier calls.

    A call that finds a training finished takes seconds; in place of the hours they would be told
    as the training's time.

    Raises:
        ValueError: the file is not one of stage times.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with locked(path.with_name(f".{path.name}.lock")):  # parallel jobs share the file
        rows = {row.stage: row for row in read(path)}
        before = rows.get(stage, StageTime(stage, 0.0, 0.0, now, calls=0))
        rows[stage] = StageTime(
            stage,
            before.seconds + seconds,
            before.cpu_seconds + cpu_seconds,
            now,
            calls=before.calls + 1,
        )
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
    return StageTimes(
        [(_called(row), row.seconds, row.cpu_seconds) for row in read(path)]
    ).summary()


def _called(row: StageTime) -> str:
    """Return the title with the number of calls where there were several."""
    return row.stage if row.calls == 1 else f"{row.stage} ({row.calls} calls)"


def _number(row: StageTime) -> tuple[int, str]:
    """Sort by the number of "Stage 11: training"; what has no number comes last."""
    found = re.match(r"stage (\d+)", row.stage, flags=re.IGNORECASE)
    return (int(found[1]), row.stage) if found else (10**9, row.stage)
