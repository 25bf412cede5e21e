"""The prediction loss as one matrix product against frames x classes x dimensions in memory."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.fairseq_peer import FairseqPeer, without_fairseq
from benchmarks.measure import Rows, in_turn, lower_is_better, require_equal_losses, versus
from harness_bench.models.config import FAIRSEQ_SPECIAL_SYMBOLS, HubertConfig
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.objectives.hubert import PretrainHead

DIM, FINAL_DIM, TEMPERATURE = 512, 768, 0.1


def measure(*, tiny: bool = False) -> Rows:
    """Yield CPU seconds and peak memory of loss and gradients on one thread."""
    clusters = 20 if tiny else 1000
    torch.manual_seed(0)
    head = PretrainHead(DIM, clusters, FINAL_DIM, TEMPERATURE)
    count, repeats = (8, 1) if tiny else (32, 2)
    frames, targets = _frames(count, clusters)
    calls = _ours(head, frames, targets), _cosines(head, frames, targets)
    what = f"prediction loss and gradients, {count} frames, {clusters} clusters, one matrix product"
    times = in_turn(*calls, repeats=repeats, tolerance=1e-4)
    note = versus(f"{what} against cosine_similarity", "torch")
    yield lower_is_better("loss_vs_torch_cosine_similarity", *times, "CPU s", note=note)
    name = "loss_memory_vs_fairseq"
    if without_fairseq(name):
        return
    count = 8 if tiny else 150  # of 250 masked frames in 10 s; fairseq's way takes 20 MB for each
    frames, targets = _frames(count, clusters)
    calls = _ours(head, frames, targets), _fairseq(head, frames, targets)
    (loss, ours), (peer_loss, peer) = (peak_bytes(call) for call in calls)
    require_equal_losses(loss, peer_loss, 1e-4)
    note = (
        f"peak of live tensors beyond those before, loss and gradients of {count} frames, "
        f"{clusters} clusters, {FINAL_DIM} dimensions; ours holds {ours / peer:.2%} of the peer's"
    )
    sizes = ours / 2**20, peer / 2**20
    yield lower_is_better(name, *sizes, "MiB", note=versus(note, "fairseq-fixed"))


def peak_bytes(call: Callable[[], float]) -> tuple[float, int]:
    """Return what a call gives, and the most bytes of tensors it holds beyond those before.

    As torch's own allocator reports them on the CPU.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        found = call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]"]
    live = peak = 0
    for event in sorted(memory, key=lambda event: float(event["ts"])):
        live += int(event["args"]["Bytes"])
        peak = max(peak, live)
    return found, peak


def _frames(count: int, clusters: int) -> tuple[Tensor, Tensor]:
    targets = torch.randint(clusters, (count,)) + FAIRSEQ_SPECIAL_SYMBOLS
    return torch.randn(count, DIM), targets


def _ours(head: PretrainHead, frames: Tensor, targets: Tensor) -> Callable[[], float]:
    return lambda: _step(head, F.cross_entropy(head(frames), targets))


def _cosines(head: PretrainHead, frames: Tensor, targets: Tensor) -> Callable[[], float]:
    """Return the loss with every frame beside every class: (N, classes, D)."""

    def loss() -> float:
        projected = head.final_proj(frames)[:, None]
        classes = head.label_embs_concat[None].expand(len(frames), -1, -1)
        cosines = torch.cosine_similarity(projected, classes, dim=-1)
        return _step(head, F.cross_entropy(cosines / head.temperature, targets))

    return loss


def _fairseq(head: PretrainHead, frames: Tensor, targets: Tensor) -> Callable[[], float]:
    """Return the loss by fairseq's HubertModel.compute_nce, called as its forward pass does."""
    config = HubertConfig(
        encoder_layers=1, encoder_embed_dim=DIM, encoder_ffn_embed_dim=8, conv_dim=(8,) * 7,
        encoder_attention_heads=1,
    )  # fmt: skip
    settings = PretrainConfig(max_update=1, final_dim=FINAL_DIM, logit_temp=TEMPERATURE)
    model = FairseqPeer(config, clusters=1, pretrain=settings).model

    def loss() -> float:
        projected, classes = head.final_proj(frames), head.label_embs_concat
        negatives = classes.unsqueeze(1).expand(-1, len(frames), -1)
        logits = model.compute_nce(projected, classes.index_select(0, targets), negatives)
        return _step(head, F.cross_entropy(logits.float(), torch.zeros_like(targets)))

    return loss


def _step(head: PretrainHead, loss: Tensor) -> float:
    head.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())
