"""Run an ASR recipe: `python -m harness_bench.asr.run KIND RUN.SH [DEFAULTS --] OPTIONS`.

KIND says where the sets come from: `prepared` takes a prepared corpus, `broadcast` prepares QASR,
MGB-2 and MGB-3. RUN.SH is the script that calls this, in the recipe's folder. All chosen stages run
in this process, because importing ESPnet takes 10 to 30 seconds. With ESPNET_ROOT the official
asr.sh of that checkout runs instead, with our data, configs and launcher; it calls `data` and
`score` (score.sh's words alone) through local/.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from harness_bench.asr import score
from harness_bench.asr.config import (
    CORPORA,
    OFFICIAL,
    AsrConfig,
    BroadcastConfig,
    PreparedConfig,
    RecipeConfig,
    corpus_of,
    list_options,
    parse_options,
    recipe_folder,
    words_of,
)
from harness_bench.asr.espnet.run import Step, prepare_spawned, run_steps
from harness_bench.asr.recipe import (
    FBANK,
    TIMES,
    Recipe,
    complete_broadcast,
    prepare,
)
from harness_bench.core import workdir
from harness_bench.core.config import STRICT, build, resolved
from harness_bench.core.extras import require
from harness_bench.core.files import digest_file, digest_strings, read_json, write_json
from harness_bench.core.log import say
from harness_bench.core.process import (
    HOW_TO_RESUME,
    STOPPED,
    bound,
    run_logged,
    share_cores,
)
from harness_bench.core.stage_times import StageTimes
from harness_bench.cuts.store import cuts_path

LOG, OUTCOME = "log.txt", "outcome.json"
_PREDICTIONS_STAGE = 13  # the next one packs the model
_COMMAND = "HARNESS_COMMAND"  # for local/score.sh: asr.sh divides its options at blanks
_MODEL = "valid.acc.ave.pth"  # decoded with: the mean of the best epochs
# What a recipe writes below a run's folder; nothing else there is ever removed.
_PRODUCTS = ("data", "dump", "token_list", "stats", "features", "asr", "decode")
_OLDER = (workdir.OldNote(OUTCOME, field="digest"), workdir.OldNote("inputs.digest", whole=OUTCOME))
# Digests of the scripts that these stages were written in first: runs made by them are finished.
# Change one when the stages give another result.
_VERSION = {
    "run.sh": "02cf5242e1d9eb22abdcecbb59abdcaa", "asr.sh": "57c40877f4830db56f43f0844b859b42"
}  # fmt: skip
# Read by glibc when a process starts; see egs/python.sh.
_MALLOC = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), "4294967296")
_KINDS: dict[str, tuple[type[RecipeConfig], str]] = {
    "prepared": (PreparedConfig, "--cuts DIR"),
    **dict.fromkeys(("broadcast", "data"), (BroadcastConfig, "--qasr DIR --mgb2 DIR --mgb3 DIR")),
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
    """What one ASR run gave."""

    digest: str  # of everything that decides the result: config, cuts and upstream
    predictions: dict[str, Path]  # split -> file of `TextPrediction`
    checkpoint_digest: str | None  # of the upstream's weights, None for FBANK
    seconds: float  # wall-clock time of the run
    command: tuple[str, ...]
    layer_weights: tuple[float, ...] = ()  # of the weighted sum, adding up to 1; empty without one


def run_asr(
    *, upstream: str, checkpoint: Path | None, cuts: Path, out: Path,
    config: AsrConfig | None = None, threads: int = 1,
) -> AsrOutcome:  # fmt: skip
    """Train and decode one upstream's ASR by the recipe; a finished run is not repeated.

    Args:
        upstream: its name; "fbank" needs no checkpoint, any other does.
        checkpoint: the upstream's checkpoint folder.
        cuts: a prepared folder with the config's splits.
        out: the run's folder; gets log.txt, predictions.<split>.jsonl and outcome.json. A run
            cut off there is continued if all its inputs are the same, and made anew otherwise.
        config: default: that of a demo.
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
    work = workdir.WorkDir(out, inputs, key=key, older=_OLDER)
    with work.lock():
        predictions = {split: out / f"predictions.{split}.jsonl" for split in config.test_sets}
        if work.finished and all(path.is_file() for path in predictions.values()):
            outcome = build(AsrOutcome, read_json(out / OUTCOME), source=str(out / OUTCOME))
            return replace(outcome, predictions=predictions)  # it may have been moved
        require("espnet2")
        # ESPnet would go on with what other inputs left.
        work.begin(clear=_PRODUCTS, config=config, seed=config.seed)
        (out / LOG).unlink(missing_ok=True)
        command = _command(checkpoint, cuts, out, config)
        environment = _MALLOC | os.environ
        seconds = run_logged(command, out / LOG, threads=threads, environment=environment)
        outcome = AsrOutcome(
            digest=key, predictions=predictions, checkpoint_digest=inputs.get("checkpoint"),
            seconds=seconds, command=tuple(command),
            layer_weights=score.layer_weights(out / "asr" / _MODEL),
        )  # fmt: skip
        write_json(out / OUTCOME, asdict(outcome))
        work.finish()
    return outcome


