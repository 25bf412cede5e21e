"""Read what corpora are made of: folders of audio, lines of text, long lists in JSON."""

from __future__ import annotations

import io
import json
import math
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness_bench.audio.io import AUDIO_SUFFIXES
from harness_bench.corpora.base import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO, TextIO

_CHUNK = 1 << 20  # characters read at a time
_LARGEST = 1 << 27  # characters that one item of a list may have
_AFTER_A_VALUE = frozenset(" \t\r\n,:]}")
_SPACES = re.compile(r"[ \t\r\n]*")


def entries(folder: Path) -> list[Path]:
    """List what stands directly in a folder, by name, hidden things left out; [] if none is there.

    One that cannot be read is a `ValueError`.
    """
    if not folder.is_dir():
        return []
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror}).") from error


def folders(folder: Path) -> list[Path]:
    """List the folders directly in a folder, by name, links to folders included."""
    return [path for path in entries(folder) if path.is_dir()]


def audio_files(folder: Path) -> list[Path]:
    """List what is named like audio directly in a folder, by name; broken links are listed too."""
    return [
        path
        for path in entries(folder)
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.is_dir()
    ]


def _key(name: str) -> str:
    return name.replace("_", "-").lower()


class AudioIndex:
    """The audio files of some folders, by name; nothing outside these folders is ever found."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = [folder for folder in folders if folder.is_dir()]
        self._paths: dict[str, Path] = {}
        for folder in self.folders:
            for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names suffice, and are many
                stem, suffix = os.path.splitext(name)  # noqa: PTH122 - as above
                if suffix.lower() in AUDIO_SUFFIXES and printable(name) == name:
                    self._paths.setdefault(_key(stem), folder / name)

    def find(self, *names: str) -> Path | None:
        """Return the file of the first name that there is one for, `_` and `-` being the same."""
        found = (self._paths.get(_key(name)) for name in names if name)
        return next((path for path in found if path is not None), None)

    def missing(self) -> str:
        """Say where it was looked for a recording that was not found."""
        where = ", ".join(map(str, self.folders)) or "any folder of audio"
        return f"no file of this name in {where}"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for its bytes; one that cannot be read is a `ValueError` that names it."""
    if not path.is_file():  # a pipe would be waited for without end
        raise ValueError(f"{path} cannot be read: it is no file, or a link to none.")
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from error


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file with their numbers from 1, one at a time.

    Lines end at a line feed alone, for transcripts may hold other signs that Python breaks at; a
    carriage return before it and a byte order mark are dropped. A file that cannot be read or is
    not UTF-8 is a `ValueError` that names it and the line.
    """
    number = 0
    try:
        with opened(path) as stream:
            for number, raw in enumerate(stream, start=1):
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}:{number} is not UTF-8 (byte {error.start}: {error.reason}). "
            "Convert the file with `iconv -t UTF-8`, or get it again."
        ) from error


def table(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, str, dict[str, str] | str]]:
    """Yield number, first cell, and column -> cell or what is wrong, of a tab-separated file.

    Cells are stripped, quotes are part of the text. A header that lacks needed columns or repeats
    names is a `ValueError`.
    """
    columns: list[str] = []
    for number, line in lines(path):
        cells = [cell.strip() for cell in line.split("\t")]
        if number == 1:
            columns = cells
            absent = ", ".join(name for name in needed if name not in columns)
            if absent or len({*columns, ""}) <= len(columns):
                raise ValueError(
                    f"{path}: the header {f'lacks {absent}' if absent else 'repeats names'}; it "
                    f"reads {', '.join(columns)[:200]!r}. Expected tab-separated column names."
                )
        elif line.strip() and len(cells) != len(columns):
            yield number, cells[0], f"{len(cells)} cells where the header has {len(columns)}"
        elif line.strip():
            yield number, cells[0], dict(zip(columns, cells, strict=True))
    if not columns:
        raise ValueError(f"{path} is empty; expected a header with {', '.join(needed)}.")


def seconds(value: object) -> float | None:
    """Return a finite number of seconds from 0 on, of a number or of text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def json_list(path: Path, name: str) -> Iterator[Any]:
    """Yield the items of the list `name` of a JSON object, without reading the whole file at once.

    A file that cannot be read, has no such list or breaks off is a `ValueError` that names it.
    """
    try:
        with opened(path) as stream:
            yield from _JsonText(io.TextIOWrapper(stream, encoding="utf-8"), path).items(name)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason}). Get it again.") from error


class _JsonText:
    def __init__(self, stream: TextIO, path: Path) -> None:
        self.stream, self.path = stream, path
        self.window, self.at = "", 0  # what was read, and how far of it was used
        self.dropped, self.ended = 0, False
        self.decode = json.JSONDecoder().raw_decode

    def items(self, name: str) -> Iterator[Any]:
        self.take("{", "a JSON object")
        while self.key() != name:
            self.value()
            self.take(",", f"a list {name!r}")
        self.take("[", f"a list {name!r}")
        if self.sign() != "]":
            yield self.value()
            while self.take(",]", "a comma or the end of the list") == ",":
                yield self.value()

    def take(self, signs: str, expected: str) -> str:
        if (sign := self.sign()) not in signs:
            raise self.error(expected)
        self.at += 1
        return sign

    def key(self) -> str:
        name = self.value()
        if not isinstance(name, str):
            raise self.error("a name and a colon")
        self.take(":", "a name and a colon")
        return name

    def value(self) -> Any:
        """Decode the next value, reading on until it is whole."""
        self.sign()
        while True:
            try:
                value, end = self.decode(self.window, self.at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, RecursionError) or not self.more():
                    raise self.error("a JSON value") from error
                continue
            # Of a number that the window cuts, such as 0.5 after the point, the 0 is one too.
            if self.window[end : end + 1] in _AFTER_A_VALUE or not self.more():
                self.at = end
                return value

    def sign(self) -> str:
        """Return the next sign that is no space, without taking it; a NUL at the file's end."""
        while True:
            space = _SPACES.match(self.window, self.at)
            assert space is not None  # it may be empty
            self.at = space.end()
            if self.at < len(self.window) or not self.more():
                return self.window[self.at : self.at + 1] or "\0"

    def more(self) -> bool:
        """Double the window; False at the end of the file, or where an item has no end in sight."""
        if self.ended or len(self.window) - self.at > _LARGEST:
            return False
        self.dropped += self.at
        self.window, self.at = self.window[self.at :], 0
        chunk = self.stream.read(max(_CHUNK, len(self.window)))
        self.ended = not chunk
        self.window += chunk
        return bool(chunk)

    def error(self, expected: str) -> ValueError:
        there = repr(self.window[self.at : self.at + 20]) if self.sign() != "\0" else "its end"
        return ValueError(
            f"{self.path}: expected {expected} at character {self.dropped + self.at}, found "
            f"{there}. Is the file whole? Compare its size with the published one, or get it again."
        )
