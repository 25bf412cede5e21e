"""Named datasets of the Hugging Face Hub, one TOML file each: where it is, its columns and splits.

A file is found by its name. What was not seen of a dataset itself, but reported of it, says so.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, override

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, load
from harness_bench.core.registry import package_folder
from harness_bench.corpora.doctor.known import Known

type Value = str | int | float | bool | tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Preset:
    """One dataset."""

    title: str
    # None: no copy on the Hub is known; a folder is given, and its homepage says how to get it.
    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    # A commit where one is known, so that figures stay reproducible; None: the newest.
    revision: Annotated[str, Field(pattern=r"^[\w./-]+$")] | None = None
    licence: str = Field(min_length=1)
    homepage: str = ""  # where it is not its page on the Hub
    citation: str = ""
    about: str = ""
    # Of the corpus hf: which column is what, the config, the splits.
    options: dict[str, Value] = Field(default_factory=dict)
    # Field -> value there -> value here; values that do not stand here stay.
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    # Which of licence, revision, files, columns, splits and values were seen on a page or in a
    # file of the dataset; what is false was reported by others who use it.
    seen: dict[str, bool] = Field(default_factory=dict)
    examples: tuple[str, ...] = ()  # names of its audio files, where the option pattern reads them
    known: Known | None = None  # figures for `corpora-doctor`

    @override
    def __str__(self) -> str:
        doubts = ", ".join(name for name, seen in self.seen.items() if not seen)
        told = f" Not seen, but reported: {doubts}." if doubts else ""
        at = f"@{self.revision}" if self.revision else ""
        place = f"{self.hub}{at}" if self.hub else f"A folder, from {self.homepage}"
        return f"{self.title}. {place}; licence: {self.licence}. {self.about}".strip() + told


def available() -> list[str]:
    """List the presets, sorted."""
    return sorted(path.stem for path in package_folder(__name__).glob("*.toml"))


def get(name: str) -> Preset:
    """Return a preset; an unknown name is a `ValueError` that lists all."""
    if name not in (known := available()):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no preset {name!r}; there are {', '.join(known)}.{hint}")
    return load(Preset, Path(package_folder(__name__)) / f"{name}.toml")
