"""A probe on a frozen model: s3prl's command line as it is, against ours, its cache cold and warm.

And a grid of heads in one process against a process for each head, as one types them. All is
counted as a user waits for it: whole processes, from the command line to the last file.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import s3prl_stock
from benchmarks.measure import TINY_MODEL, Row, Rows, lower_is_better, versus
from harness_bench.core.files import digest_file, read_jsonl
from harness_bench.core.log import cpu_seconds, say
from harness_bench.corpora.prepare import prepare
from harness_bench.demo.plan import DemoCorpusConfig, SplitSizes
from harness_bench.demo.synth import make_demo_task
from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.features.config import DISK_MB, DTYPE, FOLDER, MEMORY_MB
from harness_bench.models.hubert import Hubert, HubertConfig
from harness_bench.pretrain.config import load_preset
from harness_bench.probing.grid import grid_config, run_grid
from harness_bench.probing.probe import Subject, one_process, own_processes
from harness_bench.probing.s3prl.arguments import packaged_config

PEER = "espnet-s3prl"
TASK, BATCH = s3prl_stock.TASK, 4  # the task's own batch size
RATES, GRID = (5e-3, 2e-3, 1e-3), Path(__file__).parents[1] / "egs/demo/heads1/conf/probe.toml"
OURS = ("harness_bench.run_downstream", "harness_local")
STOCK = ("benchmarks.s3prl_stock", s3prl_stock.UPSTREAM)
RESULTS = ("metrics.jsonl", "predictions.dev.jsonl")
# Hidden states differ by rounding, as s3prl pads and we do not: by 1e-6 at first. Training adds to
# it, the faster the higher its rate (at 1e-3: 0.1 % of the loss after 50 steps).
LEARNING_RATE, SAME_LOSS = 1e-4, 1e-3


@dataclass(frozen=True)
class Size:
    """How much is trained on what."""

    utterances: SplitSizes
    epochs: int
    model: HubertConfig
    heads: int  # of the grid: three learning rates, and so many seeds of the best
    steps: int  # of each head of the grid


@dataclass(frozen=True)
class Run:
    """What one command took and left."""

    wall: float
    cpu: float
    folder: Path


class Bench:
    """The corpus and the checkpoint, and how a probe on them is run."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder, self.size, self.checkpoint = folder, size, folder / "model"
        corpus = DemoCorpusConfig(ser=size.utterances, speakers_per_voice=1)
        make_demo_task(folder / "audio", TASK, corpus)
        prepare("tsv", folder / "audio", folder / "cuts")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            save_checkpoint(self.checkpoint, Hubert(size.model))

    def run(self, name: str, command: Sequence[str], *, steps: int | None = None) -> Run:
        """Train a probe in a process of its own, by a module and with an upstream.

        Args:
            name: of its folder.
            command: the module that is run, and the upstream.
            steps: None: all epochs, dev tested four times; else so many, and nothing tested.
        """
        module, upstream = command
        out = self.folder / name
        arguments = ["-m", "train", "-u", upstream, "-k", str(self.checkpoint), "-d", TASK]
        arguments += ["-c", str(packaged_config(TASK)), "-p", str(out), "--device", "cpu"]
        arguments += ["-o", self._overrides(steps)]
        hidden = (FOLDER, MEMORY_MB, DISK_MB, DTYPE)
        clean = {key: value for key, value in os.environ.items() if key not in hidden}
        start, cpu = time.perf_counter(), cpu_seconds()
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=clean | {FOLDER: str(self.folder / "features"), "HF_HUB_OFFLINE": "1"},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
        taken = Run(time.perf_counter() - start, cpu_seconds() - cpu, out)
        say(f"{name}: {taken.wall:.1f} s ({taken.cpu:.1f} CPU-s)")
        return taken

    def _overrides(self, steps: int | None) -> str:
        """Return what `-o` says."""
        epoch, never = math.ceil(self.size.utterances.train / BATCH), 10**9
        total = self.size.epochs * epoch
        values = {
            "runner.total_steps": total if steps is None else steps,
            "runner.eval_step": never if steps else max(1, total // 4),
            "runner.log_step": never if steps else epoch,
            "runner.save_step": never,
            "optimizer.lr": LEARNING_RATE,
            "downstream_expert.datarc.cuts": self.folder / "cuts",
        }
        return ",,".join(f"config.{key}={value}" for key, value in values.items())


def measure(*, tiny: bool = False) -> Rows:
    """Yield CPU seconds of whole commands; the wall's are in the notes.

    Raises:
        RuntimeError: a command failed, or results differ: to the bit between cold and warm, by
            more than rounding from s3prl's.
    """
    if tiny:
        size = Size(
            SplitSizes(train=6, dev=6, test=6), epochs=2, model=TINY_MODEL, heads=4, steps=2
        )
    else:  # HArnESS-S on 40 s of speech: two minutes of one core for s3prl
        sizes = SplitSizes(train=18, dev=6, test=6)
        size = Size(sizes, 12, load_preset("harness_s").model, heads=9, steps=100)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), size)
        cold = bench.run("cold", OURS)
        warm = bench.run("warm", OURS)
        stock = bench.run("stock", STOCK)
        require_equal_bits(cold.folder, warm.folder)
        require_equal_results(cold.folder, stock.folder)
        first, peer_first = (
            bench.run(f"one step of {command[0]}", command, steps=1) for command in (OURS, STOCK)
        )
        yield _grid(bench)
    what = (
        f"{size.epochs} epochs of {size.utterances.train} utterances, dev tested 4 times, "
        f"{size.model.encoder_layers} layers of {size.model.encoder_embed_dim}"
    )
    yield _row("probe_warm_vs_s3prl", warm, stock, f"{what}, features on disk")
    yield _row("probe_total_vs_s3prl", cold, stock, f"{what}, empty cache")
    yield _row("probe_startup_vs_s3prl", first, peer_first, "one step, features on disk")


