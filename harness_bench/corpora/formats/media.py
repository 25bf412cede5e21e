"""Find audio by the name of a recording, whatever separators and suffix it is written with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness_bench.corpora.base import AUDIO_SUFFIXES
from harness_bench.corpora.formats import reading

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class AudioIndex:
    """The audio files of some folders, by name; nothing outside these folders is ever found."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = [folder for folder in folders if folder.is_dir()]
        self._paths: dict[str, Path] = {}
        for folder in self.folders:
            for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names suffice, and are many
                stem, suffix = os.path.splitext(name)  # noqa: PTH122 - as above
                if suffix.lower() in AUDIO_SUFFIXES and reading.is_utf8(name):
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