def _input_digests(checkpoint: Path | None, cuts: Path, config: AsrConfig) -> dict[str, str]:
    """Return the digests of all that decides the result."""
    folder = recipe_folder(config.recipe)
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
    folder = recipe_folder(config.recipe)
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
    """Run the stages that the command line asks for; bad input and Ctrl-C end it with one line."""
    share_cores()
    kind, *words = sys.argv[1:] if arguments is None else arguments
    try:
        _run(kind, words)
    except KeyboardInterrupt:
        say(HOW_TO_RESUME)
        sys.exit(STOPPED)


def _run(kind: str, words: Sequence[str]) -> None:
    try:
        steps, times = _chosen(kind, *words) if kind in _KINDS else (scores_of_sets(words), None)
    except ValueError as error:
        sys.exit(f"error: {error}")
    if steps:
        run_steps(steps, times)


def _chosen(name: str, script: str, *words: str) -> tuple[list[Step], Path | None]:
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
    if name == "data":
        assert isinstance(config, BroadcastConfig)
        found = prepare(complete_broadcast(config), Path(config.expdir, "data"))
    else:
        recipe = Recipe(config, shlex.join(["bash", script, *given]))
        if (root := os.environ.get("ESPNET_ROOT")) and name == "broadcast":
            run_official(recipe, Path(root))
            return [], None
        found = recipe.steps()
    chosen = [*found]
    if any(step.espnet for step in chosen):
        require("espnet2")  # before hours of data preparation, not after
    steps = [(f"Stage {step.number}: {step.title}", step.run) for step in chosen]
    if not steps:
        raise ValueError(
            f"no stage is left to run: --stage {config.stage} --stop_stage {config.stop_stage} "
            f"--skip_stages {config.skip_stages}; 2 needs --speed_perturb_factors, 6 to 8 "
            "--use_lm true, 14 --pack, and there is no 9"
        )
    times = Path(config.expdir, TIMES)
    _ = StageTimes(times).rows  # before hours of training, not after
    return steps, times


def run_official(recipe: Recipe, checkout: Path) -> None:
    """Run the chosen stages by a checkout's asr.sh; the pack and, without sclite, scores are ours.

    Raises:
        ValueError: what asr.sh cannot do; nothing has been written then.
    """
    c = recipe.config
    assert isinstance(c, BroadcastConfig)
    work = Path(c.expdir).resolve() / OFFICIAL
    data, scores = _data_words(c), _score_words(c, work)
    _check_official(c, [*data, *scores, recipe.checkpoint, str(work)])
    checkout = checkout.resolve()
    command = f"ESPNET_ROOT={shlex.quote(str(checkout))} {recipe.command}"
    environment = {
        **os.environ, "HARNESS_PYTHON": sys.executable, "ESPNET_ROOT": str(checkout),
        _COMMAND: command,
    }  # fmt: skip

    def call(*command: str, cwd: Path | None = None) -> None:
        if code := subprocess.run(
            [*bound(), *command], cwd=cwd, env=environment, check=False
        ).returncode:
            sys.exit(code)

    call("bash", str(c.recipe / "setup.sh"), str(work))
    last = min(13 if c.scoring else 12, c.stop_stage)
    if c.scoring and c.runs(13) and not _has_sclite(work, environment):
        say("this checkout has no sclite: asr.sh goes to stage 12, our scorer does stage 13")
        last = min(12, last)
    if c.stage <= last:
        options = _asr_sh_words(recipe, data=" ".join(data), scores=" ".join(scores))
        call("./asr.sh", "--stop_stage", str(last), *options, cwd=work)
    if c.scoring and c.runs(13) and last == 12:  # noqa: PLR2004 - a stage
        words = [*scores, "--command", command, str(Path(c.asr_exp).resolve())]
        run_steps(scores_of_sets(words), None)
    run_steps([(step.title, step.run) for step in recipe.packing() if c.runs(step.number)], None)


def _check_official(c: RecipeConfig, words: Sequence[str]) -> None:
    if c.feature_cache:
        raise ValueError(
            "--feature_cache does not go with ESPNET_ROOT: asr.sh reads audio or Kaldi's archives"
        )
    for folder in (c.asr_exp, c.lm_exp):  # asr.sh makes tokens of its own, and would go on with it
        if c.runs(11) and Path(folder, workdir.NOTE).is_file():
            raise ValueError(
                f"{folder} holds a training without ESPNET_ROOT; choose another --asr_tag or "
                "--expdir"
            )
    if odd := [word for word in words if word and word.split() != [word]]:
        raise ValueError(f"{odd[0]!r}: asr.sh divides its options at blanks; choose names without")


def _has_sclite(work: Path, environment: dict[str, str]) -> bool:
    command = ["/bin/bash", "-c", "set -euo pipefail; . ./path.sh && command -v sclite"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, check=False)
    return done.returncode == 0


