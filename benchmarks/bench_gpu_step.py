"""HArnESS-L's training step on a GPU: at the paper's 62.5 s, at the largest batch, compiled."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import torch

from benchmarks.measure import higher_is_better, in_turn, versus
from benchmarks.steps import CLUSTERS, SETTINGS, OurStep, TransformersStep, shape
from harness_bench.frames import SAMPLE_RATE
from harness_bench.iteration import load_preset
from harness_bench.models.flops import training_per_second
from harness_bench.models.hubert import Hubert
from harness_bench.pretrain.data import Batch
from harness_bench.pretrain.objective import PretrainModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from benchmarks.measure import Row
    from harness_bench.models.config import HubertConfig

CROP_SECONDS = 15.625  # max_sample_size; four of them are the paper's 62.5 s
PAPER_CROPS = 4


def measure(*, tiny: bool = False) -> Iterator[Row]:
    """Yield audio seconds per second against transformers, and the share of the bf16 peak."""
    if not torch.cuda.is_available() and not tiny:
        print("gpu_step_hl is left out: there is no GPU here.", file=sys.stderr)
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = shape("hst", tiny=True) if tiny else load_preset("harness_l_it2").model
    seconds = 0.5 if tiny else CROP_SECONDS
    torch.manual_seed(0)
    model = PretrainModel(Hubert(config), CLUSTERS, SETTINGS)
    peer = TransformersStep(model, SETTINGS).to(device)
    ours = OurStep(model, SETTINGS).to(device)
    peak = _matmul_peak(device, tiny=tiny)
    for compiled in (False,) if tiny else (False, True):
        if compiled:
            for module in (model.hubert.feature_extractor, *model.hubert.encoder.layers):
                module.compile(dynamic=True)
        for crops in (PAPER_CROPS, 1 if tiny else _largest(ours, config, device)):
            name = f"gpu_step_hl_{crops * seconds:g}s{'_compiled' if compiled else ''}"
            yield _row(name, (ours, peer), config, (crops, seconds), peak)


def _row(
    name: str,
    steps: tuple[nn.Module, nn.Module],
    config: HubertConfig,
    size: tuple[int, float],
    peak: float,
) -> Row:
    """Time ours and transformers' in turn; `size` is crops and seconds of each."""
    crops, seconds = size
    device = next(steps[0].parameters()).device
    batch = _batch(config, crops, seconds).to(device)
    calls = [_updates(step, batch, device) for step in steps]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    calls[0]()
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    ours, peer = in_turn(*calls, repeats=5, clock=time.perf_counter)
    audio = crops * seconds
    operations = audio * training_per_second(
        config, clusters=CLUSTERS, final_dim=SETTINGS.final_dim, utterance_seconds=seconds
    )
    what = (
        f"step of H-L, bf16-mixed, {crops} crops, peak memory {memory:.1f} GiB (both models held)"
    )
    return higher_is_better(
        name, audio / ours, audio / peer, "audio s / s",
        note=versus(what, "transformers"), limit=operations / ours / peak,
    )  # fmt: skip


def _batch(config: HubertConfig, crops: int, seconds: float) -> Batch:
    samples = 0.1 * torch.randn(crops, int(seconds * SAMPLE_RATE))
    frames = config.frames(samples.shape[1])
    mask = (torch.arange(frames) % 20 < 10).expand(crops, -1).contiguous()  # noqa: PLR2004 - spans
    lengths = torch.full((crops,), samples.shape[1])
    labels = torch.randint(CLUSTERS, (crops, frames))
    return Batch([f"noise{n}" for n in range(crops)], samples, lengths, labels, mask)


def _updates(step: nn.Module, batch: Batch, device: torch.device) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(step.parameters(), lr=1e-6, fused=device.type == "cuda")

    def update() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = step(batch)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return update


def _largest(step: nn.Module, config: HubertConfig, device: torch.device) -> int:
    """Return the largest power of two of crops whose update fits in memory."""
    crops = PAPER_CROPS
    while True:
        try:
            _updates(step, _batch(config, 2 * crops, CROP_SECONDS).to(device), device)()
        except torch.OutOfMemoryError:
            step.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            return crops
        crops *= 2


def _matmul_peak(device: torch.device, *, tiny: bool) -> float:
    """Return the bf16 operations a second of a large matrix product, the best of ten."""
    size = 64 if tiny else 8192
    one, two = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        one @ two
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
