"""Packs from strangers: nothing runs, nothing is written elsewhere, and mistakes are explained."""

from __future__ import annotations

import pickle  # noqa: TID251 - to make the malicious file
import shutil
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, override

import pytest
import yaml

from harness_bench.asr.transcribe.model import OpenOptions, open_model, unpack
from harness_bench.asr.transcribe.pack import Sources, pack

if TYPE_CHECKING:
    from collections.abc import Callable

ESCAPES = ("../out.txt", "/tmp/out.txt", "a/../../out.txt", "a\\..\\out.txt", "C:/out.txt")  # noqa: S108


@pytest.mark.parametrize("name", ESCAPES)
def test_no_member_leaves_the_folder(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("meta.yaml", "files: {}\n")
        archive.writestr(name, "gotcha")
    with pytest.raises(ValueError, match=r"bad\.zip is refused"):
        unpack(tmp_path / "bad.zip", tmp_path / "in" / "side")
    assert not list((tmp_path / "in" / "side").iterdir())


def test_a_link_is_not_made(tmp_path: Path) -> None:
    """A link to /etc, and then a file below it."""
    link = zipfile.ZipInfo("exp")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, str(tmp_path / "elsewhere"))
        archive.writestr("exp/file", "gotcha")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match=r"bad\.zip is broken"):
        unpack(tmp_path / "bad.zip", tmp_path / "side")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "side" / "exp").is_symlink()


def test_what_meta_names_lies_inside(tmp_path: Path) -> None:
    """ESPnet itself follows such names out of the folder."""
    (tmp_path / "secret.yaml").write_text("a: 1\n", encoding="utf-8")
    model = tmp_path / "model"
    model.mkdir()
    names = {"asr_train_config": "../secret.yaml", "asr_model_file": "../secret.yaml"}
    (model / "meta.yaml").write_text(yaml.safe_dump({"yaml_files": names}), encoding="utf-8")
    with pytest.raises(ValueError, match="must stay below"):
        open_model(model)


@pytest.mark.espnet
def test_weights_that_would_run_code_are_refused(
    fbank_asr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where ESPnet was told to allow it, and before ESPnet asks at the terminal."""

    class Evil:
        @override
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (tmp_path / "gotcha",)

    asr = tmp_path / "asr"
    shutil.copytree(fbank_asr, asr)
    (asr / "valid.acc.ave.pth").write_bytes(pickle.dumps(Evil()))
    monkeypatch.setenv("ESPNET_ALLOW_UNSAFE_TORCH_LOAD", "1")
    with pytest.raises(ValueError, match="is refused: it is no file of tensors"):
        open_model(asr)
    assert not (tmp_path / "gotcha").exists()


@pytest.mark.espnet
def test_a_broken_pack_is_told(fbank_asr: Path, tmp_path: Path) -> None:
    """A download that lost some bytes in the middle."""
    made = pack(Sources(asr=fbank_asr), tmp_path / "model.zip")
    data = bytearray(made.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    made.write_bytes(data)
    with pytest.raises(ValueError, match="is broken"):
        open_model(made)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no ASR model: there is no such file"):
        open_model(tmp_path / "absent.zip")
    with pytest.raises(ValueError, match=r"is no ASR model: .*with config\.yaml\.$"):
        open_model(tmp_path)
    (tmp_path / "expdir" / "asr_one").mkdir(parents=True)
    (tmp_path / "expdir" / "asr_one" / "config.yaml").touch()
    with pytest.raises(ValueError, match=r"trainings below it: .*asr_one\."):
        open_model(tmp_path / "expdir")
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    with pytest.raises(ValueError, match="is no zip file"):
        open_model(tmp_path / "text.zip")
    (tmp_path / "config.yaml").write_text("a: [", encoding="utf-8")
    (tmp_path / "valid.acc.ave.pth").touch()
    with pytest.raises(ValueError, match="is not valid YAML"):
        open_model(tmp_path)
    with pytest.raises(ValueError, match=r"last\.pth is not there; .*: valid\.acc\.ave\.pth\."):
        open_model(tmp_path, OpenOptions(model_file="last.pth"))
