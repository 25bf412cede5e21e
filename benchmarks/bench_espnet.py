"""ESPnet with our frontend: what part of a training step it takes, and how fast decoding is.

HArnESS-ST (4 layers of 512) under the recipe's ASR model. All weights are random: speed does not
ask what they are, but an untrained decoder does not know where to end, so lengths are given to it.
"""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.measure import (
    TINY_MODEL,
    higher_is_better,
    in_turn,
    lower_is_better,
    matmul_peak,
    versus,
)
from harness_bench.models.checkpoint import save_random
from harness_bench.models.size import forward_per_second
from harness_bench.pretrain.config import load_preset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from benchmarks.measure import Row

PEER, UNIT = "espnet", "audio s / core-s"
BEAMS = (1, 4, 10)
COUNT, SECONDS = 4, 3.0  # utterances and their length
ONLINE, CACHED, STOCK, FBANK = "online", "cached", "huggingface", "default"


class Bench:
    """The models with each frontend, and the batch."""

    def __init__(self, folder: Path, *, tiny: bool) -> None:
        from benchmarks import espnet_asr  # noqa: PLC0415 - ESPnet takes long to import

        self.asr, self.tiny = espnet_asr, tiny
        self.seconds = 1.0 if tiny else SECONDS
        self.audio = COUNT * self.seconds
        self.model = TINY_MODEL if tiny else load_preset("harness_st").model
        save_random(folder / "model", self.model, seed=0)
        fbank = {"fs": "16k", "n_fft": 512, "win_length": 400, "hop_length": 160}
        settings: dict[str, dict[str, object]] = {
            "harness": {"checkpoint": folder / "model", "layers": "mean"},
            STOCK: {"model": folder / "model"},
            FBANK: dict(fbank),
        }
        self.configs = {
            name: espnet_asr.build(folder, name, values, tiny=tiny)
            for name, values in settings.items()
        }
        self.batch = espnet_asr.noise_batch(COUNT, self.seconds)

    def steps(self) -> dict[str, Any]:
        """Return one `espnet_asr.Step` for each frontend, and one on ready features."""
        ours, make = self.configs["harness"], self.asr.Step
        made = {
            ONLINE: make(ours, dict(self.batch)),
            STOCK: make(self.configs[STOCK], dict(self.batch), frozen=True),
            FBANK: make(self.configs[FBANK], dict(self.batch)),
        }
        with torch.no_grad():
            frontend = made[ONLINE].model.frontend
            features, frames = frontend(self.batch["speech"], self.batch["speech_lengths"])
        require_equal_features(frontend, made[STOCK].model.frontend, self.batch)
        ready = self.batch | {"speech": features, "speech_lengths": frames}
        return made | {CACHED: make(ours, ready)}


def measure(*, tiny: bool = False) -> Iterator[Row]:
    """Yield rows of training steps, then of decoding; CPU seconds of one thread.

    Raises:
        RuntimeError: frontends or losses differ by more than rounding, so times do not compare.
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), tiny=tiny)
        yield from _training(bench)
        yield from _decoding(bench)


def _training(bench: Bench) -> Iterator[Row]:
    """Time updates by turns; the first of each is not measured."""
    steps, rounds = bench.steps(), 1 if bench.tiny else 2
    for step in steps.values():
        step()
    turns = [{name: step() for name, step in steps.items()} for _ in range(rounds)]
    whole, part = (
        {name: statistics.median(turn[name][kind] for turn in turns) for name in steps}
        for kind in (0, 1)
    )
    losses = {name: turns[0][name][2] for name in (ONLINE, CACHED)}
    if not math.isclose(losses[ONLINE], losses[CACHED], rel_tol=1e-4):
        raise RuntimeError(f"The losses differ, online and on ready features: {losses}.")
    what = f"update on {COUNT} x {bench.seconds:g} s, fp32, one thread"
    frozen = "frozen by --freeze_param, though transformers lets gradients flow through it"
    about = {
        STOCK: f"frontend huggingface on the same checkpoint, {frozen}",
        FBANK: "80 FBANK bins in frames of 40 ms, where ours are 20 ms",
    }
    for name, peer in itertools.product((ONLINE, CACHED), (STOCK, FBANK)):
        yield higher_is_better(
            f"espnet_step_{name}_vs_{'fbank' if peer is FBANK else peer}",
            bench.audio / whole[name], bench.audio / whole[peer], UNIT,
            note=versus(f"{what}, frontend {name}; against {about[peer]}", PEER),
        )  # fmt: skip
    yield _share(whole, part)
    yield _frontend(bench, part)


def _share(whole: dict[str, float], part: dict[str, float]) -> Row:
    """Compare the frontend's share of an update on ready features and online."""
    forward = ", ".join(f"{name} {part[name] / whole[name]:.1%}" for name in whole)
    added = ", ".join(f"{name} {1 - whole[CACHED] / whole[name]:.0%}" for name in (ONLINE, STOCK))
    note = (
        f"the frontend's forward pass as a share of an update, {CACHED} against {ONLINE}; all: "
        f"{forward}; of the update as it is, ready features would save: {added}; they are in "
        "memory, their reading from disk is not counted"
    )
    cached, online = (part[name] / whole[name] for name in (CACHED, ONLINE))
    row = f"espnet_frontend_share_{CACHED}_vs_{ONLINE}"
    return lower_is_better(row, cached, online, "of a step", note=versus(note, PEER))


