"""Importing fairseq's HuBERT files: exact, and safe against files of strangers."""

from __future__ import annotations

import builtins
import os
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, override

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from transformers import HubertModel, Wav2Vec2FeatureExtractor

from benchmarks.fairseq_peer import HOW, FairseqPeer, fairseq_available
from harness_bench.models.checkpoint import load_hubert, read_facts
from harness_bench.models.frozen import load_backbone
from harness_bench.models.hubert import Hubert, normalize_waveforms
from harness_bench.models.types.fairseq import read_fairseq
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.family import export
from harness_bench.pretrain.objectives.hubert import HubertObjective
from tests.models import fairseq_layout
from tests.models.conftest import KINDS, padded, small_config

if TYPE_CHECKING:
    from collections.abc import Callable

needs_fairseq = pytest.mark.skipif(not fairseq_available(), reason=HOW)


def write(path: Path, hubert: Hubert, form: str = "cfg", /, **changes: Any) -> Path:
    """Write a file with fairseq's keys; `form` is how the settings stand in it."""
    shape, task = fairseq_layout.settings(hubert)
    shape |= changes.pop("model_cfg", {})
    task |= changes.pop("task_cfg", {})
    tensors = fairseq_layout.weights(hubert) | changes.pop("weights", {})
    forms: dict[str, dict[str, Any]] = {
        "cfg": {"args": None, "cfg": {"model": shape, "task": task}, "model": tensors},
        "args": {"args": Namespace(**{**shape, **task}, arch="hubert"), "model": tensors},
        "nested": {"cfg": {"model": Namespace(**shape), "task": task}, "model": tensors},
        "s3prl": {"model_cfg": shape, "task_cfg": task, "model_weight": tensors},
    }
    torch.save(forms[form] | changes, path)
    return path


@pytest.fixture
def file(hubert: Hubert, tmp_path: Path) -> Path:
    return write(tmp_path / "hubert.pt", hubert)


@pytest.mark.parametrize("form", ["cfg", "args", "nested", "s3prl"])
def test_every_tensor_finds_its_place(hubert: Hubert, tmp_path: Path, form: str) -> None:
    """A swapped pair of equal shape (q and k, the two norms) would load without a complaint."""
    found = read_fairseq(write(tmp_path / "hubert.pt", hubert, form))
    ours = hubert.state_dict()
    assert found.config == hubert.config
    assert found.tensors.keys() == ours.keys()
    assert all(torch.equal(found.tensors[name], ours[name]) for name in ours)
    assert found.head is not None
    assert found.head["label_embs_concat"].shape == (fairseq_layout.CLUSTERS + 4, 16)


def test_settings_of_omegaconf(hubert: Hubert, tmp_path: Path) -> None:
    """Fairseq of HuBERT's year pickled omegaconf's own objects."""
    omegaconf = pytest.importorskip("omegaconf")
    shape, task = fairseq_layout.settings(hubert)
    cfg = omegaconf.OmegaConf.create({"model": shape, "task": task})
    assert read_fairseq(write(tmp_path / "hubert.pt", hubert, cfg=cfg)).config == hubert.config


def test_both_names_of_weight_norm(hubert: Hubert, tmp_path: Path) -> None:
    """Torch renamed them; a file may have been saved anew by either."""
    new = fairseq_layout.weights(hubert, old_weight_norm=False)
    old = read_fairseq(write(tmp_path / "old.pt", hubert))
    found = read_fairseq(write(tmp_path / "new.pt", hubert, model=new))
    assert all(torch.equal(found.tensors[name], value) for name, value in old.tensors.items())


def test_files_before_torch_1_6_and_in_half_precision(hubert: Hubert, tmp_path: Path) -> None:
    """Such files lie about, some models were trained in fp16; ours compute in float32."""
    path = write(tmp_path / "new.pt", hubert)
    state = torch.load(path, weights_only=True)
    state["model"] = {name: value.half() for name, value in state["model"].items()}
    state["args"] = Namespace(old=True)
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    found = read_fairseq(tmp_path / "old.pt")
    assert {value.dtype for value in found.tensors.values()} == {torch.float32}
    assert torch.equal(found.tensors["masked_spec_embed"], hubert.masked_spec_embed.half().float())


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    @override
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


