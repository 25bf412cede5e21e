"""Read what corpora are made of: folders of audio, lines of text, long lists in JSON."""

from __future__ import annotations

import json
import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from harness_bench.corpora.base import AUDIO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

_CHUNK = 1 << 20  # characters read at a time
_LARGEST = 1 << 27  # characters that one item of a list may have
_AFTER_A_VALUE = frozenset(" \t\r\n,:]}")
_SPACES = re.compile(r"[ \t\r\n]*")


def entries(folder: Path) -> list[Path]:
    """List what stands directly in a folder, by name, hidden things left out; [] if none is there.

    Raises:
        ValueError: the folder cannot be read.
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


class AudioIndex:
    """The audio files of some folders, by name; nothing outside these folders is ever found."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = [folder for folder in folders if folder.is_dir()]
        self._paths: dict[str, Path] = {}
        for folder in self.folders:
            for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names suffice, and are many
                stem, suffix = os.path.splitext(name)  # noqa: PTH122 - as above
                if suffix.lower() in AUDIO_SUFFIXES and is_utf8(name):
                    self._paths.setdefault(_key(stem), folder / name)

    def find(self, *names: str) -> Path | None:
        """Return the file of the first name that there is one for, `_` and `-` being the same."""
        found = (self._paths.get(_key(name)) for name in names if name)
        return next((path for path in found if path is not None), None)

    def __len__(self) -> int:
        return len(self._paths)

    def missing(self) -> str:
        """Say where it was looked for a recording that was not found."""
        where = ", ".join(map(str, self.folders)) or "any folder of audio"
        return f"no file of this name in {where}"


def _key(name: str) -> str:
    return name.replace("_", "-").lower()


def is_utf8(text: str) -> bool:
    """Tell whether text can be written into a file: names and JSON may hold what UTF-8 cannot."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file with their numbers from 1, one at a time.

    Lines end at a line feed alone, for transcripts may hold other signs that Python breaks at; a
    carriage return before it and a byte order mark are dropped.

    Raises:
        ValueError: the file cannot be read or is not UTF-8; names the file and the line.
    """
    number = 0
    try:
        _refuse_no_file(path)
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}:{number} is not UTF-8 (byte {error.start}: {error.reason}). "
            "Convert the file with `iconv -t UTF-8`, or get it again."
        ) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from error


class BadRow(NamedTuple):
    """A row of a table that has not as many cells as its header."""

    first: str  # its first cell
    detail: str


def table(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | BadRow]]:
    """Yield the rows of a tab-separated file with a header, quotes being part of the text.

    Yields:
        The line's number, and column -> stripped cell, or what is wrong with it.

    Raises:
        ValueError: not UTF-8, or a header that lacks needed columns or repeats names.
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
            detail = f"{len(cells)} cells where the header has {len(columns)}"
            yield number, BadRow(cells[0], detail)
        elif line.strip():
            yield number, dict(zip(columns, cells, strict=True))
    if not columns:
        raise ValueError(f"{path} is empty; expected a header with {', '.join(needed)}.")


def json_list(path: Path, name: str) -> Iterator[Any]:
    """Yield the items of the list `name` of a JSON object, without reading the whole file at once.

    Raises:
        ValueError: the file cannot be read, has no such list, or breaks off; names the file.
    """
    try:
        _refuse_no_file(path)
        with path.open(encoding="utf-8") as stream:
            yield from _Items(stream, path, name)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason}). Get it again.") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from error


def seconds(value: object) -> float | None:
    """Return a finite number of seconds from 0 on, of a number or of text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _refuse_no_file(path: Path) -> None:
    """Stop at what is no file: a pipe would be waited for without end."""
    if not path.is_file():
        raise ValueError(f"{path} cannot be read: it is no file, or a link to none.")


class _Items:
    def __init__(self, stream: TextIO, path: Path, name: str) -> None:
        self.stream, self.path, self.name = stream, path, name
        self.window, self.at = "", 0  # what was read, and how far of it was used
        self.dropped, self.ended = 0, False
        self.decode = json.JSONDecoder().raw_decode

    def __iter__(self) -> Iterator[Any]:
        if self._sign() != "{":
            raise self._error("a JSON object")
        while self._sign() in "{,":  # the object's beginning, or the end of its last member
            self.at += 1
            key = self._value()
            if not isinstance(key, str) or self._sign() != ":":
                raise self._error("a name and a colon")
            self.at += 1
            if key == self.name:
                yield from self._members()
                return
            self._value()
        raise self._error(f"a list {self.name!r}")

    def _members(self) -> Iterator[Any]:
        if self._sign() != "[":
            raise self._error(f"a list {self.name!r}")
        self.at += 1
        if self._sign() == "]":
            return
        yield self._value()
        while (sign := self._sign()) == ",":
            self.at += 1
            yield self._value()
        if sign != "]":
            raise self._error("a comma or the end of the list")

    def _value(self) -> Any:
        """Decode the next value, reading on until it is whole."""
        self._sign()
        while True:
            try:
                value, end = self.decode(self.window, self.at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, RecursionError) or not self._more():
                    raise self._error("a JSON value") from error
                continue
            # Of a number that the window cuts, such as 0.5 after the point, the 0 is one too.
            if self.window[end : end + 1] in _AFTER_A_VALUE or not self._more():
                self.at = end
                return value

    def _sign(self) -> str:
        """Return the next sign that is no space, without taking it; a NUL at the file's end."""
        while True:
            space = _SPACES.match(self.window, self.at)
            assert space is not None  # it may be empty
            self.at = space.end()
            if self.at < len(self.window) or not self._more():
                return self.window[self.at : self.at + 1] or "\0"

    def _more(self) -> bool:
        """Double the window; False at the end of the file, or where an item has no end in sight."""
        if self.ended or len(self.window) - self.at > _LARGEST:
            return False
        self.dropped += self.at
        self.window, self.at = self.window[self.at :], 0
        chunk = self.stream.read(max(_CHUNK, len(self.window)))
        self.ended = not chunk
        self.window += chunk
        return bool(chunk)

    def _error(self, expected: str) -> ValueError:
        there = repr(self.window[self.at : self.at + 20]) if self._sign() != "\0" else "its end"
        return ValueError(
            f"{self.path}: expected {expected} at character {self.dropped + self.at}, found "
            f"{there}. Is the file whole? Compare its size with the published one, or get it again."
        )
