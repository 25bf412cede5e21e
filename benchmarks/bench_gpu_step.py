"""What pretraining does on one GPU, in 8 minutes: audio-s/s, share of the peak, memory, data wait.

python benchmarks/bench_gpu_step.py [--device cuda] [--minutes 8] [--models hl hst] [--out FILE]

Bare steps of every model: eager and compiled, on crops of one length and of many, at the paper's
batch and the largest that fits, beside transformers' HubertModel; and the trainer itself, from
audio files. What no longer fits into the time is left out and named. Writes a JSON file and beside
it a table in Markdown.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks import each other

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
from benchmarks.measure import (
    Rows,
    clock_of,
    higher_is_better,
    matmul_peak,
    speech_lengths,
    timed,
    versus,
    write_cuts,
)
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import read_jsonl, write_json, write_text
from harness_bench.models.config import HubertConfig, bf16_peak
from harness_bench.models.hubert import Hubert
from harness_bench.pretrain.config import IterationConfig, LabelConfig, load_preset
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.monitor import LOG_FILE
from harness_bench.pretrain.objectives.hubert import HubertObjective
from harness_bench.pretrain.trainer import pretrain

MODELS = {
    "hl": "harness_l_it2", "hst": "harness_st", "hs": "harness_s", "hst_mel": "harness_st_mel",
    "hs_mel": "harness_s_mel",
}  # fmt: skip
# In the order of their worth: what is missing where the time is short stands last.
JOBS = (
    *((model, kind) for model in ("hl", "hst") for kind in ("eager", "transformers", "compiled")),
    ("hst", "trainer"), ("hl", "trainer"),
    ("hs", "eager"), ("hs", "transformers"), ("hst_mel", "eager"), ("hs_mel", "eager"),
    ("hst_mel", "trainer"), ("hs", "compiled"), ("hst_mel", "compiled"), ("hs_mel", "compiled"),
)  # fmt: skip
OURS, PEER, TRAINER = ("eager", "compiled"), "transformers", "trainer"
# Seconds of each kind before the first of it is measured; an H100's.
GUESSES = {"eager": 20.0, "transformers": 20.0, "compiled": 60.0, "trainer": 40.0}
SHORTEST = 0.75  # of many lengths: the shortest crop's share of the longest


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    crop: float = 15.625  # seconds: the longest crop of training, max_sample_size
    paper: int = 4  # crops: 62.5 s
    largest: int = 512  # crops, at most
    warm: int = 3  # steps before the clock runs
    least: float = 1.0  # seconds under the clock, of a case
    files: int = 400  # utterances on disk that the trainer reads
    trained: int = 200  # updates of the trainer
    workers: int = 12
    tiny: bool = False


TINY = Sizes(
    crop=0.5, paper=2, largest=4, warm=1, least=0.0, files=30, trained=4, workers=0, tiny=True
)


@dataclass(frozen=True)
class Case:
    """One measured figure."""

    model: str
    kind: str  # eager, compiled, transformers: bare steps; trainer: from files
    crops: int | None  # of a batch; None: the trainer's own batches
    padded: bool  # crops of many lengths, the shorter ones padded
    audio_per_second: float  # seconds of audio, padding aside
    of_peak: float  # operations by formula over those of the device's peak
    memory_gib: float  # peak, of this model alone
    data_wait: float | None = None  # share of the time

    @property
    def batch(self) -> tuple[int | None, bool]:
        """What two cases must share to be compared."""
        return self.crops, self.padded


@dataclass
class Report:
    """All that was measured, and what was not."""

    device: str
    peak: float
    peak_is: str  # where the figure comes from
    cases: list[Case] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(
    device: torch.device, sizes: Sizes, *, minutes: float = 8.0, models: tuple[str, ...] = ()
) -> Report:
    """Measure every job of these models (all, where none is named) that fits into the time."""
    start, report = time.monotonic(), _report(device, sizes)
    costs = dict.fromkeys(GUESSES, 0.0) if sizes.tiny else dict(GUESSES)
    for model, kind in JOBS:
        if models and model not in models:
            continue
        left, cost = minutes * 60 - (time.monotonic() - start), costs[kind]
        if left < cost:
            why = f"{max(left, 0):.0f} s are left, and it may take {cost:.0f}"
            report.left_out.append(f"{model}, {kind}: {why}")
            continue
        begun = time.monotonic()
        work = _trainer if kind == TRAINER else _steps
        try:
            for case in work(model, kind, device, sizes, report.peak):
                report.cases.append(case)
        except Exception as error:  # noqa: BLE001 - what a GPU was lent for must not be lost
            report.left_out.append(f"{model}, {kind}: {type(error).__name__}: {error}")
        if not sizes.tiny:
            costs[kind] = time.monotonic() - begun
        print(f"{model}, {kind}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
        _free(device)
    report.seconds = time.monotonic() - start
    return report


def _free(device: torch.device) -> None:
    """Free a GPU's memory of what came before: a model and its optimizer hold each other."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def _report(device: torch.device, sizes: Sizes) -> Report:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    measured = matmul_peak(torch.bfloat16, device, tiny=sizes.tiny)
    if (peak := bf16_peak(name)) is not None:
        return Report(name, peak, f"data sheet; a large product reaches {measured / 1e12:.0f}")
    return Report(name, measured, "a large product, measured")


