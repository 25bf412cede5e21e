"""What the stages of a job take, and one log line per stage; kept in a file over several calls."""

import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build
from harness_bench.core.files import read_json, write_json
from harness_bench.core.log import cpu_seconds, say
from harness_bench.core.tables import columns

_TAG = re.compile(r" \[([^\]]+)\]$")
_NUMBER = re.compile(r"stage (\d+)", re.IGNORECASE)


@dataclass(frozen=True, config=STRICT)
class StageTime:
    """What one stage took, added up over the calls that ended well."""

    stage: str  # its title
    seconds: float  # wall-clock time
    cpu_seconds: float  # user and system, of its process and the children it waited for
    ended: str  # local time of the last call's end in ISO 8601
    calls: int = 1


class StageTimes:
    """The times of a job's stages, in a file that parallel jobs may share, or in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._rows: list[StageTime] = []

    @property
    def rows(self) -> list[StageTime]:
        """The stages as they came, those of a file by number; another file is a ValueError."""
        if self.path is None or not self.path.exists():
            return self._rows
        rows = read_json(self.path)
        if not isinstance(rows, list):
            raise ValueError(  # noqa: TRY004 - of a file's content, not of an argument
                f"{self.path} is not a list of stage times. Delete it or name another file."
            )
        return [build(StageTime, row, source=str(self.path)) for row in rows]

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Run a block as a stage; its time is noted and logged if it ends without error."""
        start, cpu = time.perf_counter(), cpu_seconds()
        yield
        wall, used = time.perf_counter() - start, cpu_seconds() - cpu
        self.add(title, wall, used)
        say(f"{title}: done in {wall:.1f} s ({used:.1f} CPU-s)")

    def add(self, title: str, seconds: float, cpu_seconds: float) -> None:
        """Add a stage's time to that of its earlier calls.

        A call that finds a training finished takes seconds; in place of the hours they would be
        told as the training's time.
        """
        if self.path is None:
            self._rows = self._with(title, seconds, cpu_seconds)
            return
        from filelock import FileLock  # noqa: PLC0415 - a tenth of a second

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            rows = self._with(title, seconds, cpu_seconds)
            write_json(self.path, [asdict(row) for row in sorted(rows, key=_number)])

    def _with(self, title: str, seconds: float, cpu_seconds: float) -> list[StageTime]:
        rows = {row.stage: row for row in self.rows}
        before = rows.get(title, StageTime(title, 0.0, 0.0, "", calls=0))
        rows[title] = StageTime(
            title,
            before.seconds + seconds,
            before.cpu_seconds + cpu_seconds,
            time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            before.calls + 1,
        )
        return list(rows.values())

    def own(self, tags: Collection[str]) -> list[StageTime]:
        """Return the stages without a tag, and those of some tags, without it.

        Models that share a folder share its file; what only one of them needed ends in `[TAG]`.
        """
        rows = [(row, _TAG.search(row.stage)) for row in self.rows]
        return [
            replace(row, stage=row.stage.removesuffix(found[0]) if found else row.stage)
            for row, found in rows
            if found is None or found[1] in tags
        ]

    def summary(self) -> str:
        """Return the table of stage times, total last."""
        cells = [("stage", "seconds", "CPU-s")]
        for row in self.rows:
            title = row.stage if row.calls == 1 else f"{row.stage} ({row.calls} calls)"
            cells.append((title, f"{row.seconds:.1f}", f"{row.cpu_seconds:.1f}"))
        seconds = sum(row.seconds for row in self.rows)
        cpu = sum(row.cpu_seconds for row in self.rows)
        return "\n".join(columns([*cells, ("total", f"{seconds:.1f}", f"{cpu:.1f}")]))


def _number(row: StageTime) -> tuple[float, str]:
    found = _NUMBER.match(row.stage)
    return (int(found[1]) if found else float("inf"), row.stage)
