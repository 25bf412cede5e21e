"""Models by OWNER/NAME@REVISION: the library's own client against a hub on loopback."""

import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from harness_bench.core.files import read_json, write_json
from harness_bench.core.registry import attribute, modules_in
from harness_bench.models import hub
from harness_bench.models.frozen import checkpoint_digest, load_model
from harness_bench.scoring.publish import upstream_fields
from tests.hub_server import Files, Hub, serve
from tests.results.test_record import make_result

NAME = "lab/hubert-ar"


@pytest.fixture(name="server")
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv(hub.MODELS, raising=False)
    monkeypatch.chdir(tmp_path)
    with serve(str(tmp_path / "cache")) as served:
        yield served


@pytest.fixture(name="files", scope="module")
def _files(tiny_checkpoint: Path) -> Files:
    """Return what a repository holds: a checkpoint, and what must stay where it is."""
    own = {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()}
    others = ["pytorch_model.bin", "model.pkl", "onnx/model.safetensors", "tf_model.h5", "run.py"]
    others += ["adapter.ara.safetensors", "pretraining_head.safetensors"]
    return own | dict.fromkeys(others, b"no") | {"README.md": b"# A card", "LICENSE": b"MIT"}


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid the client all traffic, as HF_HUB_OFFLINE=1 does on a cluster's nodes."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_what_is_fetched_is_the_checkpoint_and_it_is_fetched_once(
    server: Hub, files: Files, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The same model as the folder that was uploaded; later without a network, too."""
    commit = server.repo(NAME).commit(files)
    folder = hub.locate(NAME)
    names = {path.name for path in folder.iterdir()}
    assert names == {*(path.name for path in tiny_checkpoint.iterdir()), "README.md", "LICENSE"}
    assert checkpoint_digest(folder) == checkpoint_digest(tiny_checkpoint)
    assert f"{NAME}@{commit}" in capsys.readouterr().err
    known = len(server.requests)
    assert hub.locate(NAME) == folder
    assert not any("resolve" in each for each in server.requests[known:])
    offline(monkeypatch)
    assert hub.locate(NAME) == hub.locate(f"{NAME}@{commit}") == folder
    samples, lengths = torch.randn(1, 4_000), torch.tensor([4_000])
    ours, theirs = (load_model(each)(samples, lengths)[0] for each in (NAME, tiny_checkpoint))
    assert all(map(torch.equal, ours, theirs))


def test_rows_name_the_model_and_results_the_commit(server: Hub, files: Files) -> None:
    """A folder of the cache is called by a hash, which no reader of a leaderboard knows."""
    commit = server.repo(NAME).commit(files)
    folder = hub.locate(f"{NAME}@main")
    assert hub.model_name(folder) == hub.model_name(NAME) == hub.model_name(f"{NAME}@x") == NAME
    fields = upstream_fields(folder)
    assert fields["checkpoint_source"] == f"{NAME}@{commit}"
    assert fields["weights_url"].endswith(f"/{NAME}/tree/{commit}")
    assert make_result(**fields).weights_url == fields["weights_url"]
    assert fields["checkpoint_digest"] == checkpoint_digest(folder)


def test_names_of_folders(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """`checkpoint` is the name of all of a family's models."""
    plain, file = tmp_path / "my_hubert", tmp_path / "hubert_base.pt"
    run = tmp_path / "harness_st" / "run" / "checkpoint"
    for folder in (plain, run):
        folder.mkdir(parents=True)
    file.touch()
    assert [hub.model_name(each) for each in (plain, file, run, plain / "checkpoint")] == [
        "my_hubert", "hubert_base", "harness_st", "my_hubert",
    ]  # fmt: skip
    write_json(run / "harness.json", {"name": "student"})
    assert hub.model_name(run) == "student"
    assert "checkpoint_source" not in upstream_fields(tiny_checkpoint)
    # Its harness.json has the name of the iteration that it was.
    assert hub.model_name(hub.locate("harness_mini")) == "harness_mini"


