"""What is given away: which files, with which card, and that others open the same model."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from harness_bench.cli.app import app
from harness_bench.core.files import read_json, write_json
from harness_bench.deploy.push import pack_up, push
from harness_bench.models import hub
from harness_bench.models.checkpoint import halve
from harness_bench.models.frozen import checkpoint_digest, load_model
from harness_bench.models.readme import write_readme
from tests.hub_server import Hub, serve
from tests.models.tiny_types import MAKERS
from tests.results.conftest import metrics, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPO = "lab/tones"


@pytest.fixture(name="server")
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    with serve(str(tmp_path / "cache")) as served:
        yield served


@pytest.fixture(name="model")
def _model(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Return an exported folder, with what else lies in such folders."""
    folder = tmp_path / "tones"
    shutil.copytree(tiny_checkpoint, folder)
    write_readme(folder, "tones", summary="A model of tones.", more="## Limits\n\nTones alone.")
    for name in ("optimizer.pt", "notes.txt", ".secret", "events.out.tfevents", "LICENSE.md"):
        (folder / name).write_text("x")
    (folder / "logs").mkdir()
    return folder


def interval(low: float, high: float) -> dict[str, object]:
    return {"low": low, "high": high, "method": "cluster bootstrap over 6 speakers"}


def test_what_is_pushed_is_what_others_open(server: Hub, model: Path) -> None:
    """From the folder over the wire and back: the same digest, features and card."""
    parcel = pack_up(model, REPO, licence="CC-BY-4.0", languages=["ar"], costs=False)
    where = push(parcel)
    folder = hub.locate(where)
    assert hub.source_of(folder) == where
    assert checkpoint_digest(folder) == checkpoint_digest(model)
    samples, lengths = torch.randn(1, 2_000), torch.tensor([2_000])
    ours, theirs = (load_model(each)(samples, lengths)[0] for each in (model, where))
    assert all(map(torch.equal, ours, theirs))
    there = server.repos[REPO].commits[where.partition("@")[2]]
    assert {*there} == {
        ".gitattributes", "README.md", "LICENSE.md", "config.json", "preprocessor_config.json",
        "model.safetensors", "harness.json",
    }  # fmt: skip
    card = ModelCard(there["README.md"].decode())
    assert (card.data.license, card.data.language) == ("cc-by-4.0", ["ar"])
    assert f'hb.hidden_states("{REPO}"' in card.text
    assert f'HubertModel.from_pretrained("{REPO}")' in card.text
    assert f"-u harness_local -k {REPO}" in card.text
    assert "A model of tones." in card.text
    assert "## Limits\n\nTones alone." in card.text


def test_weights_may_go_as_large_files(server: Hub, model: Path) -> None:
    """The Hub takes files above 10 MB, and binary ones, by another door."""
    server.large = 20_000
    where = push(pack_up(model, REPO, licence="mit", costs=False))
    assert server.stored
    assert checkpoint_digest(hub.locate(where)) == checkpoint_digest(model)


def test_a_dry_run_shows_every_byte_and_asks_nobody(server: Hub, model: Path) -> None:
    """The list is that of the upload; what the folder holds beside it is named."""
    words = ["push", str(model), REPO, "--licence", "mit", "--no-costs"]
    done = CliRunner().invoke(app, [*words, "--dry-run"])
    assert done.exit_code == 0
    assert not server.requests
    told = dict(re.findall(r"^(\S+) +([\d,]+) bytes$", done.stdout, re.MULTILINE))
    stays = re.search(r"stays here: (.*)", done.stdout)
    assert stays is not None
    assert {*stays[1].split(", ")} == {
        ".secret", "events.out.tfevents", "logs", "notes.txt", "optimizer.pt"
    }  # fmt: skip
    before = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    (commit,) = {server.repos[REPO].refs["main"]}
    assert f"Pushed: {REPO}@{commit}" in done.stdout
    there = server.repos[REPO].commits[commit]
    sizes = {name: int(size.replace(",", "")) for name, size in told.items() if name != "all"}
    assert sizes == {name: len(data) for name, data in there.items() if name != ".gitattributes"}
    assert before == {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}


def test_the_card_tells_the_results_of_these_weights(model: Path, tmp_path: Path) -> None:
    """By digest: with intervals and the verdict on leakage, for people and for a hub's lists."""
    results, own = tmp_path / "results", checkpoint_digest(model)
    figures = metrics(81.5, interval=interval(76.2, 86.0), spread=1.25)
    leak = {"verdict": "shared", "compared_with": ["train"], "detail": "2 speakers"}
    put(results, checkpoint_digest=own, task="did", metrics=figures, pretraining_data="QASR | 3 h")
    put(results, checkpoint_digest=own, task="ser", metrics=metrics(60.0), leakage=leak,
        synthetic=True, costs={"real_time_factor": 0.0123, "hardware": "a machine"})  # fmt: skip
    put(results, checkpoint_digest="e" * 32, task="keyword", metrics=metrics(99.9))
    parcel = pack_up(model, REPO, results=results, licence="mit", costs=False)
    for part in ("81.5 ± 1.2 [76.2, 86.0] %", "cluster bootstrap over 6 speakers", "2 speakers",
                 "synthetic", "- QASR | 3 h", "| 0.0123 |", "a machine"):  # fmt: skip
        assert part in parcel.card
    assert "99.9" not in parcel.card
    assert any("leakage" in remark for remark in parcel.remarks)
    (listed,) = yaml.safe_load(parcel.card.split("---")[1])["model-index"]
    found = {each["task"]["name"]: each["metrics"][0]["value"] for each in listed["results"]}
    assert found == {"did": 81.5, "ser": 60.0}
    (model / "README.md").write_text(parcel.card)
    again = pack_up(model, REPO, results=results, costs=False)
    assert (again.card, again.licence) == (parcel.card, "mit")


