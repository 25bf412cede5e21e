"""What log-mel bins save beside the convolutions: harness_st_mel against harness_st on a crop.

CPU seconds a second of audio on one thread, of a training step and of the frozen model.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.bench_pretrain_step import (
    CLUSTERS,
    CROP_SECONDS,
    SETTINGS,
    OurStep,
    crops,
    operations,
    shape,
    updates,
)
from benchmarks.measure import Rows, in_turn, lower_is_better, matmul_peak, versus
from harness_bench.models.config import HubertConfig, forward_per_second
from harness_bench.models.hubert import Hubert
from harness_bench.pretrain.config import load_preset
from harness_bench.pretrain.data.batches import MaskedBatch
from harness_bench.pretrain.objectives.hubert import HubertObjective

UNIT = "CPU s / audio s"
_OWN = "harness-ssl-bench"  # both are ours


def measure(*, tiny: bool = False) -> Rows:
    """Yield a row of a training step and one of inference."""
    torch.manual_seed(0)
    raw = shape("hst", tiny=tiny)
    mel = replace(
        load_preset("harness_st_mel").model if not tiny else raw,
        extractor_mode="mel", conv_dim=raw.conv_dim[-1:], conv_kernel=(400,), conv_stride=(320,),
    )  # fmt: skip
    seconds, turns = (0.5, 1) if tiny else (CROP_SECONDS, 5)
    peak = matmul_peak(torch.float32, tiny=tiny)
    batch = crops(raw, seconds)
    for name, make, count in (
        ("mel_vs_raw_step", _step, operations),
        ("mel_vs_raw_inference", _forward, _inference),
    ):
        ours, peer = in_turn(make(mel, batch), make(raw, batch), repeats=turns)
        what = f"harness_st_mel beside harness_st on a crop of {seconds:g} s, fp32, one thread"
        yield lower_is_better(
            name, ours / seconds, peer / seconds, UNIT,
            note=versus(what, _OWN), limit=count(mel, seconds) / peak / ours,
        )  # fmt: skip


def _step(config: HubertConfig, batch: MaskedBatch) -> Callable[[], Any]:
    model = HubertObjective(Hubert(config), CLUSTERS, SETTINGS)
    return updates(OurStep(model, SETTINGS), batch, SETTINGS, bf16=False)


def _forward(config: HubertConfig, batch: MaskedBatch) -> Callable[[], Any]:
    model = Hubert(config).eval()

    @torch.inference_mode()
    def run() -> float:
        return float(model(batch.samples, batch.lengths).output.sum())

    return run


def _inference(config: HubertConfig, seconds: float) -> float:
    return seconds * forward_per_second(config, utterance_seconds=seconds)
