"""Read what corpora are made of: folders of audio, lines of text, long lists in JSON."""

from __future__ import annotations

import io
import json
import lzma
import math
import os
import re
import tarfile
import unicodedata
import zlib
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import TYPE_CHECKING, Any

from harness_bench.audio.io import AUDIO_SUFFIXES
from harness_bench.core.files import paths_below, stamp
from harness_bench.core.sanitize import unseen, visible
from harness_bench.corpora.base import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO, TextIO

_CHUNK = 1 << 20  # characters read at a time
_LARGEST = 1 << 27  # characters that one item of a list may have
_AFTER_A_VALUE = frozenset(" \t\r\n,:]}")
_SPACES = re.compile(r"[ \t\r\n]*")
_FEW = 2  # names that are worth telling
_KNOWN = 200_000  # files of a folder that a missing one is compared with
_WINDOWS = re.compile(r"[A-Za-z]:\\")
_LOOKED_AT = 1000  # files in a tree of archives
_PACKED = frozenset(
    {".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".7z"}
    | {".rar", ".aa", ".001", ".part1"}
)
# The name of the whole, and after it the number of a part.
_ARCHIVE = re.compile(
    r"(.*\.(?:tar|tgz|tbz2?|txz|zip|7z|rar)(?:\.(?:gz|bz2|xz|zst|lz4))?)(?:\.(?:[a-z]{2}|(?:part)?\d+))?$",
    re.IGNORECASE | re.DOTALL,
)
_TAR = "tar -xf {} -C {}"
_TOOLS = {".zip": "unzip {} -d {}", ".7z": "7z x {} -o{}", ".rar": "unrar x {} {}/"}
_OWN_DATA = re.compile(r"\.(?:tsv|csv|jsonl(?:\.gz)?|parquet|arrow)$", re.IGNORECASE)


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


def refuse_archive(root: Path) -> None:
    """Refuse an archive, or a tree of archives without audio, in place of an unpacked corpus.

    The `ValueError` names them and says how to unpack. A tree with a table or parquet files of its
    own is not judged, for its audio may lie elsewhere.
    """
    if any(_OWN_DATA.search(path.name) for path in entries(root)):
        return
    tree = iter([root]) if root.is_file() else paths_below(root, AUDIO_SUFFIXES | _PACKED)
    archives = []
    for path in islice(tree, _LOOKED_AT):
        if path.suffix.lower() in AUDIO_SUFFIXES:
            return
        archives += [path] * bool(_ARCHIVE.match(path.name))
    if archives:
        more = f" and {len(archives) - 1} more" if len(archives) > 1 else ""
        first = visible(archives[0].name)
        what = "is an archive" if root.is_file() else f"is not unpacked: {first}{more}"
        folder = "FOLDER" if root.is_file() else quote(visible(str(archives[0].parent)))
        after = "give FOLDER" if root.is_file() else "prepare it again"
        raise ValueError(f"{root} {what}. {_way_out(archives[0], folder, after)}")


def _way_out(archive: Path, folder: str, after: str) -> str:
    """Say how to unpack an archive into a folder, and what is to be done then."""
    match = _ARCHIVE.match(archive.name)
    whole = visible(match[1] if match else archive.name)
    tool = next((tool for kind, tool in _TOOLS.items() if kind in whole.lower()), _TAR)
    join = f"cat {quote(whole)}.* > {quote(whole)}; " if whole != visible(archive.name) else ""
    members = [PurePosixPath(name) for name in _first_members(archive)]
    keyed = {path.stem for path in members if path.suffix.lower() in AUDIO_SUFFIXES} & {
        path.stem for path in members if path.suffix.lower() not in AUDIO_SUFFIXES
    }
    then = (
        f"It is a WebDataset, whose texts stand beside the audio ({', '.join(map(str, members))}): "
        "write them into a table for `harness-bench prepare tsv`."
        if keyed
        else f"Then {after}."
    )
    return f"Unpack with `{join}{tool.format(quote(whole), folder)}`. {then}"


def _first_members(archive: Path) -> list[str]:
    """Return the names of the first files in a tar; none of what is no tar."""
    try:
        with tarfile.open(archive) as stream:
            return [visible(member.name)[:80] for member in islice(stream, 4) if member.isfile()]
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError):
        return []


