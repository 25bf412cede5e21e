"""Which corpora a family is trained on; light enough for configs and the command line to import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT

PREPARED, SHARDED = "cuts", "shar"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SourceConfig:
    """One corpus of the training audio."""

    folder: str = Field(min_length=1)  # relative to the file it stands in; ~ and $NAME are expanded
    # "cuts": a prepared folder; "shar": a sharded one; else a corpus that is prepared on the way.
    corpus: str = Field(default=PREPARED, min_length=1)
    name: str | None = None  # what iterations call it; the folder's name where unset
    split: str = "train"
    language: str | None = None  # of every utterance that does not say
    hours: float | None = Field(default=None, gt=0)  # for plans made before the audio is there
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)  # the corpus's own

    @property
    def title(self) -> str:
        """Return what iterations call it."""
        return self.name or Path(self.folder).name


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingDataConfig:
    """All training audio of a family."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    # Files with one recording or utterance id a line that must not be trained on.
    exclude: tuple[str, ...] = ()
    # Prepared folders whose dev and test sets must not be trained on either.
    protect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that iterations can tell the sources apart."""
        titles = [source.title for source in self.sources]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"two sources are called {title!r}; give one of them a name")


def resolve_paths(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a [data] table absolute; they are relative to the folder of its file.

    Wrong types are left as they are: the strict config explains them.
    """
    table = dict(values)
    sources = table.get("sources")
    if isinstance(sources, list):
        table["sources"] = [
            {**source, "folder": absolute(source.get("folder"), base)}
            if isinstance(source, dict) and "folder" in source
            else source
            for source in sources
        ]
    for key in ("exclude", "protect"):
        if isinstance(table.get(key), list):
            table[key] = [absolute(path, base) for path in table[key]]
    return table


def absolute(path: object, base: Path) -> object:
    """Return a path relative to `base` as an absolute one, ~ and $NAME expanded."""
    if not isinstance(path, str):
        return path
    return str((base / Path(os.path.expandvars(path)).expanduser()).resolve())
