"""What every upstream of this project promises, whichever folders there are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, override

import pytest
import torch
from torch import Tensor, nn

from harness_bench.probing.s3prl import hub
from harness_bench.probing.s3prl.bridges import hub_names
from harness_bench.probing.s3prl.upstream import FrozenExpert

pytestmark = pytest.mark.s3prl
LENGTHS = (16000, 9999, 4321)
# Names that one folder defines share their expert: one of each is enough for what experts do.
ONE_OF_EACH = sorted({hub.index()[name]: name for name in hub.own_names()}.values())


def make(name: str, checkpoint: Path) -> Any:
    """Make an upstream as s3prl's runner does."""
    hub_names()  # s3prl's own upstreams cannot be imported without it
    return getattr(hub, name)(ckpt=str(checkpoint), model_config=None, refresh=False)


@pytest.fixture(params=ONE_OF_EACH)
def upstream(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> Any:
    return make(request.param, tiny_checkpoint)


@pytest.fixture
def wavs() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(count) for count in LENGTHS]


def frames(upstream: Any, samples: int) -> int:
    """Count the 25 ms windows."""
    return len(range(0, samples - 400 + 1, upstream.get_downsample_rates("hidden_states")))


@pytest.mark.parametrize("name", hub.own_names())
def test_each_name_opens_a_checkpoint(name: str, tiny_checkpoint: Path) -> None:
    """By -k, whether or not the name has weights of its own; --help shows the first line."""
    assert isinstance(make(name, tiny_checkpoint), FrozenExpert)
    assert (getattr(hub, name).__doc__ or "").strip()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_making_it_draws_no_random_numbers(name: str, tiny_checkpoint: Path) -> None:
    """Else heads of one seed would start differently on every upstream."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    make(name, tiny_checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
def test_alone_equals_in_a_batch_to_the_bit(upstream: Any, wavs: list[Tensor]) -> None:
    """On the CPU; else accuracy depends on the batch size, and a cache on what came first."""
    together = upstream(wavs)["hidden_states"]
    upstream._store.memory.clear()
    for row, wav in enumerate(wavs):
        count = frames(upstream, len(wav))
        for batch, alone in zip(together, upstream([wav])["hidden_states"], strict=True):
            assert torch.equal(batch[row, :count], alone[0])
            assert not batch[row, count:].any()


@torch.no_grad()
def test_kept_features_are_those_computed(
    upstream: Any, wavs: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second pass must compute nothing and give the same bits, repeats in a batch included."""
    first = upstream(wavs)["hidden_states"]
    assert len(upstream._store.memory) == 3
    monkeypatch.setattr(upstream, "encode", None)  # a call would raise
    again = upstream([*reversed(wavs), wavs[0]])["hidden_states"]
    for before, after in zip(first, again, strict=True):
        assert torch.equal(before, after[[2, 1, 0]])
        assert torch.equal(after[2], after[3])


@torch.no_grad()
def test_a_changed_waveform_is_computed_anew(upstream: Any, wavs: list[Tensor]) -> None:
    """Augmentation changes samples, not ids: the memory must go by the samples."""
    before = upstream(wavs)["last_hidden_state"]
    wavs[0] = wavs[0].flip(0)
    after = upstream(wavs)["last_hidden_state"]
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1:], after[1:])


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
def test_new_weights_empty_the_memory(upstream: Any, wavs: list[Tensor]) -> None:
    """Loading a checkpoint after the first batch must not leave old features behind."""
    upstream(wavs)
    upstream.load_state_dict(upstream.state_dict())
    assert len(upstream._store.memory) == 0


@torch.no_grad()
def test_fbank_is_s3prls(wavs: list[Tensor]) -> None:
    """Our FBANK row must be the toolkit's, to the bit."""
    hub_names()
    ours, stock = hub.fbank_cached()(wavs), hub.fbank()(wavs)
    assert torch.equal(ours["last_hidden_state"], stock["last_hidden_state"])


class Counting(FrozenExpert):
    """One state: the waveform in frames of two samples, scaled; remembers its batches."""

    def __init__(self) -> None:
        super().__init__("fbank")
        self.scale = nn.Linear(2, 2, bias=False)
        self.batches: list[list[int]] = []

    @override
    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        self.batches.append([len(wav) for wav in wavs])
        return [self.scale(wav[: len(wav) // 2 * 2].view(1, -1, 2)) for wav in wavs]


def few() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(count) for count in (9, 4, 6)]


@torch.no_grad()
def test_each_utterance_is_computed_alone_and_once() -> None:
    """On the CPU the bits then do not depend on the batch; equal ones in a batch count as one."""
    upstream, wavs = Counting(), few()
    first = upstream([*wavs, wavs[1].clone()])["last_hidden_state"]
    assert upstream.batches == [[9], [4], [6]]
    assert torch.equal(first[1], first[3])
    assert torch.equal(upstream(wavs)["last_hidden_state"], first[:3])
    assert len(upstream.batches) == 3
    assert first.shape == (4, 4, 2)
    assert [int(row.abs().sum(-1).count_nonzero()) for row in first] == [4, 2, 3, 2]


@torch.no_grad()
def test_mixed_precision_has_its_own_features() -> None:
    """`runner.fp16` trains under autocast and evaluates without: one must not get the other's."""
    upstream, wavs = Counting(), few()
    full = upstream(wavs)["last_hidden_state"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = upstream(wavs)["last_hidden_state"]
    assert (full.dtype, mixed.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(upstream(wavs)["last_hidden_state"], full)
    assert len(upstream.batches) == 6
