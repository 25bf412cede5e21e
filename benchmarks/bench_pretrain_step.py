"""Pretraining steps on 10 s crops: audio seconds a core-second, and their share of the peak."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from benchmarks.fairseq_peer import FairseqPeer
from benchmarks.measure import higher_is_better, in_turn, matmul_peak, versus
from benchmarks.peers import HOW, fairseq_available
from benchmarks.steps import (
    CLUSTERS,
    SETTINGS,
    FairseqStep,
    OurStep,
    TransformersStep,
    crops,
    require_equal_losses,
    shape,
    updates,
)
from harness_bench.models.hubert import Hubert
from harness_bench.models.size import training_per_second
from harness_bench.pretrain.objectives.hubert import HubertObjective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from benchmarks.measure import Row
    from harness_bench.models.config import HubertConfig

UNIT = "audio s / core-s"
CROP_SECONDS = 10.0
SLOW_PEAK = 30e9  # operations a second


@dataclass(frozen=True)
class Case:
    """One row: a shape, a precision, a peer."""

    size: str
    peer: str
    bf16: bool = False
    repeats: int = 3

    @property
    def name(self) -> str:
        """The row's name; fairseq is measured in fp32 alone."""
        precision = "" if self.peer == "fairseq" else "_bf16" if self.bf16 else "_fp32"
        return f"pretrain_step_{self.size}{precision}_vs_{self.peer}"


CASES = (
    Case("hst", "transformers"),
    Case("hst", "transformers", bf16=True),
    Case("base", "transformers", repeats=2),
    Case("hst", "fairseq", repeats=1),
)


def measure(*, tiny: bool = False) -> Iterator[Row]:
    """Yield audio seconds per CPU second of forward, backward and AdamW on one thread."""
    for case in CASES:
        if case.peer == "fairseq" and not fairseq_available():
            print(f"{case.name} is left out: {HOW}.", file=sys.stderr)
            continue
        yield _row(case, shape(case.size, tiny=tiny), tiny=tiny)


def _row(case: Case, config: HubertConfig, *, tiny: bool) -> Row:
    torch.manual_seed(0)
    peak = matmul_peak(torch.bfloat16 if case.bf16 else torch.float32, tiny=tiny)
    seconds = 0.5 if tiny else _crop_seconds(peak)
    batch = crops(config, seconds)
    losses: tuple[list[float], list[float]] = ([], [])
    calls = [
        partial(_append, kept, updates(step, batch, SETTINGS, bf16=case.bf16))
        for kept, step in zip(losses, _steps(case.peer, config), strict=True)
    ]
    ours, peer = in_turn(*calls, repeats=1 if tiny else case.repeats)
    require_equal_losses(losses[0][0], losses[1][0], 1e-2 if case.bf16 else 1e-4)
    share = training_per_second(
        config, clusters=CLUSTERS, final_dim=SETTINGS.final_dim, utterance_seconds=seconds
    ) * (seconds / peak)
    what = (
        f"step on a crop of {seconds:g} s, {CLUSTERS} clusters, masked frames predicted, "
        f"{'bf16-mixed' if case.bf16 else 'fp32'}, one thread; the peer reaches "
        f"{share / peer:.0%} of {peak / 1e9:.3g} GFLOP/s"
    )
    package = "fairseq-fixed" if case.peer == "fairseq" else case.peer
    note = versus(what, package)
    return higher_is_better(
        case.name, seconds / ours, seconds / peer, UNIT, note=note, limit=share / ours
    )


def _crop_seconds(peak: float) -> float:
    """Return 10 s, or less where the machine would take minutes: bf16 without instructions."""
    return CROP_SECONDS if peak > SLOW_PEAK else 0.5


def _append(kept: list[float], update: Callable[[], float]) -> None:
    kept.append(update())


def _steps(peer: str, config: HubertConfig) -> tuple[nn.Module, nn.Module]:
    """Return our step and the peer's, with equal weights."""
    if peer == "fairseq":
        theirs = FairseqPeer(config, CLUSTERS, SETTINGS)
        return OurStep(theirs.ours(), SETTINGS), FairseqStep(theirs, normalize=config.normalize)
    model = HubertObjective(Hubert(config), CLUSTERS, SETTINGS)
    return OurStep(model, SETTINGS), TransformersStep(model, SETTINGS)
