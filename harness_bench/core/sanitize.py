"""Sanitise untrusted text and paths."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

_LONGEST_NAME = 255  # bytes of one part of a path, the limit of common file systems


def clean(text: str) -> str:
    """Make an untrusted string one visible line: no control or direction characters."""
    visible = (" " if char.isspace() else char for char in text)
    return " ".join("".join(char for char in visible if _shown(char)).split())


def shorten(text: str, limit: int) -> str:
    """Cut a cleaned string to `limit` characters, the last one an ellipsis where cut."""
    line = clean(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    A pipe would block for ever and a device would never end, so neither is opened.

    Raises:
        ValueError: larger, or no regular file; names the file.
        OSError: it is not there or cannot be read.
    """
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe, a device or a dangling link"
        raise ValueError(f"{path} is {what}, where a file is expected; delete or move it.")
    with path.open("rb") as stream:
        data = stream.read(limit + 1)  # The size that the file system tells may be wrong.
    if len(data) > limit:
        size = max(path.stat().st_size, limit + 1)
        raise ValueError(f"{path} has {size} bytes; at most {limit} are read.")
    return data


def check_relative(text: str) -> str:
    """Return a relative path as it is, if its text cannot lead out of its folder.

    Raises:
        ValueError: absolute, with `..`, backslashes or invisible characters, or a part too long.
    """
    path = PurePosixPath(text)
    parts = path.parts
    if path.is_absolute() or ".." in parts or "\\" in text or ":" in text or not parts:
        raise ValueError(f"{shorten(text, 80)!r} must stay below the result's folder")
    if clean(text) != text:
        raise ValueError(f"{shorten(text, 80)!r} has characters that cannot be seen")
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise ValueError(f"{shorten(text, 80)!r} has a part longer than {_LONGEST_NAME} bytes")
    return text


def inside(folder: Path, relative: str) -> Path:
    """Return the path of a file below a folder, links followed.

    Raises:
        ValueError: the path leaves the folder, by its text or by a symbolic link.
    """
    root = folder.resolve()
    try:
        path = (root / check_relative(relative)).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, Python 3.12
        raise ValueError(f"{shorten(relative, 80)!r} cannot be followed: {error}") from None
    if not path.is_relative_to(root):
        raise ValueError(f"{shorten(relative, 80)!r} leads out of its folder by a symbolic link")
    return path


def _shown(char: str) -> bool:
    """Leave out control, format (direction), surrogate and unassigned characters."""
    return not unicodedata.category(char).startswith("C")
