"""ESPnet with our frontend: what part of a training step it takes, and how fast decoding is.

HArnESS-ST (4 layers of 512) under the recipe's ASR model. All weights are random: speed does not
ask what they are, but an untrained decoder does not know where to end, so lengths are given to it.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from espnet2.bin.asr_inference import Speech2Text
from espnet2.tasks.asr import ASRTask
from torch import Tensor, nn
from transformers.utils import logging

from benchmarks.measure import (
    TINY_MODEL,
    Row,
    Rows,
    higher_is_better,
    in_turn,
    lower_is_better,
    matmul_peak,
    require_equal_losses,
    timed,
    versus,
)
from harness_bench.asr.espnet.register import register
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.checkpoint import save_random
from harness_bench.models.config import forward_per_second
from harness_bench.pretrain.config import load_preset

if TYPE_CHECKING:
    from collections.abc import Sequence


PEER, UNIT = "espnet", "audio s / core-s"
CONF = Path(__file__).parent.parent / "egs" / "qasr" / "asr1" / "conf"
BEAMS = (1, 4, 10)
COUNT, SECONDS = 4, 3.0  # utterances and their length
ONLINE, CACHED, STOCK, FBANK = "online", "cached", "huggingface", "default"
VOCABULARY = 1000  # of sentencepiece units, as the recipe's
TOKENS_PER_SECOND = 5  # of such units in speech; an untrained model would not know where to end
TINY: dict[str, dict[str, object]] = {
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 1
    },
    "decoder_conf": {"attention_heads": 2, "linear_units": 16, "num_blocks": 1},
}  # fmt: skip


class Bench:
    """The models with each frontend, and a batch of noise with random texts."""

    def __init__(self, folder: Path, *, tiny: bool) -> None:
        self.folder, self.tiny = folder, tiny
        self.seconds = 1.0 if tiny else SECONDS
        self.audio = COUNT * self.seconds
        self.model = TINY_MODEL if tiny else load_preset("harness_st").model
        save_random(folder / "model", self.model, seed=0)
        register()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        words = ["<blank>", "<unk>", *(f"t{n}" for n in range(VOCABULARY - 3)), "<sos/eos>"]
        (folder / "tokens.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
        generator = torch.Generator().manual_seed(0)
        samples = int(self.seconds * SAMPLE_RATE)
        tokens = max(1, int(self.seconds * TOKENS_PER_SECOND))
        self.batch = {
            "speech": 0.1 * torch.randn(COUNT, samples, generator=generator),
            "speech_lengths": torch.full((COUNT,), samples),
            "text": torch.randint(2, VOCABULARY - 1, (COUNT, tokens), generator=generator),
            "text_lengths": torch.full((COUNT,), tokens),
        }
        self.harness = self.config("harness", checkpoint=folder / "model", layers="mean")

    def config(self, frontend: str, **settings: object) -> Path:
        """Let ESPnet write the config of the recipe's model with a frontend; return its path."""
        out = self.folder / frontend
        layer = "conv2d" if frontend == FBANK else "linear"
        options: dict[str, dict[str, object]] = {
            "encoder_conf": {"input_layer": layer},
            "frontend_conf": settings,
        }
        words = [
            word
            for part in (options, TINY if self.tiny else {})
            for name, values in part.items()
            for key, value in values.items()
            for word in (f"--{name}", f"{key}={value}")
        ]
        ASRTask.main(
            cmd=[
                "--config", str(CONF / "train_asr.yaml"), "--frontend", frontend, *words,
                "--token_type", "char", "--token_list", str(self.folder / "tokens.txt"),
                "--dry_run", "true", "--output_dir", str(out), "--log_level", "ERROR",
                "--ngpu", "0",
            ]
        )  # fmt: skip
        return out / "config.yaml"

    def steps(self) -> dict[str, Step]:
        """Return the step of each frontend, and ours on ready features."""
        stock = self.config(STOCK, model=self.folder / "model")
        fbank = self.config(FBANK, fs="16k", n_fft=512, win_length=400, hop_length=160)
        made = {
            ONLINE: Step(self.harness, dict(self.batch)),
            STOCK: Step(stock, dict(self.batch), frozen=True),
            FBANK: Step(fbank, dict(self.batch)),
        }
        with torch.no_grad():
            frontend = made[ONLINE].model.frontend
            features, frames = frontend(self.batch["speech"], self.batch["speech_lengths"])
        require_equal_features(frontend, made[STOCK].model.frontend, self.batch)
        ready = self.batch | {"speech": features, "speech_lengths": frames}
        return made | {CACHED: Step(self.harness, ready)}


