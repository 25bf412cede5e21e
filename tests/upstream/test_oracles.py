"""Hidden states and their weighted sum against transformers, fairseq and s3prl themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.fairseq_peer import HOW, FairseqPeer, fairseq_available
from harness_bench.audio.frames import frame_count
from harness_bench.models.hubert import Hubert, normalize_waveforms
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.probing.s3prl import hub
from tests.models import fairseq_layout
from tests.models.conftest import KINDS as SHAPES
from tests.models.conftest import padded, small_config
from tests.upstream.conftest import KINDS, build, waves

pytestmark = pytest.mark.s3prl
LENGTHS = [16_000, 9_999, 4_321]
EXPONENTIALS = (1.6487212707, 0.3678794412, 7.3890560989)  # e to the 0.5, -1 and 2


def layer_inputs(model: Any, values: Tensor) -> tuple[list[Tensor], Tensor, Any]:
    """Run a model of transformers -> the input of every block, its output, the encoder."""
    body = getattr(model, model.base_model_prefix, model)
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
        for layer in body.encoder.layers
    ]
    output = body(values).last_hidden_state
    for hook in hooks:
        hook.remove()
    return seen, output, body.encoder


@pytest.mark.parametrize("kind", sorted(KINDS))
@torch.no_grad()
def test_states_are_the_inputs_of_transformers_layers(
    folder_of: Callable[[str], Path], kind: str
) -> None:
    """Fairseq's layer L is what block L gives; a final layer norm comes behind all of them.

    By hooks, since what `hidden_states[-1]` means has changed between versions of transformers.
    """
    wavs, model = waves(LENGTHS), build(kind)
    stable = model.config.do_stable_layer_norm
    states = hub.harness_local(str(folder_of(kind)))(wavs)["hidden_states"]
    assert len(states) == 4
    for row, wav in enumerate(wavs):
        values = wav[None]
        if KINDS[kind][2]:
            values = (values - values.mean()) / torch.sqrt(values.var(correction=0) + 1e-7)
        inputs, output, encoder = layer_inputs(model, values)
        count = frame_count(len(wav))
        for mine, theirs in zip(states[:-1], inputs, strict=True):
            assert torch.allclose(mine[row, :count], theirs[0], atol=2e-5)
        last = states[-1][row, :count]
        assert torch.allclose(encoder.layer_norm(last) if stable else last, output[0], atol=2e-5)


@pytest.mark.parametrize("kind", sorted(SHAPES))
@torch.no_grad()
def test_a_fairseq_file_opens_as_it_is(tmp_path: Path, kind: str) -> None:
    """Straight by -k, dropouts and layerdrop of its pretraining asleep even under train()."""
    torch.manual_seed(0)
    shape = SHAPES[kind] | {"dropout": 0.3, "attention_dropout": 0.3, "encoder_layerdrop": 0.5}
    model = Hubert(small_config(**shape)).eval()
    settings, task = fairseq_layout.settings(model)
    state = {"cfg": {"model": settings, "task": task}, "model": fairseq_layout.weights(model)}
    torch.save({"args": None, **state}, tmp_path / "hubert.pt")
    expert = hub.harness_local(str(tmp_path / "hubert.pt")).train()
    assert expert.backbone.hubert.config.dropout == 0.3
    wav = waves([9_000])[0]
    wanted = model(wav[None], torch.tensor([9_000])).hidden_states
    for _ in range(2):
        with torch.enable_grad():
            got = expert([wav])["hidden_states"]
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(got, wanted, strict=True))


@pytest.mark.fairseq
@pytest.mark.skipif(not fairseq_available(), reason=HOW)
@pytest.mark.parametrize("kind", sorted(SHAPES))
@torch.no_grad()
def test_states_equal_fairseqs(tmp_path: Path, kind: str) -> None:
    """The same file through `-u harness_local -k FILE.pt` and through fairseq's own model."""
    torch.manual_seed(0)
    config = small_config(**SHAPES[kind])
    peer = FairseqPeer(config, 10, PretrainConfig(max_update=1, final_dim=16))
    peer.save(tmp_path / "hubert.pt")
    samples, lengths = padded(LENGTHS)
    wavs = [row[:count] for row, count in zip(samples, lengths.tolist(), strict=True)]
    states = hub.harness_local(str(tmp_path / "hubert.pt"))(wavs)["hidden_states"]
    if config.normalize:
        samples = normalize_waveforms(samples, lengths)
    for layer in range(1, config.encoder_layers + 1):
        theirs = peer.hidden_states(samples, lengths, layer, together=False)
        for row, other in enumerate(theirs):
            assert torch.allclose(states[layer][row, : len(other)], other, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
@torch.no_grad()
def test_weighted_sum_is_the_featurizers(tiny_checkpoint: Path, normalize: bool) -> None:  # noqa: FBT001
    """By hand in double precision, from the states of each utterance alone: softmax of weights."""
    from s3prl.upstream.interfaces import Featurizer  # noqa: PLC0415 - behind the marker

    expert, wavs = hub.harness_local(str(tiny_checkpoint)), waves(LENGTHS)
    featurizer = Featurizer(expert, upstream_device="cpu", normalize=normalize)
    featurizer.weights.copy_(torch.tensor([0.5, -1.0, 2.0]))
    summed = featurizer(wavs, expert(wavs))
    shares = [value / sum(EXPONENTIALS) for value in EXPONENTIALS]
    for wav, got in zip(wavs, summed, strict=True):
        states = [state[0].double() for state in expert([wav])["hidden_states"]]
        if normalize:
            states = [
                (s - s.mean(-1, keepdim=True))
                / (s.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
                for s in states
            ]
        wanted = sum(share * state for share, state in zip(shares, states, strict=True))
        assert torch.allclose(got[: frame_count(len(wav))].double(), wanted, atol=1e-5)
