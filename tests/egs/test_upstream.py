"""`--upstream NAME_OR_DIR`: the folder it stands for, checked before hours of data preparation."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder_of() -> Callable[[str], Path]:
    found: Callable[[str], Path] = runpy.run_path(str(ROOT / "egs" / "upstream.py"))["folder_of"]
    return found


def test_a_name_of_the_family_is_looked_up(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    folder_of: Callable[[str], Path],
) -> None:  # fmt: skip
    """As `-u harness_st` in s3prl: one name, one model on both sides."""
    shutil.copytree(tiny_checkpoint, tmp_path / "harness_st")
    monkeypatch.setenv("HARNESS_MODELS", str(tmp_path))
    assert folder_of("harness_st") == tmp_path / "harness_st"
    with pytest.raises(ValueError, match="harness_s: no weights of this model"):
        folder_of("harness_s")


def test_a_wav2vec_folder_is_an_upstream(
    tiny_checkpoint: Path, tmp_path: Path, folder_of: Callable[[str], Path]
) -> None:
    """XLS-R is one; its config names another model type and has keys of its own."""
    folder = tmp_path / "xlsr"
    shutil.copytree(tiny_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForPreTraining"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert folder_of(str(folder)) == folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "whisper"}, "model_type is 'whisper'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        (None, "has neither model.safetensors nor pytorch_model.bin"),
    ],
)
def test_what_cannot_be_computed_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, folder_of: Callable[[str], Path],
    change: dict[str, str] | None, told: str,
) -> None:  # fmt: skip
    """Stage 11 would find it, hours later."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    if change is None:
        (folder / "model.safetensors").unlink()
    else:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        folder_of(str(folder))


def test_a_layer_that_is_not_there_is_refused(
    tiny_checkpoint: Path, folder_of: Callable[..., Path]
) -> None:
    """Two blocks have the hidden states 0, 1 and 2."""
    for layers in ("mean", "2", "-3"):
        assert folder_of(str(tiny_checkpoint), layers) == tiny_checkpoint
    for layers in ("3", "-4"):
        with pytest.raises(ValueError, match=f"layers = {layers}"):
            folder_of(str(tiny_checkpoint), layers)
