"""The weights of a checkpoint folder: one file or shards of them, read without running code."""

from __future__ import annotations

import math
import zipfile
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from harness_bench.core.files import LFS_POINTER, read_json
from harness_bench.core.sanitize import check_relative
from harness_bench.models.hub import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

BIN = "pytorch_model.bin"
INDEX = ".index.json"  # transformers' ending of a table of shards
_PICKLES = (".bin", ".ckpt", ".pt")
# What trainers put before a model's own names: DataParallel, torch.compile, PEFT, Lightning.
_WRAPPERS = ("module.", "_orig_mod.", "base_model.model.", "model.")
_BACKBONES = ("hubert.", "wav2vec2.")
_UNUSED = ("masked_spec_embed",)  # by frozen models: published without masking, they have none
_ADAPTERS = (".lora_A.", ".lora_B.", ".base_layer.", ".lora_embedding_A.")


def weight_files(folder: Path) -> list[Path]:
    """List the files that hold a folder's weights; of shards, their table first.

    Raises:
        ValueError: none is there, a shard is missing, or a table names a file elsewhere.
    """
    for name in (WEIGHTS, BIN):
        if (folder / name).is_file():
            return [folder / name]
        if (table := folder / f"{name}{INDEX}").is_file():
            return [table, *_shards(table)]
    hint = ""
    if (folder / "adapter_config.json").is_file():
        hint = (
            " It holds adapters of PEFT alone: merge them into their model "
            "(`merge_and_unload()`) and save that."
        )
    raise ValueError(
        f"{folder} has neither {WEIGHTS} nor {BIN}, whole or in shards (NAME{INDEX}).{hint}"
    )


def _shards(table: Path) -> list[Path]:
    places = read_json(table)
    places = places.get("weight_map") if isinstance(places, dict) else None
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{table} has no `weight_map`, which says where the weights are.")
    names = sorted({*map(str, places.values())})
    try:  # links may lead out: the Hub's cache consists of them
        found = [table.parent / check_relative(name) for name in names]
    except ValueError as error:
        raise ValueError(f"{table} names a file of weights elsewhere: {error}.") from error
    if missing := [path.name for path in found if not path.is_file()]:
        raise ValueError(
            f"{table} names {len(found)} files of weights; {', '.join(missing)} are not in "
            f"{table.parent}. Copy or download the whole folder."
        )
    return found


def read_weights(folder: Path, prefixes: Sequence[str] = _BACKBONES) -> dict[str, Tensor]:
    """Read a folder's tensors under the backbone's own names; see `read_tensors`, `plain_names`."""
    tensors = stored_tensors(folder)
    return {ours: tensors[name] for name, ours in plain_names(tensors, folder, prefixes).items()}


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    """Read a folder's tensors under the names in its files."""
    files = [path for path in weight_files(folder) if path.suffix != ".json"]
    return {name: value for path in files for name, value in read_tensors(path).items()}


