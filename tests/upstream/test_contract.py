"""What every upstream of this project promises, whichever folders there are."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from harness_bench.probing.s3prl import hub
from harness_bench.probing.s3prl.bridges import hub_names
from harness_bench.probing.s3prl.upstream import FrozenExpert
from tests.upstream.conftest import waves

pytestmark = pytest.mark.s3prl
LENGTHS = [16000, 9999, 4321]
# Names that one folder defines share their expert: one of each is enough for what experts do.
ONE_OF_EACH = sorted({hub.index()[name]: name for name in reversed(hub.own_names())}.values())
# The tiny checkpoint is a HuBERT, which names of other published models refuse.
OPENING = [
    name
    for name in hub.own_names()
    if not name.startswith(("wav2vec2", "xls", "wavlm", "data2vec", "unispeech"))
]


def make(name: str, checkpoint: Path) -> Any:
    """Make an upstream as s3prl's runner does."""
    hub_names()  # s3prl's own upstreams cannot be imported without it
    given = str(checkpoint) if hub.takes_checkpoint(name) else None
    return getattr(hub, name)(ckpt=given, model_config=None, refresh=False)


@pytest.fixture(params=ONE_OF_EACH)
def upstream(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> Any:
    return make(request.param, tiny_checkpoint)


@pytest.fixture
def wavs() -> list[Tensor]:
    return waves(LENGTHS)


def counted(upstream: Any, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Return what notes the batches that an upstream computes."""
    encode = Mock(wraps=upstream.encode)
    monkeypatch.setattr(upstream, "encode", encode)
    return encode


@pytest.mark.parametrize("name", OPENING)
def test_each_name_opens_a_checkpoint(name: str, tiny_checkpoint: Path) -> None:
    """By -k, whether or not the name has weights of its own; --help shows the first line.

    If that drew random numbers, heads of one seed would start differently on every upstream.
    """
    before = torch.get_rng_state()
    assert isinstance(make(name, tiny_checkpoint), FrozenExpert)
    assert torch.equal(torch.get_rng_state(), before)
    assert (getattr(hub, name).__doc__ or "").strip()


@torch.no_grad()
def test_alone_equals_in_a_batch_to_the_bit(upstream: Any, wavs: list[Tensor]) -> None:
    """On the CPU; else accuracy depends on the batch size, and a cache on what came first."""
    together = upstream(wavs)["hidden_states"]
    upstream._store.memory.clear()
    for row, wav in enumerate(wavs):
        count = len(range(400, len(wav) + 1, upstream.get_downsample_rates("hidden_states")))
        for batch, alone in zip(together, upstream([wav])["hidden_states"], strict=True):
            assert torch.equal(batch[row, :count], alone[0])
            assert not batch[row, count:].any()


@torch.no_grad()
def test_kept_features_are_those_computed(
    upstream: Any, wavs: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each utterance is computed once and, on the CPU, alone: its bits depend on no batch."""
    encode = counted(upstream, monkeypatch)
    first = upstream([*wavs, wavs[1].clone()])["hidden_states"]
    again = upstream([*reversed(wavs), wavs[0]])["hidden_states"]
    computed = [[len(wav) for wav in call.args[0]] for call in encode.call_args_list]
    assert computed == [[length] for length in LENGTHS]
    for before, after in zip(first, again, strict=True):
        assert torch.equal(before[1], before[3])
        assert torch.equal(before[:3], after[[2, 1, 0]])
        assert torch.equal(after[2], after[3])


@torch.no_grad()
def test_changed_waveforms_and_weights_compute_anew(upstream: Any, wavs: list[Tensor]) -> None:
    """Augmentation changes samples, not ids; a checkpoint may be loaded after the first batch."""
    before = upstream(wavs)["last_hidden_state"]
    wavs[0] = wavs[0].flip(0)
    after = upstream(wavs)["last_hidden_state"]
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1:], after[1:])
    assert len(upstream._store.memory) == 4
    upstream.load_state_dict(upstream.state_dict())
    assert len(upstream._store.memory) == 0


@torch.no_grad()
def test_stays_in_eval_mode(upstream: Any) -> None:
    """ESPnet and some runners call train() on frozen upstreams too."""
    assert not any(module.training for module in upstream.train().modules())


def test_fine_tuning_keeps_nothing(upstream: Any, wavs: list[Tensor]) -> None:
    """With -f the weights change between steps: features kept from before would be wrong."""
    with torch.no_grad():
        upstream(wavs)
    out = upstream(wavs)["last_hidden_state"]
    assert upstream._store is None
    if out.requires_grad:
        out.square().sum().backward()
        with torch.no_grad():
            for parameter in upstream.parameters():
                parameter.sub_(0 if parameter.grad is None else parameter.grad)
            assert not torch.equal(upstream(wavs)["last_hidden_state"], out)


@torch.no_grad()
def test_fbank_is_s3prls(wavs: list[Tensor]) -> None:
    """Our FBANK row must be the toolkit's, to the bit."""
    hub_names()
    ours, stock = hub.fbank_cached()(wavs), hub.fbank()(wavs)
    assert torch.equal(ours["last_hidden_state"], stock["last_hidden_state"])


@torch.no_grad()
def test_mixed_precision_has_its_own_features(
    tiny_checkpoint: Path, wavs: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`runner.fp16` trains under autocast and evaluates without: one must not get the other's."""
    upstream = make("harness_local", tiny_checkpoint)
    encode = counted(upstream, monkeypatch)
    full = upstream(wavs)["last_hidden_state"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = upstream(wavs)["last_hidden_state"]
    assert not torch.equal(mixed, full)
    assert torch.equal(upstream(wavs)["last_hidden_state"], full)
    assert encode.call_count == 6