ATTACKS: dict[str, tuple[Callable[[str], Any], str]] = {
    "system": (lambda flag: Calls(os.system, f"touch {flag}"), r"(posix|os)\.system"),
    "eval": (lambda flag: Calls(builtins.eval, f"open({flag!r}, 'w')"), r"builtins\.eval"),
    "nested": (
        lambda flag: Calls(list, Calls(map, Calls(getattr, Path(flag), "touch"), [])),
        r"builtins\.(getattr|map)",
    ),
    "settings": (
        lambda flag: Namespace(normalize=Calls(builtins.exec, f"open({flag!r}, 'w')")),
        r"builtins\.exec",
    ),
}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
@pytest.mark.parametrize("in_zip", [True, False])
@pytest.mark.parametrize("key", ["model", "args", "extra_state"])
def test_a_crafted_file_runs_nothing(
    tmp_path: Path, attack: str, key: str, *, in_zip: bool
) -> None:
    """Checkpoints come from strangers: wherever a call hides, it is refused by its name."""
    make, named = ATTACKS[attack]
    path, flag = tmp_path / "evil.pt", tmp_path / "executed"
    state = {"args": None, "model": {}, key: make(str(flag))}
    torch.save(state, path, _use_new_zipfile_serialization=in_zip)
    with pytest.raises(ValueError, match=named):
        read_fairseq(path)
    assert not flag.exists()


