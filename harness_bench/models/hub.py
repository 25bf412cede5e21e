"""Where the named upstreams of the family come from: one table, and what a user puts over it."""

from __future__ import annotations

import os
from pathlib import Path  # pydantic reads the annotations
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build, read_toml

TABLE = Path(__file__).with_name("hub.toml")
# Environment variable: a folder of models by name, or a file like the table.
MODELS = "HARNESS_MODELS"
# What frozen use reads; a pretraining head may be larger than a small model.
WEIGHTS = "model.safetensors"
FILES = ("config.json", "preprocessor_config.json", WEIGHTS, "harness.json")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelSource:
    """One model's place; both None where there is none yet."""

    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    revision: Annotated[str, Field(pattern=r"^[\w./-]+$")] | None = None
    folder: Path | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.hub is not None and self.folder is not None:
            raise ValueError(f"hub = {self.hub!r} and folder = {str(self.folder)!r}: give one")
        if self.revision is not None and self.hub is None:
            raise ValueError(f"revision = {self.revision!r} needs a hub")


def names() -> list[str]:
    """List the models of the table."""
    return sorted(read_toml(TABLE))


def packaged() -> dict[str, Path]:
    """Return the folders of the models that come with this package, by name."""
    sources = _read(TABLE).items()
    return {name: source.folder for name, source in sources if source.folder is not None}


def resolve(name: str) -> Path:
    """Return the checkpoint folder (or fairseq file) of a named model, downloaded if need be.

    HARNESS_MODELS comes before the table: a folder with a sub-folder `name` or a file `name.pt`,
    or a TOML file in the table's form. An unavailable model is a ValueError with the way out.
    """
    mine, table = os.environ.get(MODELS), _read(TABLE)
    if mine and Path(mine).is_dir():
        for found in (Path(mine) / name, Path(mine) / f"{name}.pt"):
            if found.exists():
                return found
    elif mine:
        table |= _read(Path(mine), known=table)
    source = table[name]
    if source.folder is not None:
        return source.folder
    if source.hub is not None:
        return _download(name, source.hub, source.revision)
    looked = f" ({mine} has neither a folder {name} nor a file {name}.pt)" if mine else ""
    raise ValueError(
        f"-u {name}: no weights of this model are public yet{looked}. Give yours with "
        f"-k FOLDER, or set {MODELS} to a folder with a sub-folder {name!r}. To make one, train "
        f"preset {source.preset or name} (`harness-bench family`, see docs/pretraining.md) and "
        f"export it: `harness-bench export RUN models/{name}`."
    )


def _read(path: Path, known: dict[str, ModelSource] | None = None) -> dict[str, ModelSource]:
    """Read a table; folders in it are relative to its own."""
    try:
        values = read_toml(path)
    except ValueError as error:
        hint = "" if path == TABLE else f" {MODELS} names a folder of models or such a file."
        raise ValueError(f"{error}{hint}") from None
    if known is not None and (unknown := values.keys() - known.keys()):
        raise ValueError(
            f"{path}: there is no named model {min(unknown)!r}; known: {', '.join(sorted(known))}."
        )
    for name, entry in values.items():
        if isinstance(entry, dict) and isinstance(entry.get("folder"), str):
            entry["folder"] = str(path.parent / Path(entry["folder"]).expanduser())
        values[name] = build(ModelSource, entry, source=f"{path}: [{name}]")
    return values


def _download(name: str, hub: str, revision: str | None) -> Path:
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415 - where one is fetched

    asked = hub if revision is None else f"{hub} at {revision}"
    point = f"or point to a copy with -k FOLDER or {MODELS}."
    try:
        folder = Path(snapshot_download(hub, revision=revision, allow_patterns=list(FILES)))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ValueError(
            f"-u {name}: the Hugging Face Hub has no model {asked}, or you may not read it. Log in "
            f"with `hf auth login` if it is private, {point}"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"-u {name}: {asked} is not in the local cache and the Hugging Face Hub cannot be "
            f"reached ({type(error).__name__}). Run `hf download {hub}` where there is a network, "
            f"{point}"
        ) from error
    if not (folder / FILES[0]).is_file():
        raise ValueError(f"-u {name}: {asked} has no {FILES[0]}, so it is no checkpoint; {point}")
    return folder