def weight_sizes(folder: Path, prefixes: Sequence[str] = _BACKBONES) -> dict[str, int]:
    """Return how many numbers each tensor of a folder has; of safetensors, from headers alone."""
    sizes: dict[str, int] = {}
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            sizes |= {name: math.prod(shape) for name, shape in _header(path).items()}
        elif path.suffix != ".json":
            sizes |= {name: value.numel() for name, value in read_tensors(path).items()}
    return {ours: sizes[name] for name, ours in plain_names(sizes, folder, prefixes).items()}


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Give a module the weights of its parts; tensors of other parts, such as a head's, stay out.

    Raises:
        ValueError: weights that are missing, surplus, quantised or of another shape. transformers
            itself would draw the missing ones at random.
    """
    own = module.state_dict()
    parts = {name.split(".", maxsplit=1)[0] for name in own}
    given = {
        name: each for name, each in tensors.items() if name.split(".", maxsplit=1)[0] in parts
    }
    missing = sorted(own.keys() - given.keys() - {*_UNUSED})
    surplus = sorted(given.keys() - own.keys())
    wrong = [
        f"{name} {tuple(each.shape)} of {each.dtype} for {tuple(own[name].shape)}"
        for name, each in given.items()
        if name in own and (each.shape != own[name].shape
                            or each.is_floating_point() < own[name].is_floating_point())
    ]  # fmt: skip
    if missing or surplus or wrong:
        raise ValueError(
            f"{source}: the weights do not fit config.json; missing {missing[:5]}, surplus "
            f"{surplus[:5]}, of another kind {wrong[:3]} (of {len(missing)}, {len(surplus)} and "
            f"{len(wrong)}). Is that file of the same model, and not quantised?"
        )
    module.load_state_dict(given, strict=False)


def check_weights(files: Iterable[Path]) -> None:
    """Refuse, without reading weights, a pointer of Git LFS and a file that was cut off."""
    for path in files:
        if path.suffix == ".safetensors":
            _header(path)
        elif path.suffix in _PICKLES:
            _check_bin(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read one file of tensors onto the CPU; nothing in it is run.

    Raises:
        ValueError: a pointer of Git LFS, a file that was cut off, or one of more than tensors.
    """
    if path.suffix == ".safetensors":
        _header(path)
        return load_file(path)
    _check_bin(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} was not read: {reason} Only tensors are loaded from it (weights_only), for "
            "unpickling anything else can run code; save it as safetensors."
        ) from error
    if not isinstance(state, dict):
        raise ValueError(  # noqa: TRY004 - user input
            f"{path} holds a {type(state).__name__}, expected a dictionary of weights by name."
        )
    for key in ("state_dict", "model"):  # of Lightning and others, beside optimizers
        if isinstance(inner := state.get(key), dict):
            state = inner
    return {str(name): value for name, value in state.items() if torch.is_tensor(value)}


def plain_names(
    names: Iterable[str], source: Path, prefixes: Sequence[str] = _BACKBONES
) -> dict[str, str]:
    """Map the names in a file to the backbone's: wrappers' and task models' prefixes dropped.

    Adapters that were not merged, and two weights of one name, are a ValueError.
    """
    found = {name: plain_name(name, prefixes) for name in names}
    if adapters := [name for name in found if any(part in name for part in _ADAPTERS)]:
        raise ValueError(
            f"{source} holds adapters of PEFT that were not merged, such as {adapters[0]}. Merge "
            "them with `merge_and_unload()` and save the model again."
        )
    if len({*found.values()}) < len(found):
        raise ValueError(
            f"{source} holds a weight twice under several prefixes; save one model in it."
        )
    return found


def plain_name(name: str, prefixes: Sequence[str] = _BACKBONES) -> str:
    """Drop wrappers' and task models' prefixes and translate the old names of weight norm."""
    name = name.replace("._orig_mod.", ".")
    while dropped := next((p for p in (*_WRAPPERS, *prefixes) if name.startswith(p)), ""):
        name = name.removeprefix(dropped)
    name = name.replace("conv.weight_g", "conv.parametrizations.weight.original0")
    return name.replace("conv.weight_v", "conv.parametrizations.weight.original1")


def _header(path: Path) -> dict[str, Any]:
    """Return the shapes of the tensors in a safetensors file; one that is not whole: ValueError."""
    _refuse_pointer(path)
    try:
        with safe_open(path, framework="pt") as tensors:
            return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} ({path.stat().st_size:,} bytes) is not a complete safetensors file ({error}). "
            "Was its download interrupted? Download it again."
        ) from error


def _check_bin(path: Path) -> None:
    _refuse_pointer(path)
    with path.open("rb") as stream:
        legacy = stream.read(2) == b"\x80\x02"  # torch before 1.6
    if not legacy and not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} ({path.stat().st_size:,} bytes) is not a complete file of torch.save. Was its "
            "download interrupted? Download it again."
        )


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(
                f"{path} is a pointer of Git LFS, not the weights themselves. Fetch them with "
                "`git lfs pull` in their repository."
            )
