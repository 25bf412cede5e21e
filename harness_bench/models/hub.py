"""Where models come from: the family's names (one table, and what a user puts over it), the Hub.

`locate` turns what a user writes into a path, wherever a checkpoint is named.
"""

from __future__ import annotations

import os
import re
from pathlib import Path  # pydantic reads the annotations
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core import hub as core_hub
from harness_bench.core.config import STRICT, build, read_toml
from harness_bench.core.files import check_given, read_settings
from harness_bench.core.log import say

TYPES = "harness_bench.models.types"
PATHLESS = ("fbank",)  # model types that compute features without a checkpoint
TABLE = Path(__file__).with_name("hub.toml")
# Environment variable: a folder of models by name, or a file like the table.
MODELS = "HARNESS_MODELS"
# What frozen use reads of our folders; a pretraining head may be larger than a small model.
WEIGHTS, GRAPH = "model.safetensors", "model.onnx"
FILES = ("config.json", "preprocessor_config.json", WEIGHTS, "harness.json")
# Of a repository also what others write, who made it and under which terms. Nothing that runs code
# when it is read: pytorch_model.bin is a pickle.
_FETCHED = (
    *FILES, "processor_config.json", "model*.safetensors", f"{WEIGHTS}.index.json", "README.md",
    "LICENSE*",
)  # fmt: skip
_REPOSITORY = re.compile(
    core_hub.REPOSITORY + r"(/(?P<adapter>adapter\.[\w-]+\.safetensors))?" + core_hub.REVISION,
    re.ASCII,
)
# Names of folders and files that say what is in them, and not which model it is.
_SAYS_NOTHING = re.compile(
    r"((checkpoints?|states|models?|pytorch_model|weights|runs?|exports?|output)?"
    r"[-_.]?(best|last|latest|final)?)[-_.]?\d*",
    re.IGNORECASE,
)


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
    source = _source(name)
    if source.folder is not None:
        return source.folder
    if source.hub is not None:
        return _download(source.hub, source.revision)
    mine = os.environ.get(MODELS)
    looked = f" ({mine} has neither a folder {name} nor a file {name}.pt)" if mine else ""
    raise ValueError(
        f"-u {name}: no weights of this model are public yet{looked}. Give yours with "
        f"-k FOLDER, or set {MODELS} to a folder with a sub-folder {name!r}. To make one, train "
        f"preset {source.preset or name} (`harness-bench family`, see docs/pretraining.md) and "
        f"export it: `harness-bench export RUN models/{name}`."
    )


def _source(name: str) -> ModelSource:
    """Return where a named model is, by HARNESS_MODELS or the table."""
    mine, table = os.environ.get(MODELS), _read(TABLE)
    if mine and Path(mine).is_dir():
        for found in (Path(mine) / name, Path(mine) / f"{name}.pt"):
            if found.exists():
                return ModelSource(folder=found)
    elif mine:
        table |= _read(Path(mine), known=table)
    return table[name]


def how_to_get(model: str) -> str:
    """Say how to get a model that is not on this machine; empty where it is. Nothing is fetched."""
    if Path(model).exists():
        return ""
    if model in names():
        source = _source(model)
        if source.hub is None:
            try:
                resolve(model)
            except ValueError as error:
                return str(error)
            return ""
        model = source.hub + (f"@{source.revision}" if source.revision else "")
    if (repository := core_hub.repository(model, "model")) is None:
        return "there is no such folder, and this is no OWNER/NAME of the Hugging Face Hub"
    return core_hub.how_to_get(repository)


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


def check_known(
    model: str | Path, called: str = "Model", way_out: str = "", *, pathless: bool = False
) -> None:
    """Refuse what is no path that exists, no named model and no OWNER/NAME of the Hub; ask no host.

    `called` is what the user calls it, and `way_out` says what may be given; default: `choices`.
    With `pathless`, a type without a checkpoint passes too, such as fbank.
    """
    path, text = Path(model), str(model)
    if text in (*names(), *(PATHLESS if pathless else ())) or source_of(path):
        return
    if not is_repository(text):
        check_given(path, called, "file or folder", way_out or choices())


def choices(*more: str) -> str:
    """Say what may be given where a model is asked for: what `locate` finds, after something else.

    Each of `more` is a word or two, such as "fbank".
    """
    named = f"a named model ({', '.join(names())})"
    first = [*more, "a checkpoint's folder or file", named]
    return f"Give {', '.join(first)}, or OWNER/NAME[@REVISION] of the Hugging Face Hub."


