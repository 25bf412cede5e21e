"""Which files a piece of code writes, wherever they are: Python itself tells of each."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.truncate",
            "os.chmod", "os.rmdir", "shutil.")  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_watching: list[list[str]] = []
_hooked: list[bool] = []


@contextmanager
def writes() -> Iterator[list[str]]:
    """Yield a list that fills with every path that is written, made, moved or removed."""
    if not _hooked:
        sys.addaudithook(_hook)  # stays for good: Python has no way to take one back
        _hooked.append(True)
    found: list[str] = []
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def outside(found: list[str], folder: Path) -> list[str]:
    """Return what of it is neither in a folder nor Python's own compiled modules."""
    return [
        path
        for path in found
        if not Path(os.path.normpath(path)).is_relative_to(folder)
        and "__pycache__" not in path
        and path != os.devnull
    ]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        path, _mode, flags = arguments
        if isinstance(path, int) or not (flags or 0) & _WRITING:
            return
        _note(path)
    elif event.startswith(_CHANGES):
        for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
            _note(path)


def _note(path: object) -> None:
    if isinstance(path, str | bytes | os.PathLike):
        for found in _watching:
            found.append(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - no link is followed
