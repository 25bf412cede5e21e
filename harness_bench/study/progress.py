"""How far a running job is, from what trainings log anyway, and from what jobs tell."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness_bench.core.bars import last_bar
from harness_bench.core.files import read_json
from harness_bench.core.process import read_tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Where a job's steps log, below its folder.
_LOGS = ("log.txt", "*/log.txt")
_UPDATES = ("train.jsonl", "*/train.jsonl", "*/*/train.jsonl")  # of pretraining
_EPOCHS = ("asr/latest.pth", "*/asr/latest.pth")  # of ESPnet: a link to Nepoch.pth
_WHOLE = 10  # from here on a speed needs no decimal
_EPOCH = re.compile(r"(\d+)epoch\.pth")
_MAX_EPOCH = re.compile(r"^max_epoch: *(\d+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """How far a job is; what nobody knows is None or empty."""

    share: float | None = None  # of the work, 0 to 1
    rate: str = ""  # such as "12 updates/s"
    left: float | None = None  # seconds
    line: str = ""  # the last one of its log


def job_progress(folder: Path | None, told: Mapping[str, Any] | None) -> JobProgress:
    """Read how far a job is: from logs in its folder, and from the `progress` of its state file."""
    if folder is None:
        return _told(told)
    log = _newest(folder, _LOGS)
    found = _from_log(log) if log else JobProgress()
    since = _written(log) if log else 0.0
    if (updates := _newest(folder, _UPDATES)) and _written(updates) >= since:
        found = _from_updates(updates, found)
    elif (epochs := _newest(folder, _EPOCHS)) and _written(epochs) >= since:
        found = _from_epochs(epochs, found)
    if not told:
        return found
    inner = log is not None and log.parent != folder  # the log of one of several trainings
    own = _told({**told, "done": told["done"] + (found.share or 0.0) * inner})
    last = told["of"] - told["done"] <= 1
    return replace(
        own, rate=found.rate or own.rate, line=found.line,
        left=found.left if inner and last else own.left,
    )  # fmt: skip


def _newest(folder: Path, patterns: Iterable[str]) -> Path | None:
    files = (path for pattern in patterns for path in folder.glob(pattern))
    return max(files, key=_written, default=None)


def _written(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # it has just gone
        return 0.0


def _told(told: Mapping[str, Any] | None) -> JobProgress:
    if not told or not told["of"]:
        return JobProgress()
    share, speed = told["done"] / told["of"], told.get("per_second", 0.0)
    return JobProgress(
        share=min(share, 1.0),
        rate=rate_text(speed, told["unit"]) if speed else "",
        left=(told["of"] - told["done"]) / speed if speed else None,
    )


def _from_log(log: Path) -> JobProgress:
    bar, line = last_bar(read_tail(log))
    if bar is None:
        return JobProgress(line=line)
    return JobProgress(share=bar.done / bar.of, rate=_bar_rate(bar.rate), left=bar.left, line=line)


def _bar_rate(text: str) -> str:
    """Return a rate as tqdm writes it, `1.97it/s` or `3.2s/it`, as words."""
    found = re.match(r" *([\d.]+)(s/)?([^\s/]+)", text)
    if found is None:
        return ""
    number = float(found[1])
    speed = 1 / number if found[2] and number else number
    unit = "" if found[3] == "it" else found[3]
    return rate_text(speed, f"{unit}s" if unit.isalpha() and not unit.endswith("s") else unit)


def rate_text(per_second: float, unit: str) -> str:
    """Return a speed with the unit of time at which it is readable.

    >>> rate_text(12.3, "updates"), rate_text(0.01, "epochs"), rate_text(0.5, "")
    ('12 updates/s', '36 epochs/h', '30/min')
    """
    for factor, time_unit in ((1, "s"), (60, "min"), (3600, "h")):
        if per_second * factor >= 1 or time_unit == "h":
            number = per_second * factor
            return f"{number:.{0 if number >= _WHOLE else 1}f}{' ' * bool(unit)}{unit}/{time_unit}"
    raise AssertionError


def _from_updates(log: Path, found: JobProgress) -> JobProgress:
    """Read the newest line of a pretraining's log, and where the training ends."""
    lines = read_tail(log).splitlines()
    try:
        *_, before, row = map(json.loads, ["{}", *lines[-2:]])
        last = read_json(log.with_name("provenance.json"))["config"]["pretrain"]["max_update"]
    except (ValueError, KeyError, OSError):  # a line is being written, or a format of old
        return found
    made = row["update"] - before.get("update", 0)
    speed = made / row["seconds"] if "seconds" in row else 0.0
    line = f"update {row['update']:,}: " + ", ".join(
        f"{name.replace('_', ' ')} {row[name]:.3g}"
        for name in ("loss_masked", "accuracy_masked") if name in row
    )  # fmt: skip
    since = time.time() - _written(log)
    return JobProgress(
        share=row["update"] / last,
        rate=rate_text(speed, "updates") if speed else "",
        left=max(0.0, (last - row["update"]) / speed - since) if speed else None,
        line=line,
    )


def max_epoch_of(config: Path) -> int | None:
    """Return the epochs of a training config of ESPnet; None without such a file, or line."""
    found = _MAX_EPOCH.search(config.read_text(encoding="utf-8")) if config.is_file() else None
    return int(found[1]) if found else None


def _from_epochs(latest: Path, found: JobProgress) -> JobProgress:
    """Read which epoch of ESPnet's training ended last, from its files.

    They are newer than the log while it trains; what comes behind the training logs.
    """
    folder = latest.parent
    kept = ((each, _EPOCH.fullmatch(each.name)) for each in folder.glob("*epoch.pth"))
    ended = sorted((int(name[1]), _written(each)) for each, name in kept if name)
    config = folder / "config.yaml"
    last = max_epoch_of(config)
    if not ended or last is None:
        return found
    number, since = ended[-1]
    # Epochs that were worse than others have been deleted. With one alone: since the start.
    before, start = ended[-2] if len(ended) > 1 else (0, _written(config))
    each = (since - start) / (number - before)
    if each <= 0:
        return replace(found, share=number / last)
    return replace(
        found, share=number / last, rate=rate_text(1 / each, "epochs"),
        left=max(0.0, (last - number) * each - (time.time() - since)),
    )  # fmt: skip
