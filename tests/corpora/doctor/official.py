"""Folders of cuts, without audio, of as many utterances and hours as corpora are known to have."""

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from tests.cut_files import row, write

HOUR = 3600
DIALECTS = ("EGY", "GLF", "LEV", "MSA", "NOR")
# Official utterances of ADI5 by dialect; ours of train leave a fifth of the time to train_rest.
TRAIN = dict(zip(DIALECTS, (3177, 2873, 3118, 2219, 3205), strict=True))
DEV = dict(zip(DIALECTS, (315, 265, 348, 283, 355), strict=True))
TEST = dict(zip(DIALECTS, (302, 250, 334, 262, 344), strict=True))


def adi5(folder: Path) -> Path:
    """Write ADI5 as prepared: counts, hours, and 311 videos that dev and test share."""
    rest = {dialect: number // 5 for dialect, number in TRAIN.items()}
    train = {dialect: number - rest[dialect] for dialect, number in TRAIN.items()}
    write(folder, "train", _cuts("a", train, 42.90))
    write(folder, "train_rest", _cuts("b", rest, 10.72))
    dev = _cuts("c", DEV, 10.01)
    for number, each in enumerate(dev):
        each["supervisions"][0]["custom"]["cluster"] = f"video{number % 400}"
    write(folder, "dev", dev)
    test = _cuts("d", TEST, 10.12)
    for number, each in enumerate(test):
        shared = number < 756
        seconds = (5.19 if shared else 10.12 - 5.19) * HOUR / (756 if shared else 1492 - 756)
        each["duration"] = each["supervisions"][0]["duration"] = seconds
        each["supervisions"][0]["custom"] |= {
            "overlap": "dev" if shared else "none",
            "cluster": f"video{number % 311}" if shared else f"own{number % 99}",
        }
    write(folder, "test", test)
    return as_prepared(folder, "adi5")


def ksuemotions(folder: Path) -> Path:
    """Write KSUEmotions: 23 speakers, 10 of them men."""
    numbers = count()
    for split, (hours, speakers) in {
        "train": (3.30, range(15)), "dev": (0.83, range(15, 19)), "test": (1.0, range(19, 23)),
    }.items():  # fmt: skip
        rows = [
            row(f"u{next(numbers):03d}", hours * HOUR / (10 * len(speakers)), speaker=f"s{one}",
                gender="male" if one < 10 else "female", emotion="anger")
            for one in speakers
            for _ in range(10)
        ]  # fmt: skip
        write(folder, split, rows)
    return as_prepared(folder, "ksuemotions")


def plain(folder: Path, corpus: str, hours: Mapping[str, float]) -> Path:
    """Write splits of 100 cuts each, of so many hours."""
    for split, amount in hours.items():
        write(folder, split, [row(f"{split}{n:02d}", amount * 36) for n in range(100)])
    return as_prepared(folder, corpus)


def as_prepared(folder: Path, corpus: str, **options: Any) -> Path:
    """Say in a folder which corpus it holds, and how it was prepared."""
    (folder / "report.json").write_text(json.dumps({"corpus": corpus}))
    (folder / "provenance.json").write_text(json.dumps({"config": {"options": options}}))
    return folder


def _cuts(name: str, numbers: Mapping[str, int], hours: float) -> list[dict[str, Any]]:
    seconds = hours * HOUR / sum(numbers.values())
    return [
        row(f"{name}_{dialect}_{n:04d}", seconds, dialect=dialect, language="ar")
        for dialect, number in numbers.items()
        for n in range(number)
    ]