def _config(model: str, sizes: Sizes) -> HubertConfig:
    config = load_preset(MODELS[model]).model
    if not sizes.tiny:
        return config
    small = shape("hst", tiny=True)
    if config.extractor_mode != "mel":
        return small
    convolution = {name: getattr(config, name) for name in ("conv_kernel", "conv_stride")}
    return replace(small, extractor_mode="mel", conv_dim=small.conv_dim[-1:], **convolution)


def _steps(
    model: str, kind: str, device: torch.device, sizes: Sizes, peak: float
) -> Iterator[Case]:
    """Measure bare steps: forward, backward, AdamW, with bf16 autocast."""
    config = _config(model, sizes)
    torch.manual_seed(0)
    ours = HubertObjective(Hubert(config), CLUSTERS, SETTINGS)
    if kind == "compiled":
        for part in (ours.hubert.feature_extractor, *ours.hubert.encoder.layers):
            part.compile(dynamic=True, backend="eager" if sizes.tiny else "inductor")
    step = TransformersStep(ours, SETTINGS) if kind == PEER else OurStep(ours, SETTINGS)
    del ours
    step.to(device)
    measure_one = partial(_case, step, config, sizes, device)
    largest = _largest(step, config, sizes, device)
    for count in dict.fromkeys((sizes.paper, largest)):
        for padded in (False, True):
            audio, share, memory = measure_one(count, padded=padded)
            yield Case(model, kind, count, padded, audio, share / peak, memory)


def _case(
    step: nn.Module, config: HubertConfig, sizes: Sizes, device: torch.device, count: int, *,
    padded: bool,
) -> tuple[float, float, float]:  # fmt: skip
    """Return audio seconds and operations a second, and the peak memory in GiB."""
    _free(device)
    shortest = SHORTEST if padded else 1.0
    batch = crops(config, sizes.crop, count, shortest=shortest).to(device)
    if isinstance(step, TransformersStep):
        step.padded = padded
    update = updates(step, batch, SETTINGS, bf16=True)
    for _ in range(sizes.warm):
        update()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = _seconds(update, clock_of(device), sizes.least)
    lengths = [int(length) / SAMPLE_RATE for length in batch.lengths]
    work = sum(operations(config, each) for each in lengths)
    return sum(lengths) / seconds, work / seconds, _memory(device)


def _seconds(update: Callable[[], object], clock: Callable[[], float], least: float) -> float:
    """Return the seconds of an update, the mean of many that never wait for one another."""
    count, spent = 1, 0.0
    while True:
        _, spent = timed(lambda: [update() for _ in range(count)], clock)  # noqa: B023 - called here
        if spent >= least:
            return max(spent, 1e-9) / count
        count = max(2 * count, int(count * 1.1 * least / max(spent, 1e-3)))


