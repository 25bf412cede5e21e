"""Pickled checkpoints of strangers, read without running what they hold.

`torch.load(weights_only=True)` builds tensors and containers alone. The classes of settings that
fairseq's files name beside them become one inert class, which only keeps its state; no module that
a file names is ever imported. Any other global is refused by its name before anything is built.
"""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, Any, Self

import torch
from torch._weights_only_unpickler import _get_allowed_globals, get_globals_in_pkl

if TYPE_CHECKING:
    from pathlib import Path

# What fairseq's files name beside tensors: classes of settings, dictionaries and meters, types.
INERT_NAMES = re.compile(
    r"(fairseq|omegaconf)(\.[a-z_0-9]+)*\.[A-Z]\w*|argparse\.Namespace|typing\.[A-Z]\w*|"
    r"pathlib\.[A-Z]\w*|builtins\.(dict|list|tuple|int|float|str|bool|type|object)|"
    r"collections\.defaultdict|copyreg\._reconstructor|"
    r"numpy\.(dtype|ndarray)|numpy\._?core\.multiarray\.(scalar|_reconstruct)"
)
LEGACY_PICKLES = 5  # of torch.save before 1.6: magic number, protocol, system, object, keys


class Inert:
    """Stands for an object whose class is never imported: keeps its arguments and state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __new__(cls, *_: Any) -> Self:
        """Make an object that is whole even if unpickling never calls `__init__`."""
        made = super().__new__(cls)
        made.arguments, made.state = (), None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


def load_inert(path: Path) -> dict[str, Any]:
    """Read a file of torch.save: tensors and containers as they are, all else as `Inert`.

    Raises:
        ValueError: no such file, no such format, or a global other than fairseq's, omegaconf's and
            the like; names it.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    in_zip = zipfile.is_zipfile(path)
    try:
        named = _globals(path, in_zip=in_zip)
    except Exception as error:
        raise ValueError(f"{path} is no whole file that torch.save wrote: {error!r}") from error
    refused = sorted(name for name in named if not INERT_NAMES.fullmatch(name))
    if refused:
        raise ValueError(
            f"{path} names {', '.join(refused)}, which no checkpoint of fairseq needs. It was not "
            "read, since unpickling such a file can run any code. If you trust it, save its "
            "weights and settings anew as tensors and dictionaries alone."
        )
    with torch.serialization.safe_globals([(_stand_in(name), name) for name in named]):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=in_zip)
        except Exception as error:
            raise ValueError(f"{path} was not read: {error}") from error
    if type(state) is not dict:
        raise ValueError(f"{path} holds a {type(state).__name__}, not a dictionary.")
    return state


def plain(value: Any) -> Any:
    """Turn omegaconf's nodes, Namespaces and enumerations into dictionaries, lists and values."""
    if isinstance(value, Inert):
        inner = value.state if value.state is not None else value.arguments[:1]
        if isinstance(inner, tuple):
            return plain(inner[0]) if inner else None
        if isinstance(inner, dict):
            inner = next((inner[key] for key in ("_content", "_val") if key in inner), inner)
        return plain(inner)
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _globals(path: Path, *, in_zip: bool) -> set[str]:
    """List the globals that a file names beyond torch's own safe ones; builds nothing."""
    if in_zip:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        return {str(name) for name in unsafe}
    named: set[str] = set()
    with path.open("rb") as stream:
        for _ in range(LEGACY_PICKLES):
            named |= get_globals_in_pkl(stream)
    return {name for name in named if name not in _get_allowed_globals()}


def _stand_in(name: str) -> Any:
    # torch fills items into real dictionaries alone.
    return _plain_dict if name == "collections.defaultdict" else Inert


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}
