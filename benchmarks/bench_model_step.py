"""One forward and backward pass of the thin student against transformers, equal weights."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import HubertModel
from transformers.utils import logging

from benchmarks.measure import in_turn, lower_is_better, versus
from harness_bench.audio import SAMPLE_RATE
from harness_bench.iteration import load_preset
from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.hubert import Hubert, normalize_waveforms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from benchmarks.measure import Row

TOLERANCE = 1e-3


def measure(*, tiny: bool = False) -> Iterator[Row]:
    """Yield CPU seconds per step in fp32 on one thread."""
    utterances, seconds, repeats = (1, 0.5, 1) if tiny else (2, 2.0, 3)
    torch.manual_seed(0)
    model = Hubert(load_preset("harness_st").model)
    peer = _same_in_transformers(model)
    waves = 0.1 * torch.randn(utterances, int(seconds * SAMPLE_RATE))
    lengths = torch.full((utterances,), waves.shape[1])

    def ours() -> Tensor:
        return _step(model, model(waves, lengths).output)

    def theirs() -> Tensor:
        return _step(peer, peer(normalize_waveforms(waves, lengths)).last_hidden_state)

    gap = float((ours() - theirs()).abs().max())
    if gap > TOLERANCE:
        raise ValueError(f"The two models differ by {gap}; their times cannot be compared.")
    what = f"HArnESS-ST forward+backward, {utterances} x {seconds:g} s, fp32, one thread"
    times = in_turn(ours, theirs, repeats=repeats)
    yield lower_is_better(versus(what, "transformers"), *times, "CPU s")


def _step(model: torch.nn.Module, output: Tensor) -> Tensor:
    model.zero_grad()
    output.square().mean().backward()  # type: ignore[no-untyped-call]
    return output.detach()


def _same_in_transformers(model: Hubert) -> HubertModel:
    logging.set_verbosity_error()  # It would report the mask embedding, which it does not use here.
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), model)
        return HubertModel.from_pretrained(folder).train()
