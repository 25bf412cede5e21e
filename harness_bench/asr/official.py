"""The official `asr.sh` of a checkout of ESPnet (ESPNET_ROOT) with our data, configs and launcher.

It calls `local/data.sh` and `local/score.sh`, which are `python -m harness_bench.asr.run data` and
`... score`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.asr import broadcast
from harness_bench.asr.config import BroadcastConfig, words_of
from harness_bench.asr.espnet.run import run_steps
from harness_bench.core import workdir
from harness_bench.core.log import say
from harness_bench.cuts.store import cuts_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness_bench.asr.recipe import Recipe

_LAUNCHER = "harness_bench.asr.espnet.run"
_SETUP = "setup.sh"  # of the recipe's folder


def run_official(recipe: Recipe, checkout: Path) -> None:
    """Run the chosen stages by a checkout's asr.sh; the pack and, without sclite, scores are ours.

    Raises:
        ValueError: what asr.sh cannot do; nothing has been written then.
    """
    c = recipe.config
    assert isinstance(c, BroadcastConfig)
    work = Path(c.expdir).resolve() / "espnet2"
    data = data_words(c)
    _check(recipe, [*data, recipe.checkpoint, str(work), sys.executable])
    checkout = checkout.resolve()
    environment = {**os.environ, "HARNESS_PYTHON": sys.executable, "ESPNET_ROOT": str(checkout)}

    def call(*command: str, cwd: Path | None = None) -> None:
        if code := subprocess.run(command, cwd=cwd, env=environment, check=False).returncode:
            sys.exit(code)

    call("bash", str(c.recipe / _SETUP), str(work))
    last = min(13 if c.scoring else 12, c.stop_stage)
    if c.scoring and c.runs(13) and not _has_sclite(work, environment):
        say("this checkout has no sclite: asr.sh goes to stage 12, our scorer does stage 13")
        last = min(12, last)
    score = score_words(recipe, work)
    if c.stage <= last:
        options = asr_sh_words(recipe, data=" ".join(data), score=" ".join(score))
        call("./asr.sh", "--stop_stage", str(last), *options, cwd=work)
    if c.scoring and c.runs(13) and last == 12:  # noqa: PLR2004 - a stage
        score_sets([*score, str(Path(c.asr_exp).resolve())])
    for step in recipe.packing():
        if c.runs(step.number):
            run_steps([(step.title, step.run)], None)


def _check(recipe: Recipe, words: Iterable[str]) -> None:
    c = recipe.config
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
    for word in words:
        if word.split() != [word] and word:
            raise ValueError(
                f"{word!r}: asr.sh divides its options at blanks; choose names without"
            )


def _has_sclite(work: Path, environment: dict[str, str]) -> bool:
    command = ["/bin/bash", "-c", "set -euo pipefail; . ./path.sh && command -v sclite"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, check=False)
    return done.returncode == 0


def data_words(config: BroadcastConfig) -> list[str]:
    """Return the options of local/data.sh, none of which has a blank."""
    same = ("train_set", "valid_set", "nj", "train_hours", "dev_hours", "split_seed", "max_skipped",
            "audio_check", "text_profile")  # fmt: skip
    folders = {name: getattr(config, name) for name in ("cuts", *broadcast.CORPORA)}
    return words_of(
        test_sets=",".join(config.test_sets), python=sys.executable,
        **{name: getattr(config, name) for name in same},
        **{name: Path(folder).resolve() for name, folder in folders.items() if folder},
    )  # fmt: skip


def score_words(recipe: Recipe, work: Path) -> list[str]:
    """Return the options of local/score.sh, which finds sets and corpora by their names."""
    c = recipe.config
    return words_of(
        cuts=work / "data", python=sys.executable, model=c.model.replace(" ", "_"),
        model_kind=c.model_kind, results=Path(c.expdir).resolve() / "results",
        synthetic=c.synthetic, profile=c.score_profile,
        pretraining_data=c.pretraining_data.replace(" ", "_"),
    )  # fmt: skip


def asr_sh_words(recipe: Recipe, *, data: str, score: str) -> list[str]:
    """Return the options of asr.sh; it is started in another folder, so paths are absolute."""
    c = recipe.config
    same = (
        "stage", "ngpu", "inference_nj", "gpu_inference", "audio_format", "min_wav_duration",
        "max_wav_duration", "token_type", "nbpe", "use_lm", "inference_lm", "inference_tag",
        "inference_asr_model", "train_set", "valid_set", "lm_args",
    )  # fmt: skip
    paths = (
        "dumpdir",
        "expdir",
        "lm_config",
        "lm_exp",
        "asr_config",
        "asr_exp",
        "inference_config",
    )
    blanks = {
        "skip_stages": c.skip_stages, "test_sets": c.test_sets,
        "speed_perturb_factors": c.speed_perturb_factors,
        "lm_train_text": [Path(path).resolve() for path in c.lm_train_text],
    }  # fmt: skip
    return words_of(
        nj=max(c.nj, 1), python=f"{sys.executable} -m {_LAUNCHER}", fs="16k",
        local_data_opts=data, local_score_opts=score,
        **{name: getattr(c, name) for name in same},
        **{name: Path(getattr(c, name)).resolve() for name in paths},
        **{name: " ".join(map(str, words)) for name, words in blanks.items()},
        # asr.sh writes no feature statistics into the model (normalize: utterance_mvn).
        feats_normalize="utterance_mvn",
        asr_args=" ".join((*recipe.frontend(), "--seed", str(c.seed), recipe.asr_args)),
        inference_args=f"--seed {c.seed} {c.inference_args}",
    )  # fmt: skip


def score_sets(words: Sequence[str]) -> None:
    """Score every decode folder ASR_EXP/DECODE/SET and ASR_EXP/DECODE/org/SET (local/score.sh).

    Args:
        words: options of `harness_bench.asr.score`, and ASR_EXP as the last word. --corpus is by
            default what stands before `_` in a set's name, --results DECODE/results.

    Raises:
        ValueError: no decoded set, or no cuts of one.
    """
    from harness_bench.asr import score  # noqa: PLC0415 - takes a second

    asr_exp = Path(words[-1]) if len(words) % 2 else None
    if asr_exp is None or not asr_exp.is_dir():
        raise ValueError(
            f"ASR_EXP {asr_exp or 'is missing'}: expected a trained model's folder behind options"
        )
    given = {"cuts": "data", "model": asr_exp.name}
    given |= {name.removeprefix("--"): value for name, value in batched(words[:-1], 2)}
    given.pop("python", None)
    # asr.sh decodes the development set below org; our own stages leave ESPnet's 1best_recog.
    places = {"*/*/text": 0, "*/org/*/text": 0, "*/*/1best_recog/text": 1}
    sets = [
        text.parents[up] for place, up in places.items() for text in sorted(asr_exp.glob(place))
    ]
    if not sets:
        raise ValueError(f"{asr_exp} holds no decoded set: decode first (stage 12)")
    needed = [cuts_path(Path(given["cuts"]), folder.name) for folder in sets]
    if missing := [str(path) for path in needed if not path.is_file()]:
        raise ValueError(
            f"there is no {' '.join(missing)}: references come from prepared cuts. Name each file "
            "after its set, and give their folder by --cuts DIR (asr.sh: in --local_score_opts)"
        )
    if (asr_exp / "config.yaml").is_file():
        given["asr"] = str(asr_exp)
    steps = []
    for folder in sets:
        decode = folder.parent.parent if folder.parent.name == "org" else folder.parent
        own = {"corpus": broadcast.corpus_of(folder.name), "results": decode / "results", **given}
        of_set = words_of(split=folder.name, decoded=folder, out=decode, **own)
        steps.append((f"scores of {folder.name}", partial(score.main, of_set)))
    run_steps(steps, None)
