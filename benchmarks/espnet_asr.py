"""Training steps and decoding of the recipe's ASR model by ESPnet, with one frontend or another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from espnet2.bin.asr_inference import Speech2Text
from espnet2.tasks.asr import ASRTask
from torch import Tensor, nn
from transformers.utils import logging

from harness_bench.asr.espnet.register import register
from harness_bench.audio.frames import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

CONF = Path(__file__).parent.parent / "egs" / "qasr" / "asr1" / "conf"
VOCABULARY = 1000  # of sentencepiece units, as the recipe's
TOKENS_PER_SECOND = 5  # of such units in speech; an untrained model would not know where to end
TINY = (
    "encoder_conf", {"output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 1},
    "decoder_conf", {"attention_heads": 2, "linear_units": 16, "num_blocks": 1},
)  # fmt: skip


def build(folder: Path, frontend: str, settings: dict[str, object], *, tiny: bool) -> Path:
    """Let ESPnet write the config of the recipe's model with a frontend; return its path.

    Args:
        folder: gets the config in a folder of the frontend's name.
        frontend: ESPnet's name of it.
        settings: its options.
        tiny: sizes that try the code.
    """
    register()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokens = folder / "tokens.txt"
    if not tokens.exists():
        words = ["<blank>", "<unk>", *(f"t{n}" for n in range(VOCABULARY - 3)), "<sos/eos>"]
        tokens.write_text("\n".join(words) + "\n", encoding="utf-8")
    out = folder / frontend
    input_layer = "conv2d" if frontend == "default" else "linear"
    options: list[tuple[str, object]] = [("encoder_conf", f"input_layer={input_layer}")]
    options += [("frontend_conf", f"{name}={value}") for name, value in settings.items()]
    if tiny:
        for name, values in zip(TINY[::2], TINY[1::2], strict=True):
            assert isinstance(values, dict)
            options += [(str(name), f"{key}={value}") for key, value in values.items()]
    words = [word for name, value in options for word in (f"--{name}", str(value))]
    ASRTask.main(
        cmd=[
            "--config", str(CONF / "train_asr.yaml"), "--frontend", frontend, *words,
            "--token_type", "char", "--token_list", str(tokens), "--dry_run", "true",
            "--output_dir", str(out), "--log_level", "ERROR", "--ngpu", "0",
        ]
    )  # fmt: skip
    return out / "config.yaml"


def noise_batch(count: int, seconds: float) -> dict[str, Tensor]:
    """Make `count` utterances of noise with random texts, as ESPnet's model takes them."""
    generator = torch.Generator().manual_seed(0)
    samples, tokens = int(seconds * SAMPLE_RATE), max(1, int(seconds * TOKENS_PER_SECOND))
    return {
        "speech": 0.1 * torch.randn(count, samples, generator=generator),
        "speech_lengths": torch.full((count,), samples),
        "text": torch.randint(2, VOCABULARY - 1, (count, tokens), generator=generator),
        "text_lengths": torch.full((count,), tokens),
    }


class Step:
    """One model's update on one batch, and what part of it the frontend took.

    Args:
        config: of `build`.
        batch: of `noise_batch`, or with ready features as speech.
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

    Args:
        config: of `build`.
        beam: hypotheses kept.
        encoded: what `encode` gave for a batch.
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
    def together(self) -> list[list[int]]:
        """Decode all utterances in one search; return the best tokens of each."""
        found = self.search(x=self.encoded[0], x_lengths=self.encoded[1], **self.bounds)
        return [_best(hypotheses) for hypotheses in found]

    @torch.no_grad()
    def one_by_one(self) -> list[list[int]]:
        """Decode one utterance after the other; return the best tokens of each."""
        rows = zip(*self.encoded, strict=True)
        return [_best(self.search(x=row[:count], **self.bounds)) for row, count in rows]


def _best(hypotheses: Sequence[Any]) -> list[int]:
    tokens: list[int] = hypotheses[0].yseq.tolist()
    return tokens[1:-1]


@torch.no_grad()
def encode(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Run frontend and encoder on a batch: (B, F, D) and frames (B,)."""
    encoded, frames = model.encode(batch["speech"], batch["speech_lengths"])
    return encoded, frames
