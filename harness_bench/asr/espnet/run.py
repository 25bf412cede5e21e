"""Run ESPnet commands with the frontend `harness` known to them.

`python -m harness_bench.asr.espnet.run -m espnet2.bin.asr_train ARGS` is
`python -m espnet2.bin.asr_train ARGS` with our frontend. Several commands joined by `--then` run
one after the other in one process, because importing ESPnet takes 10 to 30 seconds; `--stage TEXT`
before `-m` names a command in the log. `--times FILE` before the first command keeps the times of
all commands there, over several calls, and shows them as a table at the end.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.log import first_rank, say
from harness_bench.core.stage_times import StageTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_USAGE = (
    "[--times FILE] [--stage TEXT] -m MODULE [ARGUMENT ...] [--then [--stage TEXT] -m MODULE ...]"
)
_TRAINING = re.compile(r"espnet2\.bin\.\w+_train")


@dataclass(frozen=True)
class Command:
    """One module to run as a program."""

    module: str
    arguments: tuple[str, ...]
    stage: str


def parse(arguments: Sequence[str]) -> list[Command]:
    """Split a command line at `--then` into commands.

    Raises:
        ValueError: a command that does not start with `-m MODULE`.
    """
    parts: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "--then":
            parts.append([])
        else:
            parts[-1].append(argument)
    return [_command(part) for part in parts]


def split_times(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Take `--times FILE` from the front of a command line: the file, and the rest.

    Raises:
        ValueError: no file behind it.
    """
    if arguments[:1] != ["--times"]:
        return None, list(arguments)
    if len(arguments) < 2 or arguments[1].startswith("-"):  # noqa: PLR2004 - it and its file
        raise ValueError(f"--times needs a file. Usage: {_USAGE}")
    return Path(arguments[1]), list(arguments[2:])


def _command(part: list[str]) -> Command:
    stage = ""
    if part[:1] == ["--stage"]:
        stage, part = part[1] if len(part) > 1 else "", part[2:]
    if part[:1] != ["-m"] or len(part) < 2:  # noqa: PLR2004 - `-m` and its module
        raise ValueError(f"Expected `-m MODULE`, got {' '.join(part[:2])!r}. Usage: {_USAGE}")
    return Command(part[1], tuple(part[2:]), stage or part[1])


def run(command: Command) -> None:
    """Run one module's `main` with its arguments as the command line."""
    if command.module.startswith("espnet"):
        from harness_bench.asr.espnet.register import register  # noqa: PLC0415 - heavy

        register()
    module = importlib.import_module(command.module)
    if not hasattr(module, "main"):
        raise ValueError(f"{command.module} is not a program: it has no `main`. Usage: {_USAGE}")
    if _TRAINING.fullmatch(command.module) and first_rank():
        _make_resumable(command)
    sys.argv = [str(module.__file__), *command.arguments]
    try:
        module.main()
    except SystemExit as end:
        if end.code:  # A program that ends well by sys.exit does not end those behind it.
            raise


def _make_resumable(command: Command) -> None:
    """Let a training that was killed go on, and this one too if it is."""
    from harness_bench.asr.espnet import resume  # noqa: PLC0415 - torch

    resume.save_atomically()
    if (folder := resume.output_dir(command.arguments)) is not None:
        try:
            resume.mend(folder)
        except ValueError as error:
            sys.exit(f"error: {error}")


def main() -> None:
    """Run the commands of the command line in turn; the first error ends the run."""
    try:
        times, rest = split_times(sys.argv[1:])
        commands = parse(rest)
        if times is not None:
            _ = StageTimes(times).rows  # before hours of training, not after
    except ValueError as error:
        sys.exit(f"error: {error}")
    run_steps([(command.stage, partial(run, command)) for command in commands], times)


def run_steps(steps: Iterable[tuple[str, Callable[[], object]]], times: Path | None) -> None:
    """Run titled steps in turn; note each one's time as it ends, so that a kill loses one at most.

    Args:
        steps: title and what to run.
        times: file of stage times, which is shown at the end; None keeps none.
    """
    times = times if first_rank() else None
    taken = StageTimes(times)
    for title, step in steps:
        say(title)
        with taken.stage(title):
            step()
    if times is not None:
        say(f"Times of all stages ({times}):\n{taken.summary()}")


def prepare_spawned() -> None:
    """Register what is ours in a process that ESPnet spawned (one per GPU).

    Such a process imports the main module as `__mp_main__` without passing through `main`.
    """
    from harness_bench.asr.espnet.register import register  # noqa: PLC0415 - heavy
    from harness_bench.asr.espnet.resume import save_atomically  # noqa: PLC0415

    register()
    save_atomically()


if __name__ == "__mp_main__":
    prepare_spawned()

if __name__ == "__main__":
    main()
