"""Where named upstreams come from: the table, what a user puts over it, and the hub."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from harness_bench.core.config import read_toml
from harness_bench.models import hub as model_hub
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.pretrain.config import preset_names
from harness_bench.pretrain.plan import preset_table, render_presets
from harness_bench.probing.s3prl import arguments, hub
from tests.upstream.conftest import waves

pytestmark = pytest.mark.s3prl
DOWNLOAD = huggingface_hub.snapshot_download


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(model_hub.MODELS, raising=False)


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Put a table in place as it will be once weights are public; return what is called for it."""
    table = tmp_path / "table.toml"
    table.write_text('[harness_st]\nhub = "owner/harness-st"\nrevision = "abc123"\n')
    monkeypatch.setattr(model_hub, "TABLE", table)
    download = Mock()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return download


def test_each_name_of_the_table_is_an_upstream_with_a_preset() -> None:
    """A row without a function cannot be reached; one without a preset cannot be made.

    No other name needs weights by the table.
    """
    assert {"harness_l", "harness_s", "harness_st", "harness_st_pca"} <= set(model_hub.names())
    assert set(model_hub.names()) | {"harness_local"} == {
        name for name in hub.own_names() if name.startswith("harness")
    }
    table = read_toml(model_hub.TABLE)
    made = [row for name, row in table.items() if name not in model_hub.packaged()]
    assert {row["preset"] for row in made} <= set(preset_names())
    assert all(hub.own_checkpoint(name) is None for name in ("fbank_cached", "no_such_upstream"))


@pytest.mark.parametrize("name", sorted({*model_hub.names()} - {*model_hub.packaged()}))
def test_without_weights_the_sentence_says_how_to_make_them(name: str) -> None:
    """This is what everybody meets first, until weights are public; no s3prl is needed."""
    refused = f"(?s)-u {name}: no weights.*-k FOLDER.*HARNESS_MODELS"
    with pytest.raises(ValueError, match=refused):
        getattr(hub, name)(ckpt=None, model_config=None, refresh=False)
    with pytest.raises(ValueError, match=refused):
        arguments.complete(["-m", "train", "-u", name, "-d", "did", "-p", "x"])
    with pytest.raises(ValueError, match=refused):
        hub.own_checkpoint(name)


@torch.no_grad()
def test_a_folder_of_models_by_name(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HARNESS_MODELS=models, with what `harness-bench export RUN models/NAME` wrote.

    A probe is of the weights and not of the name; -k comes before everything.
    """
    (tmp_path / "harness_st").symlink_to(tiny_checkpoint)
    monkeypatch.setenv(model_hub.MODELS, str(tmp_path))
    assert hub.own_checkpoint("harness_st") == tmp_path / "harness_st"
    assert hub.harness_l(ckpt=str(tiny_checkpoint)).checkpoint == tiny_checkpoint
    ours, wavs = hub.harness_st(ckpt=None), waves([4_000])
    local = hub.harness_local(str(tiny_checkpoint))
    assert torch.equal(ours(wavs)["last_hidden_state"], local(wavs)["last_hidden_state"])
    assert ours.digest() == local.digest()
    (tmp_path / "harness_s.pt").touch()
    assert model_hub.resolve("harness_s") == tmp_path / "harness_s.pt"
    with pytest.raises(ValueError, match=r"neither a folder harness_l nor a file harness_l\.pt"):
        model_hub.resolve("harness_l")


def test_a_model_of_the_package_needs_no_download(
    mel_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HARNESS_MODELS comes before it, as before all of the table."""
    shutil.copytree(mel_checkpoint, tmp_path / "box" / "st")
    table = tmp_path / "table.toml"
    table.write_text('[harness_st]\nfolder = "box/st"\n')
    monkeypatch.setattr(model_hub, "TABLE", table)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Mock(side_effect=AssertionError))
    assert model_hub.packaged() == {"harness_st": tmp_path / "box" / "st"}
    assert hub.own_checkpoint("harness_st") == tmp_path / "box" / "st"
    assert hub.harness_st(ckpt=None).digest() == checkpoint_digest(mel_checkpoint)
    assert "harness_st: comes with this package" in render_presets(preset_table())
    (tmp_path / "mine" / "harness_st").mkdir(parents=True)
    monkeypatch.setenv(model_hub.MODELS, str(tmp_path / "mine"))
    assert model_hub.resolve("harness_st") == tmp_path / "mine" / "harness_st"