def _data_words(c: BroadcastConfig) -> list[str]:
    """Return the options of local/data.sh, none of which has a blank."""
    same = ("train_set", "valid_set", "nj", "train_hours", "dev_hours", "split_seed", "max_skipped",
            "audio_check", "text_profile")  # fmt: skip
    folders = {name: getattr(c, name) for name in ("cuts", *CORPORA)}
    return words_of(
        test_sets=",".join(c.test_sets), python=sys.executable,
        **{name: getattr(c, name) for name in same},
        **{name: Path(folder).resolve() for name, folder in folders.items() if folder},
    )  # fmt: skip


def _score_words(c: RecipeConfig, work: Path) -> list[str]:
    """Return the options of local/score.sh, which finds sets and corpora by their names."""
    return words_of(
        cuts=work / "data", python=sys.executable, model=c.model.replace(" ", "_"),
        model_kind=c.model_kind, train_set=c.train_set, asr_model=c.inference_asr_model,
        inference_config=c.inference_config.resolve(), results=Path(c.expdir).resolve() / "results",
        synthetic=c.synthetic, profile=c.score_profile,
        pretraining_data=c.pretraining_data.replace(" ", "_"),
    )  # fmt: skip


def _asr_sh_words(recipe: Recipe, *, data: str, scores: str) -> list[str]:
    """Return the options of asr.sh; it is started in another folder, so paths are absolute."""
    c = recipe.config
    same = (
        "stage", "ngpu", "inference_nj", "gpu_inference", "audio_format", "min_wav_duration",
        "max_wav_duration", "token_type", "nbpe", "use_lm", "inference_lm", "inference_tag",
        "inference_asr_model", "train_set", "valid_set", "lm_args",
    )  # fmt: skip
    paths = ("dumpdir", "expdir", "lm_config", "lm_exp", "asr_config", "asr_exp",
             "inference_config")  # fmt: skip
    blanks = {
        "skip_stages": c.skip_stages, "test_sets": c.test_sets,
        "speed_perturb_factors": c.speed_perturb_factors,
        "lm_train_text": [Path(path).resolve() for path in c.lm_train_text],
    }  # fmt: skip
    return words_of(
        nj=max(c.nj, 1), python=f"{sys.executable} -m harness_bench.asr.espnet.run", fs="16k",
        local_data_opts=data, local_score_opts=scores,
        **{name: getattr(c, name) for name in same},
        **{name: Path(getattr(c, name)).resolve() for name in paths},
        **{name: " ".join(map(str, words)) for name, words in blanks.items()},
        # asr.sh writes no feature statistics into the model (normalize: utterance_mvn).
        feats_normalize="utterance_mvn",
        asr_args=" ".join((*recipe.frontend(), "--seed", str(c.seed), recipe.asr_args)),
        inference_args=f"--seed {c.seed} {c.inference_args}",
    )  # fmt: skip


def scores_of_sets(words: Sequence[str]) -> list[Step]:
    """Return the scoring of each decode folder ASR_EXP/DECODE/SET and ASR_EXP/DECODE/org/SET.

    Args:
        words: options of `harness_bench.asr.score`, and ASR_EXP as the last word (local/score.sh).
            --corpus is by default what stands before `_` in a set's name, --results DECODE/results.

    Raises:
        ValueError: no decoded set, or no cuts of one.
    """
    asr_exp = Path(words[-1]) if len(words) % 2 else None
    if asr_exp is None or not asr_exp.is_dir():
        raise ValueError(
            f"ASR_EXP {asr_exp or 'is missing'}: expected a trained model's folder behind options"
        )
    given = {"cuts": "data", "model": asr_exp.name}
    if command := os.environ.get(_COMMAND):
        given["command"] = command
    given |= {name.removeprefix("--"): value for name, value in batched(words[:-1], 2)}
    given.pop("python", None)
    # asr.sh decodes the development set below org; our own stages leave ESPnet's 1best_recog.
    places = {"*/*/text": 0, "*/org/*/text": 0, "*/*/1best_recog/text": 1}
    sets = [path.parents[up] for like, up in places.items() for path in sorted(asr_exp.glob(like))]
    if not sets:
        raise ValueError(f"{asr_exp} holds no decoded set: decode first (stage 12)")
    needed = [cuts_path(Path(given["cuts"]), folder.name) for folder in sets]
    if missing := [str(path) for path in needed if not path.is_file()]:
        raise ValueError(
            f"there is no {' '.join(missing)}: references come from prepared cuts. Name each file "
            "after its set, and give their folder by --cuts DIR (asr.sh: in --local_score_opts)"
        )
    if (asr_exp / score.CONFIG).is_file():
        given["asr"] = str(asr_exp)
    steps: list[Step] = []
    for folder in sets:
        decode = folder.parent.parent if folder.parent.name == "org" else folder.parent
        own = {"corpus": corpus_of(folder.name), "results": decode / "results", **given}
        of_set = words_of(split=folder.name, decoded=folder, out=decode, **own)
        steps.append((f"scores of {folder.name}", partial(score.main, of_set)))
    return steps


if __name__ == "__mp_main__":
    prepare_spawned()

if __name__ == "__main__":
    main()
