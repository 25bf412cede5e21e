"""HArnESS-L's training step on a GPU: at the paper's 62.5 s, at the largest batch, compiled."""

import sys
from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.bench_pretrain_step import (
    CLUSTERS,
    SETTINGS,
    OurStep,
    TransformersStep,
    crops,
    operations,
    shape,
    updates,
)
from benchmarks.measure import Row, Rows, clock_of, higher_is_better, in_turn, matmul_peak, versus
from harness_bench.models.config import HubertConfig
from harness_bench.models.hubert import Hubert
from harness_bench.pretrain.config import load_preset
from harness_bench.pretrain.objectives.hubert import HubertObjective

CROP_SECONDS = 15.625  # max_sample_size; four of them are the paper's 62.5 s
PAPER_CROPS = 4


def measure(*, tiny: bool = False) -> Rows:
    """Yield audio seconds per second against transformers, and the share of the bf16 peak."""
    if not torch.cuda.is_available() and not tiny:
        print("gpu_step_hl is left out: there is no GPU here.", file=sys.stderr)
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = shape("hst", tiny=True) if tiny else load_preset("harness_l_it2").model
    seconds = 0.5 if tiny else CROP_SECONDS
    torch.manual_seed(0)
    model = HubertObjective(Hubert(config), CLUSTERS, SETTINGS)
    peer = TransformersStep(model, SETTINGS).to(device)
    ours = OurStep(model, SETTINGS).to(device)
    peak = matmul_peak(torch.bfloat16, device, tiny=tiny)
    for compiled in (False,) if tiny else (False, True):
        if compiled:
            for module in (model.hubert.feature_extractor, *model.hubert.encoder.layers):
                module.compile(dynamic=True)
        for count in (PAPER_CROPS, 1 if tiny else _largest(ours, config, device)):
            name = f"gpu_step_hl_{count * seconds:g}s{'_compiled' if compiled else ''}"
            yield _row(name, (ours, peer), config, count, seconds, peak)


def _row(
    name: str, steps: Sequence[nn.Module], config: HubertConfig, count: int, seconds: float,
    peak: float,
) -> Row:  # fmt: skip
    """Time ours and transformers' in turn on so many crops of so many seconds."""
    device = next(steps[0].parameters()).device
    batch = crops(config, seconds, count).to(device)
    calls = [updates(step, batch, SETTINGS, bf16=True) for step in steps]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    calls[0]()
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    ours, peer = in_turn(*calls, repeats=5, clock=clock_of(device))
    audio, limit = count * seconds, count * operations(config, seconds) / ours / peak
    note = versus(
        f"step of H-L, bf16-mixed, {count} crops, peak memory {memory:.1f} GiB (both models held)",
        "transformers",
    )
    return higher_is_better(name, audio / ours, audio / peer, "audio s / s", note=note, limit=limit)


def _largest(step: nn.Module, config: HubertConfig, device: torch.device) -> int:
    """Return the largest power of two of crops whose update fits in memory."""
    count = PAPER_CROPS
    while True:
        try:
            batch = crops(config, CROP_SECONDS, 2 * count).to(device)
            updates(step, batch, SETTINGS, bf16=True)()
        except torch.OutOfMemoryError:
            step.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            return count
        count *= 2
