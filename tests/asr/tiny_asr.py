"""Speech of tones, whose every letter's place is known, and ASR models trained on it in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from harness_bench.asr.espnet.register import register

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

LETTERS = {"ا": 400.0, "ب": 900.0, "ت": 1700.0, "ث": 3000.0}  # Hz
TOKENS = ["<blank>", "<unk>", "<space>", *LETTERS, "<sos/eos>"]
LETTER, PAUSE, EDGE = 0.16, 0.24, 0.12  # seconds
_ENCODER = [
    "--encoder", "transformer", "--encoder_conf", "output_size=32", "--encoder_conf",
    "attention_heads=2", "--encoder_conf", "linear_units=64", "--encoder_conf", "num_blocks=1",
    "--encoder_conf", "dropout_rate=0", "--encoder_conf", "positional_dropout_rate=0",
]  # fmt: skip
_DECODER = [
    "--decoder", "transformer", "--decoder_conf", "attention_heads=2", "--decoder_conf",
    "linear_units=64", "--decoder_conf", "num_blocks=1", "--decoder_conf", "dropout_rate=0",
    "--decoder_conf", "positional_dropout_rate=0", "--model_conf", "ctc_weight=0.6",
]  # fmt: skip


def random_text(rng: np.random.Generator, words: int) -> str:
    """Return words of two letters each."""
    return " ".join("".join(rng.permutation([*LETTERS])[:2]) for _ in range(words))


def speech(text: str, rng: np.random.Generator) -> tuple[NDArray[np.float32], list[float]]:
    """Return the sound of a text at 16 kHz, and when each word begins in it, in seconds.

    A letter is a tone of 0.16 s, a space 0.24 s of faint noise; half as much stands at both ends.
    """
    starts: list[float] = []
    parts, now = [np.zeros(int(16_000 * EDGE))], EDGE
    for word in text.split():
        if starts:
            parts.append(np.zeros(int(16_000 * PAUSE)))
            now += PAUSE
        starts.append(now)
        for letter in word:
            seconds = np.arange(int(16_000 * LETTER)) / 16_000
            parts.append(0.3 * np.sin(2 * np.pi * LETTERS[letter] * seconds))
            now += LETTER
    wave = np.concatenate([*parts, np.zeros(int(16_000 * EDGE))])
    return (wave + 0.002 * rng.standard_normal(len(wave))).astype(np.float32), starts


def train(folder: Path, *, checkpoint: Path | None = None, steps: int) -> None:
    """Train a character model on FBANK or a checkpoint, and save it as ESPnet does."""
    from espnet2.tasks.asr import ASRTask  # noqa: PLC0415 - takes 10 s

    register()
    frontend = [
        "--frontend",
        "default",
        "--frontend_conf",
        "fs=16k",
        "--frontend_conf",
        "n_fft=512",
    ]
    frontend += ["--frontend_conf", "win_length=400", "--frontend_conf", "hop_length=160"]
    frontend += ["--frontend_conf", "n_mels=20", "--encoder_conf", "input_layer=conv2d"]
    if checkpoint is not None:
        frontend = ["--frontend", "harness", "--frontend_conf", f"checkpoint={checkpoint}"]
        frontend += ["--encoder_conf", "input_layer=linear"]
    folder.mkdir(parents=True)
    (folder / "tokens.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    options = [
        "--output_dir", str(folder), "--token_list", str(folder / "tokens.txt"), "--token_type",
        "char", "--normalize", "utterance_mvn", *frontend, *_ENCODER, *_DECODER,
    ]  # fmt: skip
    args = ASRTask.get_parser().parse_args(options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ASRTask.build_model(args).train()
        _fit(model, steps)
    with (folder / "config.yaml").open("w", encoding="utf-8") as stream:
        yaml.safe_dump(vars(args), stream, allow_unicode=True)
    torch.save(model.state_dict(), folder / "valid.acc.ave.pth")


def _fit(model: Any, steps: int) -> None:
    rng = np.random.default_rng(0)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=4e-3)
    for step in range(steps):
        texts = [random_text(rng, int(rng.integers(1, 5))) for _ in range(12)]
        waves = [torch.from_numpy(speech(text, rng)[0]) for text in texts]
        codes = [[TOKENS.index("<space>" if c == " " else c) for c in text] for text in texts]
        loss, *_ = model(
            _padded(waves, 0), torch.tensor([len(wave) for wave in waves]),
            _padded([*map(torch.tensor, codes)], -1), torch.tensor([len(code) for code in codes]),
        )  # fmt: skip
        for group in optimiser.param_groups:
            group["lr"] = 5e-3 * min(1, (step + 1) / 20, (steps - step) / 50)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()


def _padded(rows: list[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
