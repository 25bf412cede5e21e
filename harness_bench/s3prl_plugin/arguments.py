"""The command line of s3prl's `run_downstream`: what is missing is added, what is wrong is said.

Checked before anything heavy is imported, so a typing error costs a fraction of a second.
"""

from __future__ import annotations

import argparse
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.discovery import package_folder, packages_in
from harness_bench.progress import say
from harness_bench.s3prl_plugin import hub

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TASKS = "harness_bench.downstream"
CONFIG = "config.yaml"
# Environment variable: MiB of features that an upstream keeps (0: none).
FEATURE_CACHE = "HARNESS_FEATURE_CACHE_MB"


def tasks() -> list[str]:
    """List this project's classification tasks: the folders under `downstream/`."""
    return packages_in(TASKS)


def packaged_config(task: str) -> Path:
    """Return the config file that comes with a task of ours."""
    return package_folder(TASKS) / task / CONFIG


def complete(argv: Sequence[str]) -> list[str]:
    """Check the arguments of `run_downstream` and add what s3prl would stumble over.

    Adds the packaged config where `-c` is absent, the CPU where there is no GPU, and the local
    rank that torchrun puts into the environment; accepts `--local-rank` for `--local_rank`.

    Raises:
        ValueError: an unknown upstream or task, a missing file, an override s3prl cannot parse.
    """
    spelled = [
        word.replace("--local-rank", "--local_rank", 1) if word.startswith("--local-rank") else word
        for word in argv
    ]
    known = _parse(spelled)
    check(known)
    added = [*_config(known), *_local_rank(known)]
    if known.device == "cuda" and not _has_gpu():
        say("No CUDA device here: running on the CPU.")
        added += ["--device", "cpu"]
    return [*spelled, *added]


def check(known: argparse.Namespace) -> None:
    """Raise `ValueError` for the first argument that cannot work."""
    if known.upstream is not None and known.hub == "torch":
        _check_name("upstream (-u)", known.upstream, hub.options())
    if known.downstream is not None:
        _check_name("task (-d)", known.downstream, [*tasks(), *_stock_tasks()])
    if known.upstream in hub.own_names() and known.upstream.endswith(hub.NEEDS_CHECKPOINT):
        _check_checkpoint(known.upstream, known.upstream_ckpt)
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


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read those of s3prl's arguments that are checked here; the others pass."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-u", "--upstream")
    parser.add_argument("-k", "--upstream_ckpt")
    parser.add_argument("-d", "--downstream")
    parser.add_argument("-c", "--config")
    parser.add_argument("-e", "--past_exp")
    parser.add_argument("-i", "--init_ckpt")
    parser.add_argument("-o", "--override")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--hub", default="torch")
    parser.add_argument("--local_rank")
    return parser.parse_known_args(argv)[0]


def _config(known: argparse.Namespace) -> list[str]:
    """Return `-c` with the packaged config where a task of ours runs without one."""
    wanted = known.config is None and known.past_exp is None and known.downstream in tasks()
    return ["-c", str(packaged_config(known.downstream))] if wanted else []


def _local_rank(known: argparse.Namespace) -> list[str]:
    """Return `--local_rank` under torchrun, which passes it by the environment alone."""
    rank = os.environ.get("LOCAL_RANK")
    return ["--local_rank", rank] if rank is not None and known.local_rank is None else []


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - heavy; needed only once the arguments are right

    return torch.cuda.is_available()


def _stock_tasks() -> list[str]:
    """List the tasks that s3prl itself brings."""
    return [path.parent.name for path in (hub.s3prl_folder() / "downstream").glob("*/expert.py")]


def _check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is none of the known ones, and suggest the nearest."""
    names = sorted(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or names
        raise ValueError(f"There is no {what} {name!r}; did you mean {', '.join(near)}?")


def _check_checkpoint(upstream: str, folder: str | None) -> None:
    """Refuse an upstream of ours without its checkpoint: a folder, or a file of fairseq."""
    if folder is None:
        raise ValueError(f"Upstream {upstream} needs a checkpoint folder: give it with -k.")
    if Path(folder).is_file():
        return  # whoever reads it says what is wrong with it
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(
            f"-k {folder} is not a checkpoint folder (it has no config.json). Export a run with "
            "`harness-bench export`."
        )
