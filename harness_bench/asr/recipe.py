"""One ASR run, from cuts to predictions, as one call: what the demo and the CLI use."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

import harness_bench
from harness_bench.asr.score import layer_weights
from harness_bench.core.config import STRICT, build, resolved
from harness_bench.core.files import digest_file, digest_strings, read_json, write_json, write_text
from harness_bench.core.process import run_logged
from harness_bench.core.workdir import write_provenance
from harness_bench.cuts.store import cuts_path

if TYPE_CHECKING:
    from collections.abc import Iterator

FBANK = "fbank"
LOG, OUTCOME = "log.txt", "outcome.json"
_PREDICTIONS_STAGE = 13  # the next one packs the model
_MODEL = "valid.acc.ave.pth"  # decoded with: the mean of the best epochs
# What run.sh writes below a run's folder; nothing else there is ever removed.
_PRODUCTS = ("data", "dump", "token_list", "stats", "features", "asr", "decode")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AsrConfig:
    """Settings of one ASR run; names are those of run.sh's options.

    Attributes:
        recipe: folder that holds run.sh and conf/; relative ones start at the repository root.
        asr_config: training config, relative to the recipe.
        inference_config: decoding config, relative to the recipe.
        train_set: split to train on.
        valid_set: split that chooses the best epochs.
        test_sets: splits to decode.
        layers: hidden states of the upstream: weighted, mean or a number.
        ssl_input_layer: the encoder's input layer for a checkpoint: frames of 20 or 40 ms.
        ssl_preencoder_dim: width of a linear layer before it, 0 for none.
        cache_mb: memory for hidden states of utterances seen before.
        text_profile: normalisation of the training text; references stay raw.
        token_type: what a token is.
        nbpe: number of sentencepiece units.
        max_epoch: epochs; 0 leaves it to `asr_config`.
        seed: of training and decoding.
        nj: processes that load audio; 0 loads it in the main process.
        ngpu: GPUs to train on.
    """

    recipe: Path = Path("egs/demo/asr1")
    asr_config: Path = Path("conf/demo.yaml")
    inference_config: Path = Path("conf/decode_demo.yaml")
    train_set: str = "train"
    valid_set: str = "dev"
    test_sets: tuple[str, ...] = Field(default=("test",), min_length=1)
    layers: str = Field(default="weighted", pattern=r"^(weighted|mean|-?\d+)$")
    ssl_input_layer: Literal["linear", "conv2d2"] = "conv2d2"
    ssl_preencoder_dim: int = Field(default=40, ge=0)
    cache_mb: int = Field(default=512, ge=0)
    text_profile: str = "mgb2"
    token_type: Literal["char", "word", "bpe"] = "char"  # noqa: S105 - a unit of text
    nbpe: int = Field(default=1000, ge=8)
    max_epoch: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    nj: int = Field(default=0, ge=0)
    ngpu: int = Field(default=0, ge=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AsrOutcome:
    """What one ASR run gave.

    Attributes:
        digest: of everything that decides the result: config, cuts and upstream.
        predictions: split -> file of `TextPrediction`.
        checkpoint_digest: of the upstream's weights, None for FBANK.
        seconds: wall-clock time of the run.
        command: the command line that was run.
        layer_weights: of the upstream's weighted sum, adding up to 1; empty without one.
    """

    digest: str
    predictions: dict[str, Path]
    checkpoint_digest: str | None
    seconds: float
    command: tuple[str, ...]
    layer_weights: tuple[float, ...] = ()


def run_asr(
    *,
    upstream: str,
    checkpoint: Path | None,
    cuts: Path,
    out: Path,
    config: AsrConfig | None = None,
    threads: int = 1,
) -> AsrOutcome:
    """Train and decode one upstream's ASR by the recipe; a finished run is not repeated.

    Args:
        upstream: its name; "fbank" needs no checkpoint, any other does.
        checkpoint: the upstream's checkpoint folder.
        cuts: a prepared folder with the config's splits.
        out: the run's folder; gets log.txt, predictions.<split>.jsonl and outcome.json. A run
            cut off there is continued if all its inputs are the same, and made anew otherwise.
        config: see `AsrConfig`.
        threads: CPU threads.

    Raises:
        ValueError: a checkpoint for FBANK or none for another upstream, no such recipe or split.
        RuntimeError: the recipe failed; carries the end of its log.
    """
    config = config or AsrConfig()
    if (checkpoint is None) != (upstream == FBANK):
        raise ValueError(
            f"upstream {upstream!r} with checkpoint {checkpoint}: {FBANK!r} takes no checkpoint, "
            "any other upstream needs one."
        )
    inputs = _input_digests(checkpoint, cuts, config)
    digest = digest_strings(f"{name} {value}" for name, value in sorted(inputs.items()))
    if (outcome := _finished(out, digest)) is not None:
        return outcome
    _make_room(out, digest)
    write_provenance(out, config=resolved(config), seed=config.seed, inputs=inputs)
    command = _command(checkpoint, cuts, out, config)
    (out / LOG).unlink(missing_ok=True)
    seconds = run_logged(command, out / LOG, threads=threads)
    outcome = AsrOutcome(
        digest=digest,
        predictions={s: out / f"predictions.{s}.jsonl" for s in config.test_sets},
        checkpoint_digest=inputs.get("checkpoint"),
        seconds=seconds,
        command=tuple(command),
        layer_weights=layer_weights(out / "asr" / _MODEL),
    )
    write_json(out / OUTCOME, asdict(outcome))
    return outcome


def recipe_folder(config: AsrConfig) -> Path:
    """Return the folder with run.sh.

    Raises:
        ValueError: it is not there (recipes are part of the repository, not of the wheel).
    """
    root = Path(harness_bench.__file__).parents[1]
    folder = (root / config.recipe).absolute()
    if not (folder / "run.sh").is_file():
        raise ValueError(
            f"There is no {folder / 'run.sh'}. Recipes come with the repository: clone it and "
            "install it with `pip install -e`, or name another folder in `recipe`."
        )
    return folder


def _input_digests(checkpoint: Path | None, cuts: Path, config: AsrConfig) -> dict[str, str]:
    """Return the digests of all that decides the result."""
    folder = recipe_folder(config)
    files = [folder / "run.sh", folder / config.asr_config, folder / config.inference_config]
    if (shared := folder.parents[1] / "asr.sh").is_file():  # the stages of our recipes
        files.append(shared)
    digests = {file.name: digest_file(file) for file in files}
    for split in _splits(config):
        if not (path := cuts_path(cuts, split)).is_file():
            raise ValueError(f"{cuts} has no split {split!r} ({path.name}). Prepare it first.")
        digests[f"cuts.{split}"] = digest_file(path)
    digests["config"] = digest_strings(f"{k} {v}" for k, v in resolved(config).items())
    if checkpoint is not None:
        from harness_bench.models.frozen import checkpoint_digest  # noqa: PLC0415 - torch

        digests["checkpoint"] = checkpoint_digest(checkpoint)
    return digests


def _splits(config: AsrConfig) -> Iterator[str]:
    yield from dict.fromkeys((config.train_set, config.valid_set, *config.test_sets))


def _finished(out: Path, digest: str) -> AsrOutcome | None:
    """Return the outcome of a finished run with the same inputs."""
    path = out / OUTCOME
    if not path.is_file():
        return None
    outcome = build(AsrOutcome, read_json(path), source=str(path))
    # Where the folder is now, not where it was: it may have been moved.
    here = {split: out / file.name for split, file in outcome.predictions.items()}
    if outcome.digest != digest or not all(file.is_file() for file in here.values()):
        return None
    return replace(outcome, predictions=here)


def _make_room(out: Path, digest: str) -> None:
    """Remove the products of a run with other inputs, which ESPnet would continue from."""
    mark = out / "inputs.digest"
    if not mark.is_file() or mark.read_text(encoding="utf-8").strip() != digest:
        (out / OUTCOME).unlink(missing_ok=True)
        for name in _PRODUCTS:
            shutil.rmtree(out / name, ignore_errors=True)
    write_text(mark, digest + "\n")


def _command(checkpoint: Path | None, cuts: Path, out: Path, config: AsrConfig) -> list[str]:
    """Return run.sh's command line."""
    folder = recipe_folder(config)
    options: dict[str, Any] = {
        "upstream": checkpoint.absolute() if checkpoint else FBANK,
        "cuts": cuts.absolute(),
        "expdir": out.absolute(),
        "stop_stage": _PREDICTIONS_STAGE,
        "scoring": "false",  # whoever calls this scores the predictions
        "inference_asr_model": _MODEL,
        "asr_config": folder / config.asr_config,
        "inference_config": folder / config.inference_config,
        "test_sets": " ".join(config.test_sets),
        "python": sys.executable,
        "asr_args": f"--max_epoch {config.max_epoch}" if config.max_epoch else "",
    }
    same = (
        "train_set", "valid_set", "layers", "ssl_input_layer", "ssl_preencoder_dim",
        "cache_mb", "text_profile", "token_type", "nbpe", "seed", "nj", "ngpu",
    )  # fmt: skip
    options |= {name: getattr(config, name) for name in same}
    pairs = [(f"--{name}", str(value)) for name, value in options.items()]
    return ["bash", str(folder / "run.sh"), *(word for pair in pairs for word in pair)]
