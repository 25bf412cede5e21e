"""What made an output folder: config, versions, seed, input digests, command, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from harness_bench import __version__
from harness_bench.core.config import STRICT, build
from harness_bench.core.files import digest_file, locked, read_json, write_json
from harness_bench.core.log import StageTimes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FILE = "inputs.json"
_BEGUN = "checkpoint.pth"  # ESPnet writes it after the first epoch


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the digests of files by the names that people know them by.

    Raises:
        ValueError: there is no such file.
    """
    for name, path in files.items():
        if not path.is_file():
            raise ValueError(f"{name}: there is no file {path}. Run the earlier stages first.")
    return {name: digest_file(path) for name, path in files.items()}


def claim(folder: Path, inputs: Mapping[str, str]) -> None:
    """Note a training's inputs, or check that they are those that it began with.

    How long it trains, and on how many devices, is no input: a training may go on for more epochs.

    Args:
        folder: ESPnet's output folder.
        inputs: setting -> value, file -> digest.

    Raises:
        ValueError: a training with other inputs has begun there; names what differs. Or one that
            noted none.
    """
    path = folder / FILE
    if (folder / _BEGUN).is_file():
        if not path.is_file():
            raise ValueError(
                f"{folder} holds a training that did not note its inputs ({FILE}), such as one of "
                "a checkout's asr.sh, whose tokens are others. Choose another --asr_tag (--lm_tag) "
                "or --expdir, or remove it."
            )
        before = read_json(path)
        if odd := sorted(
            key for key in before.keys() | inputs if before.get(key) != inputs.get(key)
        ):
            raise ValueError(
                f"{folder} holds a training with other inputs ({', '.join(odd)}). Going on with "
                "these would mix the two. Choose another --asr_tag or --expdir, or remove it."
            )
    write_json(path, dict(sorted(inputs.items())))


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


PACKAGES = (
    "torch", "torchaudio", "transformers", "lhotse", "lightning", "numpy", "scikit-learn",
    "espnet", "espnet-s3prl", "jiwer", "soundfile", "safetensors",
)  # fmt: skip
FILE_NAME = "provenance.json"


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that shape results."""
    found = {"harness-ssl-bench": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> str:
    """Say in one line on what this process runs, without importing torch."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"


def command_line() -> str:
    """Return the command that started this process, quoted for a shell."""
    return shlex.join(sys.argv)


def write_provenance(
    folder: Path,
    *,
    config: Mapping[str, Any],
    seed: int | None,
    inputs: Mapping[str, str],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write provenance.json: the resolved config, versions, seed and input digests of a folder.

    Args:
        folder: the output folder.
        config: JSON-ready resolved config (`config.resolved`).
        seed: the seed that governed the step, or None where nothing is random.
        inputs: name -> digest of everything read.
        extra: anything more that a reader may need.
    """
    record = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "config": dict(config),
        "seed": seed,
        "inputs": dict(inputs),
        "versions": versions(),
        "hardware": hardware(),
        **(extra or {}),
    }
    write_json(folder / FILE_NAME, record)