def _memory(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0


def _largest(step: nn.Module, config: HubertConfig, sizes: Sizes, device: torch.device) -> int:
    """Return the largest of the paper's crops, doubled and doubled, whose update fits in memory."""
    count = sizes.paper
    while 2 * count <= sizes.largest:
        try:
            batch = crops(config, sizes.crop, 2 * count).to(device)
            update = updates(step, batch, SETTINGS, bf16=True)
            update()
            update()  # with Adam's moments in memory
        except torch.OutOfMemoryError:
            break
        count *= 2
    step.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return count


def _trainer(
    model: str, kind: str, device: torch.device, sizes: Sizes, peak: float
) -> Iterator[Case]:
    """Measure the trainer on files of noise: its own log says how fast it was."""
    step = _iteration(model, sizes)
    rng = np.random.default_rng(0)
    lengths = speech_lengths(sizes.files, rng) // (8 if sizes.tiny else 1)
    fabric = make_fabric(accelerator=device.type, precision=step.pretrain.precision, devices=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cuts = write_cuts(folder, [0.1 * rng.standard_normal(length) for length in lengths])
        labels = make_labels(cuts, folder / "labels", step.labels, device=fabric.device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        pretrain(step, cuts, labels, folder / "run", fabric=fabric)
        *_, row = read_jsonl(folder / "run" / LOG_FILE)
    audio, mean = row["audio_seconds_per_second"], float(lengths.mean()) / SAMPLE_RATE
    share = audio * operations(step.model, mean) / mean / peak
    memory, wait = _memory(device), row.get("data_wait")  # None: a log that does not say
    yield Case(model, kind, None, padded=True, audio_per_second=audio, of_peak=share,
               memory_gib=memory, data_wait=wait)  # fmt: skip


def _iteration(model: str, sizes: Sizes) -> IterationConfig:
    """Return a preset as it trains, but for so few updates and from random weights."""
    found, tiny = load_preset(MODELS[model]), sizes.tiny
    labels = LabelConfig(source="mfcc", clusters=10 if tiny else CLUSTERS, kmeans_iterations=2)
    config = replace(
        found.pretrain, max_update=sizes.trained, log_interval=max(1, sizes.trained // 4),
        save_interval_updates=10**9, tensorboard=False, init="random", num_workers=sizes.workers,
        compile=not tiny, max_seconds=4.0 if tiny else found.pretrain.max_seconds,
    )  # fmt: skip
    return replace(found, model=_config(model, sizes), labels=labels, pretrain=config, teacher=None)


def table(report: Report, sizes: Sizes) -> str:
    """Return the report in Markdown."""
    peers = {(each.model, each.batch): each for each in report.cases if each.kind == PEER}
    columns = (
        "model", "what", "batch", "audio-s/s", "of the peak", "peak memory, GiB", "data wait",
        "times transformers",
    )  # fmt: skip
    peak = f"peak {report.peak / 1e12:.3g} TFLOP/s ({report.peak_is})"
    lines = [
        f"{report.device}, torch {torch.__version__}, {peak}; {report.seconds:.0f} s in all.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for each in report.cases:
        batch = "its own, from files" if each.crops is None else f"{each.crops * sizes.crop:g} s"
        lengths = "many lengths" if each.padded else "one length"
        wait = "" if each.data_wait is None else f"{each.data_wait:.1%}"
        peer = peers.get((each.model, each.batch))
        times = f"{each.audio_per_second / peer.audio_per_second:.2f}" if peer else ""
        lines.append(
            f"| {each.model} | {each.kind} | {batch}, {lengths} | {each.audio_per_second:,.4g} "
            f"| {each.of_peak:.1%} | {each.memory_gib:.1f} | {wait} | {times} |"
        )
    lines += ["", *(f"Left out: {each}." for each in report.left_out)]
    return "\n".join(lines).rstrip() + "\n"


def measure(*, tiny: bool = False) -> Rows:
    """Yield H-L's rows beside transformers', for the table of all benchmarks."""
    cuda = torch.cuda.is_available()
    if not cuda and not tiny:
        print("gpu_step_hl is left out: there is no GPU here.", file=sys.stderr)
        return
    sizes = TINY if tiny else Sizes()
    report = run(torch.device("cuda" if cuda else "cpu"), sizes, minutes=4, models=("hl",))
    peers = {each.batch: each.audio_per_second for each in report.cases if each.kind == PEER}
    for each in report.cases:
        if each.kind in OURS and each.batch in peers:
            count, padded = each.batch
            name = f"gpu_step_hl_{(count or 0) * sizes.crop:g}s{'_padded' if padded else ''}"
            note = versus(
                f"step of H-L, {each.kind}, bf16-mixed, peak memory {each.memory_gib:.1f} GiB",
                "transformers",
            )
            yield higher_is_better(
                f"{name}{'_compiled' if each.kind == 'compiled' else ''}", each.audio_per_second,
                peers[each.batch], "audio s / s", note=note, limit=each.of_peak,
            )  # fmt: skip


def main() -> None:
    """Measure, print the table, write it and the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="what no longer fits is left out"
    )
    parser.add_argument("--models", nargs="*", choices=MODELS, default=[], help="default: all")
    parser.add_argument("--crop-seconds", type=float, help="of the longest crop")
    parser.add_argument("--workers", type=int, help="processes that read audio for the trainer")
    parser.add_argument("--tiny", action="store_true", help="sizes that try the code")
    parser.add_argument("--out", type=Path, default=Path("build/gpu_step.json"))
    given = parser.parse_args()
    changes = {"crop": given.crop_seconds, "workers": given.workers}
    sizes = replace(
        TINY if given.tiny else Sizes(), **{k: v for k, v in changes.items() if v is not None}
    )
    device = torch.device(given.device)
    report = run(device, sizes, minutes=given.minutes, models=tuple(given.models))
    made = table(report, sizes)
    write_json(given.out, asdict(report) | {"sizes": asdict(sizes), "torch": torch.__version__})
    write_text(given.out.with_suffix(".md"), made)
    print(f"{made}\nWritten: {given.out} and {given.out.with_suffix('.md')}")


if __name__ == "__main__":
    main()