def locate(
    model: str | Path, called: str = "Model", way_out: str = "", *, pathless: bool = False
) -> Path:
    """Return the local path of a model as users name it.

    That is, in this order, a path that exists, a name of the family (`resolve`), or `OWNER/NAME` or
    `OWNER/NAME@REVISION` of the Hugging Face Hub, which is downloaded once and then found in its
    cache, also offline; of MMS also `OWNER/NAME/adapter.LANGUAGE.safetensors`. A path in the cache
    of then or of another machine, which heads and ASR models keep, is found again by its commit.

    Args:
        model: what the user wrote.
        called: what the user calls it, for the message.
        way_out: what else may be given, for the message; default: `choices`.
        pathless: whether a type without a checkpoint, such as fbank, is returned as its name.

    Raises:
        ValueError: anything else, or a model that is not to be had or has no
            weights in safetensors.
    """
    path, text = Path(model), str(model)
    if path.exists():
        if "/" not in text and text in names():
            say(f"{text}: {path.absolute()}, and not the model of this name")
        return path
    if text in names():
        return resolve(text)
    if source := source_of(path):
        text = source.replace("@", f"/{path.name}@") if path.suffix else source
    if (found := _REPOSITORY.fullmatch(text)) is not None:
        return _download(found["repo"], found["revision"], found["adapter"])
    check_known(model, called, way_out, pathless=pathless)
    return path


def is_repository(model: str) -> bool:
    """Whether a text has the form of a name on the Hub; a relative path may have it, too."""
    return _REPOSITORY.fullmatch(model) is not None


def source_of(path: Path) -> str:
    """Return `OWNER/NAME@COMMIT` of a path in the Hub's cache, "" of any other."""
    return core_hub.source_of(path.parent if path.suffix else path)  # a file of adapters


def model_name(model: str | Path) -> str:
    """Return what a model is called where no one says; never a word such as `checkpoint`.

    Of a model in this package its name in the table, else the name in harness.json, else that of
    the folder, or of the first folder above that has one; on the Hub OWNER/NAME. One on the way
    (`export-00001000`) has its number behind. `_name_or_path` of config.json is not asked: of a
    fine-tuned model it names the one that it was made from.
    """
    path = Path(model).absolute()
    if name := next((name for name, box in packaged().items() if box == path), ""):
        return name
    if source := source_of(path) or (not path.exists() and is_repository(str(model)) and model):
        repo = str(source).partition("@")[0]
        return f"{repo}/{path.name}" if path.is_file() else repo
    if path.name.startswith("adapter."):  # a language's, beside the weights of a multilingual model
        return f"{model_name(path.parent)}-{path.stem.removeprefix('adapter.')}"
    facts = read_settings(path / "harness.json")
    own = path.name if path.is_dir() or not path.suffix else path.stem
    given = str(facts.get("name") or "")
    names = ("" if given == "random" else given, own, *(each.name for each in path.parents))
    name = next((each for each in names if not _SAYS_NOTHING.fullmatch(each)), own)
    number = re.search(r"[-_.](\d+)$", own) if _SAYS_NOTHING.fullmatch(own) else None
    return f"{name}-{int(number[1])}" if number and name != own else name


def _download(repo: str, revision: str | None, adapter: str | None = None) -> Path:
    source = core_hub.Repository(repo, revision)
    point = f"or point to a copy: a folder, or {MODELS}."

    def fetch(*more: str) -> Path:
        return core_hub.snapshot(source, [*_FETCHED, *more], ["*/*"], way_out=point)

    folder = fetch() if adapter is None else fetch(adapter)
    if not _weights(folder):  # those of an exported graph are in it, which is data too
        folder = fetch(GRAPH)
    if adapter is not None and not (folder / adapter).is_file():
        raise ValueError(f"{source} has no {adapter}; {point}")
    _check(folder, str(source), point)
    say(f"{source}: {source_of(folder)}, in {folder}")
    return folder if adapter is None else folder / adapter


def _weights(folder: Path) -> list[Path]:
    return [*folder.glob("model*.safetensors")]


def _check(folder: Path, asked: str, point: str) -> None:
    """Refuse a repository without settings, or without weights that are safe to read."""
    if not (folder / FILES[0]).is_file():
        raise ValueError(f"{asked} has no {FILES[0]}, so it is no checkpoint; {point}")
    if not _weights(folder) and not (folder / GRAPH).is_file():
        raise ValueError(
            f"{asked} has no {WEIGHTS}, whole or in shards. Others, such as pytorch_model.bin, are "
            "not fetched: they are pickles, which can run any code when they are opened. Take a "
            f"revision with safetensors (often refs/pr/N), convert a copy that you trust, {point}"
        )