def test_classes_of_fairseq_are_never_imported(
    hubert: Hubert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even the names that are let through must not run code, be fairseq installed or not."""

    class Task:
        def __init__(self) -> None:
            self.kept = 1

        def __setstate__(self, state: Any) -> None:
            raise AssertionError(f"executed with {state}")

    Task.__module__, Task.__qualname__ = "fairseq.tasks.made_up", "Task"
    module = ModuleType("fairseq.tasks.made_up")
    vars(module)["Task"] = Task
    for name in ("fairseq", "fairseq.tasks", "fairseq.tasks.made_up"):
        monkeypatch.setitem(sys.modules, name, module)
    path = write(tmp_path / "hubert.pt", hubert, task_state=Task())
    assert read_fairseq(path).config == hubert.config
    with pytest.raises(AssertionError, match="executed"):
        torch.load(path, weights_only=False)  # The test would see it.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"quantizer.vars": torch.zeros(1, 2, 3)}}, "no pretrained HuBERT"),
        ({"model_cfg": {"_name": "wav2vec2"}}, "its kind is 'wav2vec2'"),
        ({"model_cfg": {"_name": "hubert_ctc"}}, "Of a fine-tuned model, import the pretrained"),
        ({"model_cfg": {"activation_fn": "relu"}}, "activation_fn = 'relu'; only 'gelu'"),
        ({"model_cfg": {"encoder_layers": 4}}, r"do not fit.*encoder\.layers\.3\."),
        ({"model_cfg": {"encoder_ffn_embed_dim": 64}}, r"another shape.*output_dense"),
        ({"model_cfg": {"conv_feature_layers": "__import__('os').abort()"}}, "no list of"),
        ({"model_cfg": {"conv_feature_layers": "[(8,2,2)] * 9999999999"}}, "do not fit"),
        ({"task_cfg": {"normalize": None}}, "normalize is None"),
        ({"cfg": None}, "no settings under"),
        ({"model": None}, "no weights under"),
    ],
)
def test_what_cannot_be_imported_is_said(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """Each would give wrong features, or an error from deep inside."""
    path = write(tmp_path / "other.pt", Hubert(small_config()), **changes)
    with pytest.raises(ValueError, match=message):
        read_fairseq(path)


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, message in (("none", "no file"), ("text", "not a complete file"), ("list", "a list")):
        with pytest.raises(ValueError, match=message):
            read_fairseq(tmp_path / f"{name}.pt")


def test_a_head_of_several_label_sets_is_left_out_and_named(tmp_path: Path) -> None:
    """Ours predicts one label; the rows of two sets in one softmax would be another loss."""
    file = write(tmp_path / "two.pt", Hubert(small_config()), task_cfg={"labels": ["a", "b"]})
    assert read_fairseq(file).head is None
    export(file, tmp_path / "out", random=False, seed=0)
    assert "several label sets" in read_facts(tmp_path / "out")["pretraining_head"]


@torch.inference_mode()
def test_the_exported_folder_opens_here_and_in_transformers(file: Path, tmp_path: Path) -> None:
    """`harness-bench export FILE.pt OUT`: what transformers computes is what the file holds."""
    export(file, tmp_path / "out", random=False, seed=0)
    found = read_fairseq(file)
    samples, lengths = padded([9_000])
    ours = found.model().eval()(samples, lengths).hidden_states
    again, _ = load_backbone(tmp_path / "out")(samples, lengths)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(tmp_path / "out")
    values = extractor(samples[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    reference = HubertModel.from_pretrained(tmp_path / "out").eval()
    theirs = reference(values, output_hidden_states=True).hidden_states
    assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.s3prl
@torch.inference_mode()
def test_the_exported_folder_opens_in_s3prl(file: Path, tmp_path: Path) -> None:
    """`-u hf_hubert_custom -k FOLDER` needs no network and gives our hidden states."""
    from harness_bench.probing.s3prl.bridges import hub_names  # noqa: PLC0415

    hub_names()  # s3prl's own upstreams cannot be imported without it
    from s3prl.upstream.hf_hubert.expert import UpstreamExpert  # noqa: PLC0415

    export(file, tmp_path / "out", random=False, seed=0)
    samples, lengths = padded([9_000])
    ours = load_hubert(tmp_path / "out").eval()(samples, lengths).hidden_states
    theirs = UpstreamExpert(str(tmp_path / "out")).eval()([samples[0]])["hidden_states"]
    assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(ours, theirs, strict=True))


# fairseq takes a frame for padding where 1/F of the longest utterance is; these lengths give our
# count of frames, which sees no padding at all.
LENGTHS = [16_000, 12_345, 8_150]


@pytest.mark.fairseq
@needs_fairseq
@pytest.mark.parametrize(
    ("kind", "form"),
    [*((kind, "cfg") for kind in sorted(KINDS)), ("large", "omegaconf"), ("base", "args")],
)
@torch.inference_mode()
def test_hidden_states_equal_fairseqs(tmp_path: Path, kind: str, form: str) -> None:
    """The same file, the same audio: every layer of every frame, alone and in a padded batch."""
    config = small_config(**KINDS[kind])
    torch.manual_seed(0)
    peer = FairseqPeer(config, 10, PretrainConfig(max_update=1, final_dim=16))
    peer.save(tmp_path / "hubert.pt", form=form)
    found = read_fairseq(tmp_path / "hubert.pt")
    samples, lengths = padded(LENGTHS)
    ours = found.model().eval()(samples, lengths)
    if config.normalize:
        # As transformers does. fairseq's data set adds 1e-5 to the variance, not 1e-7: at a
        # variance of 0.09, that alone moves the states of a model with biases by 1e-4.
        samples = normalize_waveforms(samples, lengths)
    together = config.extractor_mode == "layer_norm"  # fairseq's group norm sees the padding
    for layer in range(1, config.encoder_layers + 1):
        theirs = peer.hidden_states(samples, lengths, layer, together=together)
        for row, count in enumerate(ours.frames.tolist()):
            assert len(theirs[row]) == count
            mine = ours.hidden_states[layer][row, :count]
            assert torch.allclose(mine, theirs[row], atol=1e-5)


@pytest.mark.fairseq
@needs_fairseq
@pytest.mark.parametrize("kind", ["large", "base", "biased"])
def test_weights_start_as_fairseqs(tmp_path: Path, kind: str) -> None:
    """Every tensor, the head's too, is drawn from the distribution that fairseq draws it from."""
    shape = {"encoder_embed_dim": 64, "encoder_ffn_embed_dim": 96, "encoder_layers": 2}
    config = small_config(**{**KINDS[kind], **shape, "dropout": 0.1})
    pretrain = PretrainConfig(max_update=1, final_dim=48)
    torch.manual_seed(0)
    FairseqPeer(config, 60, pretrain).save(tmp_path / "hubert.pt", form="cfg")
    found = read_fairseq(tmp_path / "hubert.pt")
    torch.manual_seed(1)
    ours = HubertObjective(Hubert(config), 60, pretrain)
    for start, theirs in ((ours.hubert, found.tensors), (ours.head, found.head or {})):
        assert start.state_dict().keys() == theirs.keys()
        for name, tensor in start.state_dict().items():
            mine, other = tensor.flatten().numpy(), theirs[name].flatten().numpy()
            if min(mine.std(), other.std()) == 0:
                assert np.array_equal(mine, other), name
            else:
                assert ks_2samp(mine, other).pvalue > 1e-4, name