def _grid(bench: Bench) -> Row:
    """Compare a grid on FBANK in one process with the same in a process for each command."""
    heads, steps = bench.size.heads, bench.size.steps
    config = grid_config(
        GRID, learning_rates=RATES, seeds=range(heads - len(RATES) + 1), steps=steps
    )
    subject = Subject(
        upstream="fbank_cached", checkpoint=None, task=TASK, cuts=bench.folder / "cuts"
    )
    taken, found = [], []
    for number, process in enumerate((one_process, own_processes)):
        start, out = cpu_seconds(), bench.folder / f"grid{number}"
        run_grid(subject, out, config, process=process)
        taken.append(cpu_seconds() - start)
        found.append(
            {path.relative_to(out): digest_file(path) for path in out.rglob("pred*.jsonl")}
        )
    if found[0] != found[1] or not found[0]:
        raise RuntimeError(f"Heads of one process differ from those of their own: {found}.")
    what = f"{heads} heads of {steps} steps of batch {config.probe.batch_size} on FBANK"
    note = versus(f"{what}, in one process against a process for each command", PEER)
    return lower_is_better("head_grid_vs_today", taken[0], taken[1], "CPU s", note=note)


def _row(name: str, ours: Run, peer: Run, what: str) -> Row:
    note = versus(f"{what}; wall {ours.wall:.1f} against {peer.wall:.1f} s", PEER)
    return lower_is_better(name, ours.cpu, peer.cpu, "CPU s", note=note)


def require_equal_bits(one: Path, other: Path) -> None:
    """Raise `RuntimeError` unless two runs of ours left the same losses and probabilities."""
    for name in RESULTS:
        if digest_file(one / name) != digest_file(other / name):
            raise RuntimeError(f"{one / name} and {other / name} differ.")


def require_equal_results(ours: Path, stock: Path) -> None:
    """Raise `RuntimeError` unless all measures of two runs are equal but for rounding."""
    rows = [list(read_jsonl(folder / RESULTS[0])) for folder in (ours, stock)]
    if len(rows[0]) != len(rows[1]) or not rows[0]:
        raise RuntimeError(f"{ours} has {len(rows[0])} rows of measures, {stock} {len(rows[1])}.")
    for row, peer in zip(*rows, strict=True):
        if row.keys() != peer.keys() or any(not _close(row[key], peer[key]) for key in row):
            raise RuntimeError(f"{ours} gives {row}, {stock} {peer}.")


def _close(one: float | str, other: float | str) -> bool:
    """Tell whether two measures are the same: a loss but for rounding, all others exactly."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=SAME_LOSS)
    return one == other