def measure(*, tiny: bool = False) -> Rows:
    """Yield rows of training steps, then of decoding; CPU seconds of one thread.

    Raises:
        RuntimeError, ValueError: frontends or losses differ by more than rounding, so times do not
            compare.
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), tiny=tiny)
        yield from _training(bench)
        yield from _decoding(bench)


def _training(bench: Bench) -> Rows:
    """Time updates by turns; the first of each is not measured."""
    steps, rounds = bench.steps(), 1 if bench.tiny else 2
    for step in steps.values():
        step()
    turns = [{name: step() for name, step in steps.items()} for _ in range(rounds)]
    whole, part = (
        {name: statistics.median(turn[name][kind] for turn in turns) for name in steps}
        for kind in (0, 1)
    )
    require_equal_losses(turns[0][ONLINE][2], turns[0][CACHED][2], 1e-4)
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


def _decoding(bench: Bench) -> Rows:
    """Time frontend and encoder once, then the search for each beam."""
    batch = bench.batch
    model = Step(bench.harness, batch).model.eval()
    rows = [{name: value[n : n + 1] for name, value in batch.items()} for n in range(COUNT)]
    encodings = in_turn(
        partial(encode, model, batch),
        lambda: [encode(model, row) for row in rows],
        repeats=1,
    )
    encoded = encode(model, batch)
    for beam in BEAMS:
        decoder = Decoder(bench.harness, beam, encoded)
        (tokens, together), (others, alone) = timed(decoder.together), timed(decoder.one_by_one)
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


class Step:
    """One model's update on one batch, and what part of it the frontend took.

    Args:
        config: of `Bench.config`.
        batch: of `Bench`, or with ready features as speech.
        frozen: keep the frontend's parameters as they are, as `--freeze_param frontend` does.
    """

    def __init__(self, config: Path, batch: dict[str, Tensor], *, frozen: bool = False) -> None:
        torch.manual_seed(0)
        self.model: Any = ASRTask.build_model_from_file(config)[0].train()
        if frozen:
            self.model.frontend.requires_grad_(requires_grad=False)
        self.batch, self.frontend_seconds = batch, 0.0
        trained = [value for value in self.model.parameters() if value.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=1e-6)
        self.model.frontend.register_forward_pre_hook(self._start)
        self.model.frontend.register_forward_hook(self._stop)

    def _start(self, *_: object) -> None:
        self.frontend_seconds = -time.process_time()

    def _stop(self, *_: object) -> None:
        self.frontend_seconds += time.process_time()

    def __call__(self) -> tuple[float, float, float]:
        """Make an update; return its CPU seconds, the frontend's among them, and the loss."""
        torch.manual_seed(1)  # the same dropout, so that losses compare
        start = time.process_time()
        self.optimizer.zero_grad()
        loss = self.model(**self.batch)[0]
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        return time.process_time() - start, self.frontend_seconds, float(loss.detach())


class Decoder:
    """ESPnet's beam search for an untrained model on ready encodings.

    It takes the config of `Bench.config`, the number of hypotheses kept and what `encode` gave.
    """

    def __init__(self, config: Path, beam: int, encoded: tuple[Tensor, Tensor]) -> None:
        torch.manual_seed(0)
        frames = int(encoded[1].max())
        rate = TOKENS_PER_SECOND * 0.02  # a frame is 20 ms
        bounds = {"maxlenratio": rate, "minlenratio": rate if int(rate * frames) > 1 else 0.0}
        self.search: Any = Speech2Text(
            config, beam_size=beam, batch_size=2, ctc_weight=0.3, ctc_window_margin=0, **bounds
        ).beam_search
        self.encoded, self.bounds = encoded, bounds

    @torch.no_grad()
    def together(self) -> int:
        """Decode all utterances in one search; return the number of tokens of the best texts."""
        found = self.search(x=self.encoded[0], x_lengths=self.encoded[1], **self.bounds)
        return sum(map(_tokens, found))

    @torch.no_grad()
    def one_by_one(self) -> int:
        """Decode one utterance after the other; return the number of tokens of the best texts."""
        rows = zip(*self.encoded, strict=True)
        return sum(_tokens(self.search(x=row[:count], **self.bounds)) for row, count in rows)


def _tokens(hypotheses: Sequence[Any]) -> int:
    return len(hypotheses[0].yseq) - 2  # but for the ends


@torch.no_grad()
def encode(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Run frontend and encoder on a batch: (B, F, D) and frames (B,)."""
    encoded, frames = model.encode(batch["speech"], batch["speech_lengths"])
    return encoded, frames