def near_miss(path: Path) -> str:
    """Say why a file that is missing was perhaps not found; empty where nothing is to be said."""
    name, folder, hints = path.name, path.parent, []
    if path.is_symlink():
        target = visible(str(path.readlink()))
        annexed = "; `git annex get` fetches it" if ".git/annex" in target else ""
        return f"it is a link to nothing, {target}{annexed}"
    if marks := dict.fromkeys(unseen(str(path))):
        signs = ", ".join(f"U+{ord(m):04X} {unicodedata.name(m, 'control')}" for m in marks)
        hints.append(f"the path has signs that cannot be seen ({signs})")
    if _WINDOWS.match(name):
        hints.append("a path of Windows means nothing here; write it relative to the table, with /")
    elif "\\" in str(path):
        hints.append("a folder is written with / here, not with \\")
    if name[:1] in "\"'" or str(path)[-1:] in "\"'":
        hints.append("quotes are part of a name in tab-separated tables; take them out")
    if not os.path.isdir(folder):  # noqa: PTH112 - a name may be too long or hold a NUL
        there = next((above for above in folder.parents if os.path.isdir(above)), folder)  # noqa: PTH112
        packed = _archives_in(there) if folder != there else ""
        absent = visible(str(folder.relative_to(there)))
        hints.append(f"there is no folder {absent} in {visible(str(there))}{packed}")
        return "; ".join(hints)
    alike = _names_in(str(folder), stamp(folder)[1]).get(_loose(name), [])
    if 0 < len(alike) <= _FEW:
        hints.append(f"{visible(' and '.join(map(repr, alike)))} is there{_differs(name, alike)}")
    return "; ".join(hints)


@lru_cache(maxsize=64)
def _archives_in(folder: Path) -> str:
    """Say which archive waits in a folder to be unpacked."""
    with suppress(ValueError):
        found = [path.name for path in entries(folder) if _ARCHIVE.match(path.name)]
        return f", but {visible(found[0])} is to be unpacked" if found else ""
    return ""


def _differs(name: str, alike: list[str]) -> str:
    forms = [unicodedata.normalize("NFC", other) for other in alike]
    if unicodedata.normalize("NFC", name) in forms:
        return ", in another Unicode form (NFC, NFD) of the same name"
    return ", written with its suffix" if not Path(name).suffix else ""


@lru_cache(maxsize=64)
def _names_in(folder: str, _changed: int) -> dict[str, list[str]]:
    """Return the audio in a folder, kept until it changes, by names of which little is required."""
    names: dict[str, list[str]] = {}
    with suppress(OSError, ValueError), os.scandir(folder) as found:
        for entry in islice(found, _KNOWN):
            if os.path.splitext(entry.name)[1].lower() in AUDIO_SUFFIXES:  # noqa: PTH122 - of many
                names.setdefault(_loose(entry.name), []).append(entry.name)
    return names


def _loose(name: str) -> str:
    """Return a name without case, suffix of audio, Unicode form, quotes and what is not seen."""
    seen = "".join(char for char in name if char.isprintable()).strip(" \"'")
    stem, suffix = os.path.splitext(seen)  # noqa: PTH122 - of many
    whole = stem if suffix.lower() in AUDIO_SUFFIXES else seen
    return unicodedata.normalize("NFC", whole).casefold()


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
        marked = error.object.startswith((b"\xff\xfe", b"\xfe\xff"))
        source = " -f UTF-16" if marked else ""  # what is not marked may be anything
        raise ValueError(
            f"{path}:{number} is not UTF-8 (byte {error.start}: {error.reason}). "
            f"Convert the file with `iconv{source} -t UTF-8`, or get it again."
        ) from error


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
