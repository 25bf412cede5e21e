"""What the base of upstreams promises, by an upstream that counts what it computes."""

from collections.abc import Sequence
from typing import override

import pytest
import torch
from torch import Tensor, nn

from harness_bench.probing.s3prl.upstream import FrozenExpert

pytestmark = pytest.mark.s3prl


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
def test_mixed_precision_has_its_own_features(wavs: list[Tensor]) -> None:
    """`runner.fp16` trains under autocast and evaluates without: one must not get the other's."""
    upstream = Counting()
    full = upstream(wavs)["last_hidden_state"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = upstream(wavs)["last_hidden_state"]
    assert (full.dtype, mixed.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(upstream(wavs)["last_hidden_state"], full)
    assert len(upstream.batches) == 6