def test_a_path_of_another_cache_is_found_again(
    server: Hub, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads and ASR models keep the path of their upstream, and go to other machines."""
    commit = server.repo(NAME).commit(files)
    there = hub.locate(f"{NAME}/adapter.ara.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other"))
    shutil.rmtree(tmp_path / "cache")
    server.repo(NAME).commit({**files, "harness.json": b"{}"})
    found, file = hub.locate(there.parent), hub.locate(there)
    assert (found.is_relative_to(tmp_path / "other"), file.parent) == (True, found)
    assert hub.source_of(found) == f"{NAME}@{commit}"
    assert file.read_bytes() == b"no"


def test_a_graph_is_fetched_where_it_is_the_model(server: Hub, files: Files) -> None:
    """An exported folder has no safetensors; beside safetensors a graph is a second copy."""
    server.repo(NAME).commit({**files, "model.onnx": b"graph"})
    assert not (hub.locate(NAME) / "model.onnx").exists()
    server.repo("lab/int8").commit({
        "config.json": b'{"model_type": "harness_export"}', "model.onnx": b"graph", "x.onnx": b"",
    })  # fmt: skip
    folder = hub.locate("lab/int8")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.onnx"}
    assert hub.locate("lab/int8") == folder


def test_a_branch_that_moved_and_a_revision_that_cannot(server: Hub, files: Files) -> None:
    """Only a pinned revision gives the same model tomorrow; a pinned one asks no one."""
    old = server.repo(NAME).commit(files)
    first = hub.locate(NAME)
    changed = {**files, "harness.json": b'{"name": "later"}'}
    new = server.repo(NAME).commit(changed)
    assert server.repo(NAME).commit(files, branch="v1") not in (old, new)
    second = hub.locate(NAME)
    assert (hub.source_of(first), hub.source_of(second)) == (f"{NAME}@{old}", f"{NAME}@{new}")
    assert read_json(second / "harness.json")["name"] == "later"
    # What did not change is not fetched again.
    assert len(server.fetched("model.safetensors")) == 1
    server.requests.clear()
    assert hub.locate(f"{NAME}@{old}") == first
    assert not server.requests
    assert (hub.locate(f"{NAME}@v1") / "harness.json").read_bytes() == files["harness.json"]


def test_weights_in_several_files_are_all_fetched(
    server: Hub, files: Files, tiny_checkpoint: Path
) -> None:
    """Large models are sharded; the index says which tensor lies where."""
    tensors = load_file(tiny_checkpoint / hub.WEIGHTS)
    names, made = [*tensors], tiny_checkpoint.parent / "sharded"
    made.mkdir(exist_ok=True)
    shards = {"model-00001-of-00002.safetensors": names[::2],
              "model-00002-of-00002.safetensors": names[1::2]}  # fmt: skip
    for shard, own in shards.items():
        save_file({name: tensors[name] for name in own}, made / shard)
    index = {"weight_map": {name: shard for shard, own in shards.items() for name in own}}
    write_json(made / f"{hub.WEIGHTS}.index.json", index)
    sharded = {path.name: path.read_bytes() for path in made.iterdir()}
    server.repo(NAME).commit({name: files[name] for name in files if name != hub.WEIGHTS} | sharded)
    folder = hub.locate(NAME)
    assert {path.name for path in folder.iterdir()} >= {*sharded}
    assert all((folder / name).read_bytes() == data for name, data in sharded.items())
    opened, whole = (load_model(each).state_dict() for each in (NAME, tiny_checkpoint))
    assert all(torch.equal(opened[name], value) for name, value in whole.items())


def test_adapters_of_one_language_come_where_they_are_named(server: Hub, files: Files) -> None:
    """MMS has a thousand of them beside its weights."""
    commit = server.repo(NAME).commit({**files, "adapter.fra.safetensors": b"fr"})
    found = hub.locate(f"{NAME}/adapter.ara.safetensors@main")
    assert (found.name, found.read_bytes()) == ("adapter.ara.safetensors", b"no")
    assert not (found.parent / "adapter.fra.safetensors").exists()
    assert (found.parent / hub.WEIGHTS).is_file()
    assert hub.source_of(found) == f"{NAME}@{commit}"
    assert hub.model_name(found) == f"{NAME}/adapter.ara.safetensors"


def test_a_broken_connection_goes_on_where_it_broke(
    server: Hub, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gigabytes over a bad line: the client asks for the rest, and the file is the same."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000)
    server.repo(NAME).commit(files)
    server.cut[hub.WEIGHTS] = 30_000
    folder = hub.locate(NAME)
    assert (folder / hub.WEIGHTS).read_bytes() == files[hub.WEIGHTS]
    assert [each.split()[2:] for each in server.fetched(hub.WEIGHTS)] == [[], ["bytes=30000-"]]


def test_a_killed_download_is_never_taken_for_a_whole_one(
    server: Hub, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the middle of the weights, in a process with HF_ENDPOINT as users set it.

    Offline it is refused; the next run fetches what was not whole, and that alone.
    """
    commit = server.repo(NAME).commit(files)
    server.cut[hub.WEIGHTS], server.stall = 30_000, threading.Event()
    code = f"from harness_bench.models import hub; hub.locate({NAME!r})"
    values = {"HF_ENDPOINT": server.address, "HF_HUB_CACHE": str(tmp_path / "cache")}
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    whole = tmp_path / "cache" / f"models--{NAME.replace('/', '--')}" / "snapshots" / commit
    expected, arrived = 5, 0  # all files but the weights
    for _ in range(1_000):
        arrived = len([*whole.glob("*")])
        if arrived == expected and server.fetched(hub.WEIGHTS):
            break
        time.sleep(0.03)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.stall.set()
    assert arrived == expected
    with monkeypatch.context() as patch:
        offline(patch)
        with pytest.raises(ValueError, match=f"{NAME}.*not complete in the local cache"):
            hub.locate(NAME)
    server.requests.clear()
    assert (hub.locate(NAME) / hub.WEIGHTS).read_bytes() == files[hub.WEIGHTS]
    assert len([each for each in server.requests if each.startswith("GET /lab")]) == 1


def test_what_cannot_be_had_is_refused_with_its_reason(
    server: Hub, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each needs another way out: a login, a request for access, a network, another revision."""
    pickled = {name: data for name, data in files.items() if not name.endswith(".safetensors")}
    server.repo(NAME).commit(files)
    server.repo("lab/gated").commit(files)
    server.repos["lab/gated"].gated = True
    server.repo("lab/pickled").commit(pickled)
    server.repo("lab/data").commit({"train.csv": b"", "a.safetensors": b""})
    server.repo("lab/gguf").commit({**pickled, "other.safetensors": b""})
    refused = {
        "lab/nowhere": "no such model.*hf auth login",
        f"{NAME}@v9": "no revision 'v9'",
        "lab/gated": "gated.*hf auth login",
        "lab/pickled": r"pytorch_model\.bin.*pickles",
        "lab/data": r"no config\.json",
        "lab/gguf": r"no model\.safetensors",
        f"{NAME}/adapter.xyz.safetensors": r"no adapter\.xyz\.safetensors",
    }
    for name, reason in refused.items():
        asked = name.replace("/adapter.xyz.safetensors", "")
        with pytest.raises(ValueError, match=f"{asked}.*{reason}"):
            hub.locate(name)
    assert not server.fetched("pytorch_model.bin")
    offline(monkeypatch)
    with pytest.raises(ValueError, match=r"lab/unseen.*not complete.*network"):
        hub.locate("lab/unseen")


def test_what_lies_here_comes_first_and_nothing_else_is_asked_for(
    server: Hub, files: Files, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """models/mine is a path where there is one; what has not the form of a name never leaves."""
    server.repo(NAME).commit(files)
    shutil.copytree(tiny_checkpoint, tmp_path / NAME)
    assert hub.locate(NAME) == hub.locate(Path(NAME)) == Path(NAME)
    assert hub.locate(f"{NAME}@main") != Path(NAME)
    server.requests.clear()
    for text in ("nowhere", "./a/b", "a/b/c", "/abs/path", "~/models/x", "../a", "a/b@"):
        with pytest.raises(ValueError, match=re.escape(f"Model {Path(text)}: there is no such")):
            hub.locate(text)
    for text in ("fbank", "hubert"):  # names of model types are no models
        with pytest.raises(ValueError, match=f"Model {text}: there is no such"):
            hub.locate(text)
    assert hub.locate("fbank", pathless=True) == Path("fbank"), "but where it needs no checkpoint"
    assert not server.requests


@pytest.mark.parametrize("name", modules_in(hub.TYPES))
def test_types_without_a_checkpoint_are_listed(name: str) -> None:
    """`models/hub.py` names them, since to ask the types themselves would import torch."""
    assert attribute(f"{hub.TYPES}.{name}", "TYPE").recognises(Path(name)) is (name in hub.PATHLESS)


def test_a_mistyped_folder_is_guessed_though_it_has_the_form_of_a_repository(
    server: Hub, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "models" / "harness_st")
    for text in ("models/harnes_st", "./models/harnes_st"):
        with pytest.raises(ValueError, match=r"Did you mean models/harness_st\?"):
            hub.locate(text)
    assert server.requests, "the first has the form of a name on the Hub"
    offline(monkeypatch)
    with pytest.raises(ValueError, match=r"Did you mean models/harness_st\?"):
        hub.locate("models/harnes_st")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/nowhere")
    # Nothing is below the first two; the folder of the third is there, and no revision of it.
    for text in ("file/model", "link/model", "models/harness_st@v9"):
        with pytest.raises(ValueError, match=f"no folder or file {text} here. The model is not"):
            hub.locate(text)


def test_how_to_get_a_model_is_told_and_nobody_is_asked(
    server: Hub, files: Files, tiny_checkpoint: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A plan of many models must not download them, and says what is absent."""
    server.repo(NAME).commit(files)
    assert f"hf download {NAME}" in hub.how_to_get(NAME)
    assert "--revision v1" in hub.how_to_get(f"{NAME}@v1")
    assert "nowhere" not in hub.names()
    assert hub.how_to_get("nowhere")
    for here in ("harness_mini", str(tiny_checkpoint)):
        assert not hub.how_to_get(here)
    assert "harness_st" in hub.how_to_get("harness_st")
    monkeypatch.setenv(hub.MODELS, str(tmp_path / "mine"))
    shutil.copytree(tiny_checkpoint, tmp_path / "mine" / "harness_st")
    assert not hub.how_to_get("harness_st")
    assert not server.requests
    hub.locate(NAME)
    server.requests.clear()
    assert not hub.how_to_get(NAME)
    assert not server.requests
