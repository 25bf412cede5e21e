"""The command line of s3prl's `run_downstream`, checked and completed.

Nothing heavy is imported before that, so a typing error costs a fraction of a second.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.log import say
from harness_bench.core.registry import package_folder
from harness_bench.probing.s3prl import checkpoints, flags, hub
from harness_bench.probing.s3prl.flags import TASKS, tasks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

__all__ = ["check", "complete", "complete_command", "packaged_config", "tasks"]

CONFIG = "config.yaml"


def packaged_config(task: str) -> Path:
    """Return the config file that comes with a task of ours."""
    return package_folder(TASKS) / task / CONFIG


def complete_command() -> None:
    """Complete the arguments of this process; end it for `--help` and for mistakes."""
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print(flags.help_text())  # noqa: T201 - what was asked for
        sys.exit()
    try:
        sys.argv[1:] = complete(sys.argv[1:])
    except ValueError as error:
        sys.exit(f"error: {error}")


def complete(argv: Sequence[str]) -> list[str]:
    """Check the arguments of `run_downstream` and add what s3prl would miss.

    Adds the packaged config where `-c` is absent, the CPU (and gloo) where there is no GPU, the
    local rank that torchrun puts into the environment, and the newest whole checkpoint for `-e
    FOLDER` and `-a`; accepts `--local-rank` for `--local_rank`.

    Raises:
        ValueError: an unknown upstream or task, a missing or broken file, an override s3prl cannot
            parse, the Hugging Face Hub.
        SystemExit: an unknown flag (argparse says which), or nothing to do for this rank.
    """
    parser = flags.make_parser()
    known = parser.parse_args([re.sub("^--local-rank", "--local_rank", word) for word in argv])
    check(known)
    _choose_checkpoint(known)
    if known.config is None and known.past_exp is None and known.downstream in tasks():
        known.config = str(packaged_config(known.downstream))
    _choose_rank(known)
    _choose_device(known)
    return flags.arguments_of(parser, known)


def check(known: argparse.Namespace) -> None:
    """Raise `ValueError` for the first argument that cannot work."""
    if known.hub == "huggingface" or known.push_to_hf_hub:
        raise ValueError(
            "--hub huggingface and --push_to_hf_hub need an interface that huggingface_hub has "
            "dropped. Take a model of the Hub by -u hf_hubert_custom -k REPOSITORY, and upload the "
            "experiment folder with `hf upload`."
        )
    if known.upstream is not None:
        _check_name("upstream (-u)", known.upstream, hub.options())
    if known.downstream is not None:
        _check_name("task (-d)", known.downstream, [*tasks(), *flags.stock_tasks()])
    if known.upstream in hub.own_names() and known.upstream.endswith(hub.NEEDS_CHECKPOINT):
        _check_checkpoint(known.upstream, known.upstream_ckpt)
    elif known.upstream is not None and known.upstream_ckpt is None and known.past_exp is None:
        hub.own_checkpoint(known.upstream)  # raises where the weights are not available
    for flag, path in (("-c", known.config), ("-e", known.past_exp), ("-i", known.init_ckpt)):
        if path is not None and not Path(path).exists():
            raise ValueError(f"{flag} {path}: there is no such file or folder.")
    for option in (known.override or "").split(",,"):
        if option and option.lower() != "none" and option.count("=") != 1:
            raise ValueError(
                f"-o {option!r}: s3prl takes exactly one '=' in each override, as in "
                "config.optimizer.lr=1e-3, and ',,' between them. Put a value that holds '=' "
                "into a config file and give that with -c."
            )


def _choose_checkpoint(known: argparse.Namespace) -> None:
    """Name the file that `-e FOLDER` and `-a` mean: s3prl takes the newest, broken or not."""
    # As s3prl names it, whose -a comes before -e.
    folder = Path(known.expdir or f"result/downstream/{known.expname}")
    if known.auto_resume and checkpoints.states(folder):
        known.auto_resume = False
        found = checkpoints.newest_whole(folder)
        if found is None:
            say(f"{folder} has no whole checkpoint: starting from the beginning.")
        else:
            known.past_exp = str(found)
    elif known.past_exp is not None:
        known.past_exp = str(checkpoints.choose(Path(known.past_exp)))


def _choose_rank(known: argparse.Namespace) -> None:
    """Take the local rank of torchrun's environment; only training is shared among processes."""
    local = os.environ.get("LOCAL_RANK")
    if known.local_rank is None and local is not None:
        known.local_rank = int(local)
    if known.local_rank is None or known.mode == "train":
        return
    # Every process would test all utterances and write the same files.
    if int(os.environ.get("RANK", known.local_rank)) > 0:
        sys.exit()
    say(f"-m {known.mode} is not shared among processes: the first one does it.")
    known.local_rank = None


def _choose_device(known: argparse.Namespace) -> None:
    if not known.device.startswith("cuda") or _has_gpu():
        return
    say("No CUDA device here: running on the CPU.")
    known.device = "cpu"
    if known.local_rank is not None:
        known.backend = "gloo"


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - heavy; needed only once the arguments are right

    return torch.cuda.is_available()


def _check_name(what: str, name: str, known: Iterable[str]) -> None:
    names = sorted(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or names
        raise ValueError(f"There is no {what} {name!r}; did you mean {', '.join(near)}?")


def _check_checkpoint(upstream: str, path: str | None) -> None:
    """Refuse an upstream of ours without its checkpoint; what it holds its reader checks."""
    if path is None:
        raise ValueError(f"Upstream {upstream} needs a checkpoint folder: give it with -k.")
    if not Path(path).exists():
        raise ValueError(
            f"-k {path} is not a checkpoint: there is no such folder or file. Export a run with "
            "`harness-bench export`."
        )
