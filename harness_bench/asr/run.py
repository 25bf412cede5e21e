"""Run an ASR recipe: `python -m harness_bench.asr.run KIND RUN.SH [DEFAULTS --] OPTIONS`.

KIND says where the sets come from: `prepared` takes a prepared corpus, `broadcast` prepares QASR,
MGB-2 and MGB-3. RUN.SH is the script that calls this, in the recipe's folder. All chosen stages run
in this process, because importing ESPnet takes 10 to 30 seconds. The official asr.sh calls `data`
and `score` (score.sh's words alone) through local/.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from harness_bench.asr import broadcast, official
from harness_bench.asr.config import (
    AsrConfig,
    BroadcastConfig,
    PreparedConfig,
    list_options,
    parse_options,
    words_of,
)
from harness_bench.asr.espnet.run import prepare_spawned, run_steps
from harness_bench.asr.recipe import FBANK, TIMES, Recipe
from harness_bench.asr.score import layer_weights
from harness_bench.core.config import STRICT, build, resolved
from harness_bench.core.files import digest_file, digest_strings, read_json, write_json
from harness_bench.core.process import run_logged
from harness_bench.core.stage_times import StageTimes
from harness_bench.core.workdir import OldNote, WorkDir
from harness_bench.cuts.store import cuts_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness_bench.asr.config import RecipeConfig

LOG, OUTCOME = "log.txt", "outcome.json"
_PREDICTIONS_STAGE = 13  # the next one packs the model
_MODEL = "valid.acc.ave.pth"  # decoded with: the mean of the best epochs
# What a recipe writes below a run's folder; nothing else there is ever removed.
_PRODUCTS = ("data", "dump", "token_list", "stats", "features", "asr", "decode")
_OLDER = (OldNote(OUTCOME, field="digest"), OldNote("inputs.digest", whole=OUTCOME))
# Digests of the scripts that these stages were written in first: runs made by them are finished.
# Change one when the stages give another result.
_VERSION = {
    "run.sh": "02cf5242e1d9eb22abdcecbb59abdcaa", "asr.sh": "57c40877f4830db56f43f0844b859b42"
}  # fmt: skip
# Read by glibc when a process starts; see egs/python.sh.
_MALLOC = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), "4294967296")
_KINDS: dict[str, tuple[type[RecipeConfig], str]] = {
    "prepared": (PreparedConfig, "--cuts DIR"),
    "broadcast": (BroadcastConfig, "--qasr DIR --mgb2 DIR --mgb3 DIR"),
    "data": (BroadcastConfig, "--qasr DIR --mgb2 DIR --mgb3 DIR"),
}
_HELP = """\
Usage: {script} {needed} [--upstream fbank|CHECKPOINT_DIR|NAME] [--expdir DIR] [options]

Stages: 1 data preparation, 2 speed perturbation, 3 audio at 16 kHz, 4 leave out unfit utterances,
5 token list, 6-8 language model (--use_lm true), 10 lengths for batching and cached features,
11 training, 12 decoding, 13 predictions and scores, 14 model pack (--pack).

