"""Cuts as plain rows, one at a time: for steps that go over millions and need no lhotse."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

type Row = dict[str, Any]

_PLAIN = ("text", "speaker", "language", "gender")


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file of cuts as they stand, line ends included.

    Raises:
        ValueError: no such file, or one that is no whole gzip file; names it.
    """
    try:
        with gzip.open(path, "rb") as stream:
            yield from stream
    except FileNotFoundError as error:
        raise ValueError(f"There is no file of cuts {path}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as cuts ({error}). Prepare the corpus again."
        ) from error


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the cuts of a file as rows (`parse`), one at a time; errors as `read_lines`."""
    for number, line in enumerate(read_lines(path), start=1):
        yield parse(line, path, number)


def parse(line: bytes, path: Path, number: int) -> Row:
    """Read one line of a file of cuts.

    Returns:
        What lhotse writes of a cut: id, start and duration in seconds, supervisions, recording.

    Raises:
        ValueError: no cut of one supervision; names file and line.
    """
    try:
        row: Row = json.loads(line)
        (said,) = row["supervisions"]
        fits = (
            isinstance(row["id"], str)
            and 0 < float(row["duration"]) < float("inf")
            and isinstance(row.get("start", 0.0), int | float)
            and isinstance(said.get("custom") or {}, dict)
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}:{number} is no cut of one supervision ({error!r}).") from error
    if not fits:
        raise ValueError(f"{path}:{number} is no cut with an id and a length above 0.")
    return row


def field(row: Row, name: str) -> str | None:
    """Return a cut's field: text, speaker, language, gender or a custom one; None where absent."""
    said = row["supervisions"][0]
    value = said.get(name) if name in _PLAIN else (said.get("custom") or {}).get(name)
    return None if value in (None, "") else str(value)


def fields(row: Row) -> dict[str, str]:
    """Return all fields of a cut that have a value, by name; custom ones do not hide the others."""
    said = row["supervisions"][0]
    known = {**(said.get("custom") or {}), **{name: said.get(name) for name in _PLAIN}}
    return {name: str(value) for name, value in known.items() if value not in (None, "")}