def _frontend(bench: Bench, part: dict[str, float]) -> Row:
    """Compare the frontends' forward passes alone, with what the machine can do."""
    peak = matmul_peak(torch.float32, tiny=bench.tiny)
    work = forward_per_second(bench.model, utterance_seconds=bench.seconds)
    note = (
        f"forward pass of the frontend, mean of all layers against the last; {work / 1e9:.3g} "
        f"GFLOP per audio second, one core does {peak / 1e9:.3g} GFLOP/s, so at best "
        f"{peak / work:.3g} {UNIT}"
    )
    return higher_is_better(
        f"espnet_frontend_vs_{STOCK}", bench.audio / part[ONLINE], bench.audio / part[STOCK], UNIT,
        note=versus(note, PEER), limit=work * bench.audio / part[ONLINE] / peak,
    )  # fmt: skip


def _decoding(bench: Bench) -> Iterator[Row]:
    """Time frontend and encoder once, then the search for each beam."""
    config, batch = bench.configs["harness"], bench.batch
    model = bench.asr.Step(config, batch).model.eval()
    rows = [{name: value[n : n + 1] for name, value in batch.items()} for n in range(COUNT)]
    encodings = in_turn(
        partial(bench.asr.encode, model, batch),
        lambda: [bench.asr.encode(model, row) for row in rows],
        repeats=1,
    )
    encoded = bench.asr.encode(model, batch)
    for beam in BEAMS:
        decoder = bench.asr.Decoder(config, beam, encoded)
        together, tokens = timed(decoder.together)
        alone, others = timed(decoder.one_by_one)
        if tokens != others:
            raise RuntimeError(f"Beam {beam}: {tokens} tokens together, {others} one by one.")
        ours, peer = together + encodings[0], alone + encodings[1]
        note = (
            f"{COUNT} x {bench.seconds:g} s of noise, {tokens} tokens, untrained model, joint "
            f"CTC/attention search of {COUNT} utterances at once against ESPnet's default, one by "
            f"one; real-time factor {ours / bench.audio:.3g} against {peer / bench.audio:.3g}, "
            f"{tokens / ours:.3g} against {tokens / peer:.3g} tokens a core-second, "
            f"{encodings[0] / ours:.0%} and {encodings[1] / peer:.0%} of it frontend and encoder"
        )
        yield higher_is_better(
            f"espnet_decode_beam{beam}_batch_vs_single", bench.audio / ours, bench.audio / peer,
            UNIT, note=versus(note, PEER),
        )  # fmt: skip


def timed(decode: Callable[[], list[list[int]]]) -> tuple[float, int]:
    """Return a decoding's CPU seconds and the number of its tokens."""
    start = time.process_time()
    found = decode()
    return time.process_time() - start, sum(map(len, found))


@torch.no_grad()
def require_equal_features(frontend: Any, stock: Any, batch: dict[str, Tensor]) -> None:
    """Both frontends must hold the same model, or their times do not compare.

    Raises:
        RuntimeError: the last hidden states differ by more than rounding.
    """
    hubert = frontend.upstream.model().hubert
    last = hubert(batch["speech"], batch["speech_lengths"]).hidden_states[-1]
    ours = hubert.encoder.layer_norm(last)
    peer, _ = stock.eval()(batch["speech"], batch["speech_lengths"])
    stock.train()
    if ours.shape != peer.shape or not torch.allclose(ours, peer, atol=1e-3, rtol=1e-3):
        raise RuntimeError(f"The features of {STOCK} {tuple(peer.shape)} are not ours.")
