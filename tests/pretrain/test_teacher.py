"""A teacher may be an earlier iteration, anybody's checkpoint, or a named model."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import HubertConfig, HubertModel

from harness_bench.core.files import read_json
from harness_bench.core.stage_times import StageTimes
from harness_bench.models.checkpoint import load_hubert, transformers_config
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.models.hub import MODELS
from harness_bench.pretrain.config import checkpoint_folder, load_family
from harness_bench.pretrain.family import run_family
from harness_bench.pretrain.teacher import find_teacher
from tests.models.conftest import small_config
from tests.tiny import DEFAULTS, TEACHERS

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut

STUDENT = """
[[iterations]]
name = "student"
teacher = "TEACHER"
model = { encoder_layers = 1 }
labels = { source = "hidden", layer = 2 }
pretrain = { init = "copy_extractor", feature_grad_mult = 0.0 }
"""


def made(cuts: list[Cut], folder: Path, text: str) -> Path:
    """Make the family of a TOML in `folder`, below it."""
    (folder / "family.toml").write_text(DEFAULTS + text)
    family = load_family(folder / "family.toml")
    run_family(family, cuts, folder / "out", times=StageTimes(), accelerator="cpu")
    return folder / "out"


@pytest.fixture(scope="module")
def teacher(cuts: list[Cut], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of this project."""
    first = TEACHERS.split('[[iterations]]\nname = "second"', maxsplit=1)[0]
    return checkpoint_folder(made(cuts, tmp_path_factory.mktemp("first"), first), "first")


def label_source(out: Path) -> str:
    return str(read_json(out / "student" / "labels" / "provenance.json")["inputs"]["source"])


def test_one_checkpoint_by_three_names_gives_one_student(
    cuts: list[Cut], teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels are keyed by the teacher's digest, so its name or place changes no bit."""
    folders = {name: tmp_path / name for name in ("iteration", "path", "named")}
    for folder in folders.values():
        folder.mkdir()
    inside = made(cuts, folders["iteration"], TEACHERS + STUDENT.replace("TEACHER", "first"))
    copy = folders["path"] / "teacher"
    shutil.copytree(checkpoint_folder(inside, "first"), copy)
    by_path = made(cuts, folders["path"], STUDENT.replace("TEACHER", "./teacher"))
    shutil.copytree(copy, tmp_path / "models" / "harness_l")
    monkeypatch.setenv(MODELS, str(tmp_path / "models"))
    by_name = made(cuts, folders["named"], STUDENT.replace("TEACHER", "harness_l"))
    expected = f"hidden-2-of-{checkpoint_digest(teacher)}"
    one, *others = (
        load_hubert(checkpoint_folder(out, "student")).state_dict()
        for out in (inside, by_path, by_name)
    )
    assert {label_source(out) for out in (inside, by_path, by_name)} == {expected}
    for other in others:
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_of_transformers_teaches(cuts: list[Cut], tmp_path: Path) -> None:
    """What another project published labels audio here, and starts a student."""
    torch.manual_seed(0)
    config = HubertConfig(**transformers_config(small_config()))
    HubertModel(config).save_pretrained(tmp_path / "theirs")
    layers = f"conv_dim = {list(config.conv_dim)}\n"
    text = STUDENT.replace("TEACHER", "./theirs").replace(
        "encoder_layers = 1 }", f"encoder_layers = 1, {layers.strip()}, conv_bias = "
        f"{str(config.conv_bias).lower()} }}",
    )  # fmt: skip
    out = made(cuts, tmp_path, text)
    theirs = load_hubert(tmp_path / "theirs").state_dict()
    assert label_source(out) == f"hidden-2-of-{checkpoint_digest(tmp_path / 'theirs')}"
    ours = load_hubert(checkpoint_folder(out, "student")).state_dict()
    extractor = [name for name in theirs if name.startswith("feature_extractor.")]
    assert extractor
    assert all(torch.equal(ours[name], theirs[name]) for name in extractor)


def test_mistakes_are_found_before_audio_is_read(
    cuts: list[Cut], teacher: Path, tmp_path: Path
) -> None:
    """No such path, a layer too many, a shape that cannot start the student."""
    for name, changes, what in (
        ("./absent", {}, "absent"),
        (str(teacher), {"layer = 2": "layer = 3"}, "has 2 layers"),
        (
            str(teacher),
            {"copy_extractor": "block_average", "encoder_layers = 1": "encoder_embed_dim = 16"},
            "encoder_embed_dim",
        ),
    ):
        text = STUDENT.replace("TEACHER", name)
        for old, new in changes.items():
            text = text.replace(old, new)
        with pytest.raises(ValueError, match=what):
            made(cuts, tmp_path, text)
        assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"'fist' is no iteration.*first.*harness_l"):
        find_teacher("fist", {"first": teacher})