def test_a_new_repository_is_private_unless_told(server: Hub, model: Path) -> None:
    """What was pushed by mistake is not out in the world."""
    parcel = pack_up(model, REPO, licence="mit", costs=False)
    push(parcel)
    push(replace(parcel, repo="lab/open"), public=True)
    assert [asked["visibility"] for asked in server.made] == ["private", "public"]


def test_a_rounded_model_says_whose_results_it_shows(model: Path, tmp_path: Path) -> None:
    """float16 has a digest of its own, and was measured by none of the parent's runs."""
    parent = checkpoint_digest(model)
    put(tmp_path / "results", checkpoint_digest=parent, metrics=metrics(81.5))
    halve(model)
    assert checkpoint_digest(model) != parent
    parcel = pack_up(model, REPO, results=tmp_path / "results", costs=False)
    assert "81.5 %" in parcel.card
    assert f"made from (digest {parent}), not on these" in parcel.card
    put(tmp_path / "results", checkpoint_digest=checkpoint_digest(model), metrics=metrics(80.5))
    own = pack_up(model, REPO, results=tmp_path / "results", costs=False)
    assert "80.5 %" in own.card
    assert parent not in own.card


def test_a_later_push_leaves_nothing_of_the_earlier_one(server: Hub, model: Path) -> None:
    """A reader takes model.safetensors before shards: old weights under new settings."""
    stays = {"README.md": b"# old", "notes.md": b"theirs"}
    old = {"model-00001-of-00002.safetensors": b"", "model.safetensors.index.json": b"{}",
           "pytorch_model.bin": b"", "processor_config.json": b"{}"}  # fmt: skip
    server.repo(REPO).commit({**stays, **old})
    where = push(pack_up(model, REPO, licence="mit", costs=False))
    there = server.repos[REPO].commits[where.partition("@")[2]]
    assert not {*old} & {*there}
    assert there["notes.md"] == b"theirs"
    assert there["README.md"] != b"# old"


def test_what_must_not_go_out_is_refused_or_shown(server: Hub, model: Path, tmp_path: Path) -> None:
    """Weights without terms, pickles, broken weights, names of people in a path."""
    write_json(model / "harness.json", {"teacher": "/home/somebody/secret_project/teacher"})
    parcel = pack_up(model, REPO, costs=False)
    assert any("/home/somebody/secret_project" in remark for remark in parcel.remarks)
    assert any("licence" in remark for remark in parcel.remarks)
    with pytest.raises(ValueError, match="no licence"):
        push(parcel)
    for repo in ("tones", "lab/tones/x", "lab/to nes"):
        with pytest.raises(ValueError, match="OWNER/NAME"):
            pack_up(model, repo, costs=False)
    config = read_json(model / "config.json")
    torch.save({"x": torch.zeros(1)}, model / "pytorch_model.bin")
    (model / "model.safetensors").rename(tmp_path / "kept")
    with pytest.raises(ValueError, match="pytorch_model"):
        pack_up(model, REPO, costs=False)
    (tmp_path / "kept").rename(model / "model.safetensors")
    write_json(model / "config.json", config | {"num_hidden_layers": 3})
    with pytest.raises(ValueError, match="weights"):
        pack_up(model, REPO, costs=False)
    with pytest.raises(ValueError, match="no folder"):
        pack_up(model / "nothing", REPO, costs=False)
    assert not server.requests


def test_a_hub_that_refuses_is_one_sentence(server: Hub, model: Path) -> None:
    """Nobody is logged in, or somebody who may not write there."""
    parcel = pack_up(model, REPO, licence="mit", costs=False)
    server.refusing = True
    with pytest.raises(ValueError, match=r"(?s)does not take lab/tones.*hf auth login"):
        push(parcel)
    assert not server.repos


@pytest.mark.usefixtures("server")
def test_an_exported_graph_goes_out_and_comes_back(tmp_path: Path) -> None:
    """A small one is what one gives away most."""
    pytest.importorskip("onnx")
    folder = MAKERS["onnx"](tmp_path / "graph")
    where = push(pack_up(folder, REPO, licence="mit", costs=False))
    there = hub.locate(where)
    assert checkpoint_digest(there) == checkpoint_digest(folder)
    samples, lengths = torch.randn(1, 2_000), torch.tensor([2_000])
    ours, theirs = (load_model(each)(samples, lengths)[0] for each in (folder, there))
    assert all(map(torch.equal, ours, theirs))


def test_graphs_of_heads_and_asr_are_run_by_their_name(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is pushed is what one types; results of a graph are its own, by its digest."""
    from harness_bench.deploy import predict, transcribe  # noqa: PLC0415 - as the verbs do

    folder = tmp_path / "did"
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "harness_export", "kind": "head"})
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "README.md").write_text("# did\n\nHow to open it.\n")
    put(tmp_path / "results", checkpoint_digest=checkpoint_digest(folder), metrics=metrics(70.5))
    parcel = pack_up(folder, REPO, licence="mit", results=tmp_path / "results")
    assert "70.5 %" in parcel.card
    assert "How to open it." in parcel.card
    where = push(parcel)
    (tmp_path / "a.wav").touch()
    asked: dict[str, Path] = {}
    for module in (predict, transcribe):
        name = module.__name__.rpartition(".")[2]
        called = Mock(return_value=[])
        monkeypatch.setattr(module, name, called)
        CliRunner().invoke(app, [name, where, str(tmp_path / "a.wav")])
        asked[name] = called.call_args.args[0]
    assert {*map(hub.source_of, asked.values())} == {where}
    assert {*asked} == {"predict", "transcribe"}
    assert server.fetched("model.onnx")
