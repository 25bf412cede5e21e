"""Commands of run_downstream in this process, for flag_runs.py: two steps each.

Read from the command line: the folder of cuts and the checkpoint.
"""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

from harness_bench import run_downstream
from harness_bench.core.files import read_jsonl
from tests.probing.resume_runs import load

CUTS, CHECKPOINT = (Path(word) for word in [*sys.argv[1:3], "", ""][:2])
FBANK = ["-m", "train", "-u", "fbank_cached", "-d", "keyword"]
HARNESS = ["-m", "train", "-u", "harness_local", "-k", str(CHECKPOINT), "-d", "keyword"]
STEPS = "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2"
SETTINGS = f"config.downstream_expert.datarc.cuts={CUTS},,{STEPS}"


def run(*words: str) -> str:
    """Run a command; return what it printed."""
    sys.argv[1:] = words
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        run_downstream.main()
    return printed.getvalue()


def trained(name: str, *words: str, base: list[str] = FBANK) -> dict[str, Any]:
    """Train two steps in a folder; return the checkpoint."""
    run(*base, "-p", name, "-o", SETTINGS, *words)
    return load(Path(name) / "states-2.ckpt")


def refused(*words: str) -> str:
    """Return the sentence with which a command is refused."""
    try:
        run(*words)
    except SystemExit as end:
        return str(end.code)
    raise AssertionError(f"{words} were taken")


def predictions(folder: str, split: str) -> list[Any]:
    """Read a run's predictions."""
    return list(read_jsonl(Path(folder) / f"predictions.{split}.jsonl"))


def by_s3prl(*words: str) -> dict[str, Any]:
    """Parse words by s3prl's own function."""
    from s3prl.run_downstream import get_downstream_args  # noqa: PLC0415 - after the hook

    sys.argv[1:] = words
    with contextlib.redirect_stdout(io.StringIO()):
        return dict(vars(get_downstream_args()[0]))
