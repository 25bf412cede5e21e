"""Train heads of 12 steps by s3prl's runner, many in one process, which it patches.

A training is the name of its folder and words: further arguments, overrides (`config.KEY=VALUE`)
and variables (`KEY=VALUE`). Run as a program it prints how many utterances each training's upstream
computed, as JSON lines; the feature cache has one broken entry for the training called "broken".
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from harness_bench import run_downstream
from tests import warm

ROOT = Path(__file__).parents[2]
STEPS = ("total_steps=12", "eval_step=6", "log_step=1", "save_step=12")


class Trainings(NamedTuple):
    """What processes that trained at once left and said."""

    folder: Path  # with a folder of each training
    computed: dict[str, int]
    said: dict[str, str]


def run_trainings(
    folder: Path, checkpoint: Path, cuts: Path, *processes: dict[str, str], **environment: str
) -> Trainings:
    """Run one process for each group of trainings (name -> words), all at once."""
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    running = [
        subprocess.Popen(
            [warm.python(), __file__, checkpoint, cuts, folder, json.dumps(trainings)],
            cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **variables},
        )
        for trainings in processes
    ]  # fmt: skip
    computed, said = {}, {}
    for process in running:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        for line in out.splitlines():
            if line.startswith("{"):
                computed.update(json.loads(line))
        for part in err.split("training ")[1:]:
            said[part.split("\n", 1)[0]] = part
    return Trainings(folder, computed, said)


def main(checkpoint: str, cuts: str, out: str, given: str) -> None:
    """Run s3prl's own main once for each training."""
    from harness_bench.upstream.harness.expert import (  # noqa: PLC0415 - imports s3prl
        UpstreamExpert,
    )
    from s3prl.downstream.runner import Runner  # noqa: PLC0415 - behind the hook

    build, encode = Runner._get_upstream, UpstreamExpert.encode
    computed: list[int] = []

    def build_and_seed(self: Any) -> Any:
        # Building transformers' model draws random numbers; the head must start the same.
        entry = build(self)
        torch.manual_seed(1337)
        return entry

    def counted(self: Any, wavs: Any) -> Any:
        computed.extend(map(len, wavs))
        return encode(self, wavs)

    Runner._get_upstream, UpstreamExpert.encode = build_and_seed, counted
    for name, words in json.loads(given).items():
        computed.clear()
        sys.stderr.write(f"training {name}\n")
        overrides = [f"config.downstream_expert.datarc.cuts={cuts}"]
        overrides += [f"config.runner.{step}" for step in STEPS]
        overrides += [word for word in words.split() if word.startswith("config.")]
        others = [word for word in words.split() if not word.startswith("config.")]
        sys.argv[1:] = ["-m", "train", "-u", "harness_local", "-k", checkpoint, "-d", "keyword"]
        sys.argv += ["-p", f"{out}/{name}", *(word for word in others if "=" not in word)]
        sys.argv += ["-o", ",,".join(overrides)]
        if name == "broken":
            path = min(Path(os.environ["HARNESS_FEATURE_CACHE"]).glob("??/*.safetensors"))
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with patch.dict(os.environ, dict(word.split("=") for word in others if "=" in word)):
            run_downstream.main()
        sys.stdout.write(json.dumps({name: len(computed)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
