"""Speech of tones, whose every letter's place is known, and ASR models trained on it in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from harness_bench.asr.config import words_of
from harness_bench.asr.espnet.register import register

LETTERS = {"ا": 400.0, "ب": 900.0, "ت": 1700.0, "ث": 3000.0}  # Hz
TOKENS = ["<blank>", "<unk>", "<space>", *LETTERS, "<sos/eos>"]
LETTER, PAUSE, EDGE = 0.16, 0.24, 0.12  # seconds
_SMALL: dict[str, object] = {
    "attention_heads": 2, "linear_units": 64, "num_blocks": 1, "dropout_rate": 0,
    "positional_dropout_rate": 0,
}  # fmt: skip
_FBANK = {"fs": "16k", "n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 20}


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
    folder.mkdir(parents=True)
    (folder / "tokens.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    options = words_of(
        output_dir=folder, token_list=folder / "tokens.txt", token_type="char",  # noqa: S106
        normalize="utterance_mvn", encoder="transformer", decoder="transformer",
        frontend="harness" if checkpoint else "default",
    )  # fmt: skip
    encoder = _SMALL | {"output_size": 32, "input_layer": "linear" if checkpoint else "conv2d"}
    frontend = {"checkpoint": checkpoint} if checkpoint else _FBANK
    options += ["--model_conf", "ctc_weight=0.6"]
    for part, conf in {"frontend": frontend, "encoder": encoder, "decoder": _SMALL}.items():
        options += words_of(**{f"{part}_conf": [f"{name}={value}" for name, value in conf.items()]})
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
        tokens = [[TOKENS.index("<space>" if c == " " else c) for c in text] for text in texts]
        codes = [torch.tensor(each) for each in tokens]
        loss, *_ = model(
            pad_sequence(waves, batch_first=True), torch.tensor([*map(len, waves)]),
            pad_sequence(codes, batch_first=True, padding_value=-1),
            torch.tensor([*map(len, codes)]),
        )  # fmt: skip
        for group in optimiser.param_groups:
            group["lr"] = 5e-3 * min(1, (step + 1) / 20, (steps - step) / 50)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
