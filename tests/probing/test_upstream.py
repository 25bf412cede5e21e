"""What the base of upstreams promises, by an upstream that counts what it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import pytest
import torch
from torch import Tensor, nn

from harness_bench.probing.s3prl.upstream import FrozenExpert

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.s3prl


class Counting(FrozenExpert):
    """One state: the waveform in frames of two samples, scaled; remembers its batches."""

    def __init__(self, options: Path | None = None, *, cache_mb: int = 1) -> None:
        super().__init__("fbank", str(options) if options else None, cache_mb=cache_mb)
        self.scale, self.drop = nn.Linear(2, 2, bias=False), nn.Dropout(0.5)
        nn.init.eye_(self.scale.weight)
        self.batches: list[list[int]] = []

    @override
    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        self.batches.append([len(wav) for wav in wavs])
        return [self.drop(self.scale(wav[: len(wav) // 2 * 2].view(1, -1, 2))) for wav in wavs]

    @override
    def get_downsample_rates(self, key: str) -> int:
        return 2


@pytest.fixture
def wavs() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(count) for count in (9, 4, 6)]


@torch.no_grad()
def test_each_utterance_is_computed_alone_and_once(wavs: list[Tensor]) -> None:
    """On the CPU the bits then do not depend on the batch; equal ones in a batch count as one."""
    upstream = Counting()
    first = upstream([*wavs, wavs[1].clone()])["last_hidden_state"]
    assert upstream.batches == [[9], [4], [6]]
    assert torch.equal(first[1], first[3])
    assert torch.equal(upstream(wavs)["last_hidden_state"], first[:3])
    assert len(upstream.batches) == 3
    assert first.shape == (4, 4, 2)
    assert [int(row.abs().sum(-1).count_nonzero()) for row in first] == [4, 2, 3, 2]


@torch.no_grad()
def test_padded_batches_are_computed_whole_and_not_kept(wavs: list[Tensor], tmp_path: Path) -> None:
    """With per_utterance=False features may depend on the batch they stood in."""
    (tmp_path / "options.toml").write_text("[upstream]\nper_utterance = false\n")
    upstream = Counting(tmp_path / "options.toml")
    upstream(wavs)
    upstream(wavs)
    assert upstream.batches == [[9, 4, 6]] * 2


@torch.no_grad()
def test_train_leaves_dropout_asleep_and_the_count_bounded(wavs: list[Tensor]) -> None:
    """Runners call train() on frozen upstreams; without room everything is computed anew."""
    upstream = Counting(cache_mb=0).train()
    for _ in range(2):
        assert torch.equal(upstream(wavs[:1])["last_hidden_state"][0].flatten(), wavs[0][:8])
    assert upstream.batches == [[9], [9]]


def test_gradients_end_the_keeping(wavs: list[Tensor]) -> None:
    """Fine-tuning changes weights: what was kept is wrong, in later evaluations too."""
    upstream = Counting()
    with torch.no_grad():
        upstream(wavs)
    upstream(wavs)["last_hidden_state"].sum().backward()
    assert upstream.scale.weight.grad is not None
    with torch.no_grad():
        upstream.scale.weight.zero_()
        assert not upstream(wavs)["last_hidden_state"].any()


@torch.no_grad()
def test_loaded_weights_empty_the_store(wavs: list[Tensor]) -> None:
    """A fine-tuned upstream is loaded after s3prl's featurizer has run the published one."""
    upstream = Counting()
    upstream(wavs)
    upstream.load_state_dict({"scale.weight": torch.zeros(2, 2)})
    assert not upstream(wavs)["last_hidden_state"].any()


@torch.no_grad()
def test_mixed_precision_has_its_own_features(wavs: list[Tensor]) -> None:
    """`runner.fp16` trains under autocast and evaluates without: one must not get the other's."""
    upstream = Counting()
    full = upstream(wavs)["last_hidden_state"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = upstream(wavs)["last_hidden_state"]
    assert (full.dtype, mixed.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(upstream(wavs)["last_hidden_state"], full)
    assert len(upstream.batches) == 6


def test_features_stay_in_the_process_unless_an_upstream_knows_its_digest() -> None:
    """A disk keyed by the waveform alone would mix the features of two models."""
    assert Counting().digest() is None