def test_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders in it are relative to it, as in the table itself."""
    file = tmp_path / "mine.toml"
    file.write_text('[harness_st]\nfolder = "st/best"\n[harness_l]\nfolder = "/l"\n')
    monkeypatch.setenv(model_hub.MODELS, str(file))
    assert model_hub.resolve("harness_st") == tmp_path / "st" / "best"
    assert model_hub.resolve("harness_l") == Path("/l")
    with pytest.raises(ValueError, match="no weights"):
        model_hub.resolve("harness_s")
    monkeypatch.setenv(model_hub.MODELS, "/nowhere")  # going on could fetch other weights
    with pytest.raises(ValueError, match=r"/nowhere.*HARNESS_MODELS names a folder"):
        model_hub.resolve("harness_s")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[harness_xl]\n", "no named model 'harness_xl'; known: harness_l,"),
        ('[harness_st]\nfolde = "x"\n', "unknown key 'folde'; did you mean folder"),
        ('[harness_st]\nfolder = "x"\nhub = "a/b"\n', "give one"),
        ('[harness_st]\nhub = "just-a-name"\n', "hub = 'just-a-name'"),
        ('[harness_st]\nrevision = "main"\n', "needs a hub"),
        ('harness_st = "x"\n', r"\[harness_st\]"),
        ("[harness_st\n", r"not valid TOML.*HARNESS_MODELS names"),
    ],
)
def test_mistakes_in_it_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """A file that is half understood would give another model under the name."""
    file = tmp_path / "mine.toml"
    file.write_text(text)
    monkeypatch.setenv(model_hub.MODELS, str(file))
    with pytest.raises(ValueError, match=message):
        model_hub.resolve("harness_st")


def test_the_hub_is_asked_for_one_commit_and_few_files(
    tiny_checkpoint: Path, tmp_path: Path, download: Mock
) -> None:
    """Figures are reproducible only from a fixed revision; nothing but data is fetched."""
    download.return_value = str(tiny_checkpoint)
    assert hub.harness_st(ckpt=None).checkpoint == tiny_checkpoint
    arguments, settings = download.call_args
    assert arguments == ("owner/harness-st",)
    assert settings["revision"] == "abc123"
    safe = (".json", ".safetensors", "README.md", "LICENSE*")
    assert all(name.endswith(safe) for name in settings["allow_patterns"])
    download.return_value = str(tmp_path)
    with pytest.raises(ValueError, match=r"has no config\.json"):
        model_hub.resolve("harness_st")


def make_error(kind: type[Exception]) -> Exception:
    """Make an error of huggingface_hub's without a request behind it."""
    error = kind.__new__(kind)
    error.args = ("as told by the library",)
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (make_error(errors.LocalEntryNotFoundError), "not complete.*hf download owner"),
        (make_error(errors.HfHubHTTPError), "not be fetched.*HARNESS_MODELS"),
        (make_error(errors.OfflineModeIsEnabled), "not be fetched.*as told"),
        (ConnectionError("no route"), "not be fetched.*no route"),
        (make_error(errors.GatedRepoError), "gated.*hf auth login"),
        (make_error(errors.RepositoryNotFoundError), "no such model.*hf auth login"),
        (make_error(errors.RevisionNotFoundError), "no revision 'abc123'"),
        (DOWNLOAD, "not complete"),  # the library itself, offline, with an empty cache
    ],
)
def test_what_the_hub_refuses_is_explained(
    download: Mock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Any, message: str
) -> None:
    """Cluster nodes have no network, private models need a login: each has another way out."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    download.side_effect = error
    with pytest.raises(ValueError, match=f"owner/harness-st@abc123.*{message}"):
        model_hub.resolve("harness_st")


@pytest.mark.parametrize(
    ("place", "facts", "name"),
    [
        ("models/my_hubert", {}, "my_hubert"),
        ("my/checkpoint", {}, "my"),
        ("runs/st/exports/best", {"name": "harness_st"}, "harness_st"),
        ("runs/st/exports/export-00001000", {"name": "harness_st"}, "harness_st-1000"),
        ("ar_hubert/checkpoint-500", {}, "ar_hubert-500"),
        ("models/wide", {"name": "random"}, "wide"),  # as every model of random weights says
        ("xls-r-300m", {}, "xls-r-300m"),
    ],
)
def test_a_row_is_called_by_the_models_own_name(
    place: str, facts: dict[str, str], name: str, tmp_path: Path
) -> None:
    """Two models named `checkpoint` would be one row; so would two exports of a training."""
    (tmp_path / place).mkdir(parents=True)
    if facts:
        (tmp_path / place / "harness.json").write_text(json.dumps(facts))
    # What a fine-tuned model was made from: its figures are not that model's.
    (tmp_path / place / "config.json").write_text('{"_name_or_path": "facebook/hubert-base-ls960"}')
    assert model_hub.model_name(tmp_path / place) == name
    adapter = tmp_path / place / "adapter.ara.safetensors"
    assert model_hub.model_name(adapter) == f"{name}-ara"
    file = tmp_path / place / "checkpoint_best.pt"
    file.touch()
    assert model_hub.model_name(file) not in ("checkpoint_best", "checkpoint", "best")
