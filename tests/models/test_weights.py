"""Weights as people leave them: in shards, under wrappers' names, as pointers, cut off."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness_bench.models import frozen
from harness_bench.models.checkpoint import save_random
from tests.models.conftest import small_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 378302360\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "model"
    save_random(folder, small_config(encoder_layers=2), seed=0)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "model")
    return tmp_path / "model"


def tensors_of(folder: Path) -> dict[str, Tensor]:
    found = frozen.load_backbone(folder).state_dict()
    return {name.removeprefix("hubert."): value for name, value in found.items()}


def assert_same(folder: Path, original: Path) -> None:
    ours, theirs = tensors_of(folder), tensors_of(original)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert frozen.parameter_count(folder) == frozen.parameter_count(original)


def shard(folder: Path, suffix: str) -> Path:
    """Divide the weights as transformers does with `max_shard_size`; return the table."""
    tensors = load_file(folder / frozen.WEIGHTS)
    (folder / frozen.WEIGHTS).unlink()
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    places: dict[str, str] = {}
    for number in (1, 2):
        name = f"{stem}-0000{number}-of-00002{suffix}"
        part = dict([*tensors.items()][number - 1 :: 2])
        places |= dict.fromkeys(part, name)
        if suffix == ".safetensors":
            save_file(part, folder / name)
        else:
            torch.save(part, folder / name)
    table = folder / f"{stem}{suffix}.index.json"
    table.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return table


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards_are_one_model(folder: Path, original: Path, suffix: str) -> None:
    """Large models come so; every shard decides the features."""
    table, whole = shard(folder, suffix), frozen.weight_bytes(original)
    assert_same(folder, original)
    assert frozen.weight_bytes(folder) > 0.9 * whole
    before = frozen.checkpoint_digest(folder)
    last = max(folder.glob(f"*-of-00002{suffix}"))
    part = load_file(last) if suffix == ".safetensors" else torch.load(last, weights_only=True)
    name = next(iter(part))
    part[name] = part[name] + 1
    (save_file if suffix == ".safetensors" else torch.save)(part, last)
    assert frozen.checkpoint_digest(folder) != before
    last.unlink()
    with pytest.raises(ValueError, match=last.name):
        frozen.shape_of(folder)
    table.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(ValueError, match="elsewhere"):
        frozen.shape_of(folder)


RENAMES: dict[str, Callable[[str], str]] = {
    "DataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "compiled blocks": lambda name: name.replace("layers.0.", "layers.0._orig_mod."),
    "task model in DataParallel": lambda name: f"module.hubert.{name}",
    "PEFT, merged": lambda name: f"base_model.model.hubert.{name}",
    "Lightning": lambda name: f"model.wav2vec2.{name}",
}


@pytest.mark.parametrize("wrapper", RENAMES)
def test_wrappers_names_are_dropped(folder: Path, original: Path, wrapper: str) -> None:
    """The weights are the same, whoever held them when they were saved."""
    tensors = load_file(folder / frozen.WEIGHTS)
    save_file({RENAMES[wrapper](name): value for name, value in tensors.items()},
              folder / frozen.WEIGHTS)  # fmt: skip
    assert_same(folder, original)


def test_a_state_of_lightning_is_read(folder: Path, original: Path) -> None:
    """Its weights stand beside what the trainer needs."""
    tensors = load_file(folder / frozen.WEIGHTS)
    (folder / frozen.WEIGHTS).unlink()
    state = {f"model.{name}": value for name, value in tensors.items()}
    torch.save({"state_dict": state, "epoch": 3}, folder / "pytorch_model.bin")
    assert_same(folder, original)


def pointer(folder: Path) -> None:
    (folder / frozen.WEIGHTS).write_bytes(POINTER)


def cut_off(folder: Path) -> None:
    path = folder / frozen.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1000])


def cut_off_bin(folder: Path) -> None:
    torch.save(load_file(folder / frozen.WEIGHTS), folder / "pytorch_model.bin")
    (folder / frozen.WEIGHTS).unlink()
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-1000])


def empty(folder: Path) -> None:
    (folder / frozen.WEIGHTS).write_bytes(b"")


def adapters_alone(folder: Path) -> None:
    (folder / frozen.WEIGHTS).rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")


def cut_off_settings(folder: Path) -> None:
    path = folder / frozen.CONFIG
    path.write_text(path.read_text()[:100])


def fewer_settings(folder: Path) -> None:
    path = folder / frozen.CONFIG
    values = json.loads(path.read_text())
    del values["conv_stride"], values["layer_norm_eps"]
    path.write_text(json.dumps(values))


def a_list_of_settings(folder: Path) -> None:
    (folder / frozen.PREPROCESSOR).write_text("[1]")


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pointer of Git LFS": (pointer, "git lfs pull"),
    "a cut-off file": (cut_off, r"model\.safetensors \(.* not a complete safetensors"),
    "a cut-off .bin": (cut_off_bin, r"pytorch_model\.bin \(.* not a complete file"),
    "an empty file": (empty, r"model\.safetensors \(0 bytes"),
    "adapters alone": (adapters_alone, "merge_and_unload"),
    "cut-off settings": (cut_off_settings, r"config\.json is not valid JSON"),
    "settings that lack some": (fewer_settings, "lacks layer_norm_eps, conv_stride"),
    "a list for settings": (a_list_of_settings, "preprocessor_config.json holds a list"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_broken_is_told_before_weights_are_read(folder: Path, fault: str) -> None:
    """`shape_of` is asked first by every room, before any audio."""
    damage, words = BROKEN[fault]
    damage(folder)
    with pytest.raises(ValueError, match=words):
        frozen.shape_of(folder)


def test_weights_of_another_kind_are_told(folder: Path) -> None:
    """An int8 weight would be read as a number without its scale."""
    tensors = load_file(folder / frozen.WEIGHTS)
    names = ("encoder.layers.0.attention.k_proj.weight", "encoder.layers.1.layer_norm.bias")
    changed = {names[0]: torch.zeros(32, 32, dtype=torch.int8), names[1]: torch.zeros(31)}
    for name, value in changed.items():
        save_file(tensors | {name: value}, folder / frozen.WEIGHTS)
        with pytest.raises(ValueError, match=f"kind .*{name}"):
            frozen.load_backbone(folder)
    with pytest.raises(ValueError, match="give its folder"):
        frozen.load_backbone(folder / frozen.WEIGHTS)


def test_adapters_that_were_not_merged_are_told(folder: Path) -> None:
    """Without them the model would be its base, under another name."""
    tensors = load_file(folder / frozen.WEIGHTS)
    name = "encoder.layers.0.attention.k_proj"
    extra: dict[str, Any] = {f"{name}.lora_A.default.weight": torch.zeros(2, 32)}
    save_file(tensors | extra, folder / frozen.WEIGHTS)
    with pytest.raises(ValueError, match="merge_and_unload"):
        frozen.load_backbone(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    """One NaN makes every feature NaN, and every head of it chance."""
    tensors = load_file(folder / frozen.WEIGHTS)
    tensors["encoder.layers.1.feed_forward.output_dense.weight"][0, 0] = value
    save_file(tensors, folder / frozen.WEIGHTS)
    with pytest.raises(ValueError, match=r"layers\.1\.feed_forward\.output_dense\.weight has 1 "):
        frozen.load_backbone(folder)


def test_a_table_that_leads_elsewhere_is_named(folder: Path) -> None:
    """It came with a download, and would open any file."""
    (folder / "model.safetensors").unlink()
    table = folder / "model.safetensors.index.json"
    table.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(ValueError, match=rf"{table.name} names a file of weights elsewhere"):
        frozen.shape_of(folder)


def test_a_file_without_names_is_refused(folder: Path) -> None:
    """Whatever torch.save was given."""
    (folder / "model.safetensors").unlink()
    torch.save([torch.zeros(2)], folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="holds a list"):
        frozen.load_backbone(folder)