Options (default):
{options}"""


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
    key = digest_strings(f"{name} {value}" for name, value in sorted(inputs.items()))
    work = WorkDir(out, inputs, key=key, older=_OLDER)
    with work.lock():
        predictions = {split: out / f"predictions.{split}.jsonl" for split in config.test_sets}
        if work.finished and all(path.is_file() for path in predictions.values()):
            outcome = build(AsrOutcome, read_json(out / OUTCOME), source=str(out / OUTCOME))
            return replace(outcome, predictions=predictions)  # it may have been moved
        # ESPnet would go on with what other inputs left.
        work.begin(clear=_PRODUCTS, config=config, seed=config.seed)
        (out / LOG).unlink(missing_ok=True)
        command = _command(checkpoint, cuts, out, config)
        environment = _MALLOC | os.environ
        seconds = run_logged(command, out / LOG, threads=threads, environment=environment)
        outcome = AsrOutcome(
            digest=key,
            predictions=predictions,
            checkpoint_digest=inputs.get("checkpoint"),
            seconds=seconds,
            command=tuple(command),
            layer_weights=layer_weights(out / "asr" / _MODEL),
        )
        write_json(out / OUTCOME, asdict(outcome))
        work.finish()
    return outcome


def recipe_folder(config: AsrConfig) -> Path:
    """Return the folder with run.sh.

    Raises:
        ValueError: it is not there (recipes are part of the repository, not of the wheel).
    """
    root = Path(__file__).parents[2]
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
    files = (folder / config.asr_config, folder / config.inference_config)
    digests = _VERSION | {file.name: digest_file(file) for file in files}
    for split in dict.fromkeys((config.train_set, config.valid_set, *config.test_sets)):
        if not (path := cuts_path(cuts, split)).is_file():
            raise ValueError(f"{cuts} has no split {split!r} ({path.name}). Prepare it first.")
        digests[f"cuts.{split}"] = digest_file(path)
    digests["config"] = digest_strings(f"{k} {v}" for k, v in resolved(config).items())
    if checkpoint is not None:
        from harness_bench.models.frozen import checkpoint_digest  # noqa: PLC0415 - torch

        digests["checkpoint"] = checkpoint_digest(checkpoint)
    return digests


def _command(checkpoint: Path | None, cuts: Path, out: Path, config: AsrConfig) -> list[str]:
    """Return the recipe's command line."""
    folder = recipe_folder(config)
    options: dict[str, Any] = {name: getattr(config, name) for name in resolved(config)}
    options |= {
        "recipe": None,
        "asr_config": folder / config.asr_config,
        "inference_config": folder / config.inference_config,
        "test_sets": " ".join(config.test_sets),
        "upstream": checkpoint.absolute() if checkpoint else FBANK,
        "cuts": cuts.absolute(),
        "expdir": out.absolute(),
        "stop_stage": _PREDICTIONS_STAGE,
        "scoring": False,  # whoever calls this scores the predictions
        "inference_asr_model": _MODEL,
    }
    script = str(folder / "run.sh")
    return [sys.executable, "-m", "harness_bench.asr.run", "prepared", script, *words_of(**options)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages that the command line asks for; bad input ends it with one line."""
    kind, *words = sys.argv[1:] if arguments is None else arguments
    steps: list[tuple[str, Callable[[], object]]] = []
    times = None
    try:
        if kind in _KINDS:
            steps, times = _chosen(kind, *words)
        else:
            official.score_sets(words)
    except ValueError as error:
        sys.exit(f"error: {error}")
    if steps:
        run_steps(steps, times)


def _chosen(
    name: str, script: str, *words: str
) -> tuple[list[tuple[str, Callable[[], object]]], Path | None]:
    """Return the steps to run and the file of their times; what asks for no steps is done here."""
    kind, needed = _KINDS[name]
    here = words.index("--") if "--" in words else 0
    defaults, given = words[:here], [word for word in words[here:] if word != "--"]
    folder = Path(script).resolve().parent
    if {"--help", "-h"} & {*given}:
        options = list_options(kind, parse_options(kind, defaults)).replace(f"{folder}/", "")
        sys.stdout.write(_HELP.format(script=script, needed=needed, options=options))
        return [], None
    config = parse_options(kind, [*defaults, *given], recipe=str(folder))
    times = Path(config.expdir, TIMES)
    if name == "data":
        assert isinstance(config, BroadcastConfig)
        config = broadcast.complete(config)
        sets = tuple(dict.fromkeys((config.train_set, config.valid_set, *config.test_sets)))
        made = broadcast.prepare(sets, config, Path(config.expdir, "data"))
        run_steps([(f"Stage 1: {title}", step) for title, step in made], times)
        return [], None
    recipe = Recipe(config, shlex.join(["bash", script, *given]))
    if (root := os.environ.get("ESPNET_ROOT")) and name == "broadcast":
        official.run_official(recipe, Path(root))
        return [], None
    steps = [(f"Stage {step.number}: {step.title}", step.run) for step in recipe.steps()]
    if not steps:
        raise ValueError(
            f"no stage is left to run: --stage {config.stage} --stop_stage {config.stop_stage} "
            f"--skip_stages {config.skip_stages}; 2 needs --speed_perturb_factors, 6 to 8 "
            "--use_lm true, 14 --pack, and there is no 9"
        )
    _ = StageTimes(times).rows  # before hours of training, not after
    return steps, times


if __name__ == "__mp_main__":
    prepare_spawned()

if __name__ == "__main__":
    main()
