"""Run ESPnet commands with the frontend `harness` known to them.

`python -m harness_bench.espnet_plugin.run -m espnet2.bin.asr_train ARGS` is
`python -m espnet2.bin.asr_train ARGS` with our frontend. Several commands joined by `--then` run
one after the other in one process, because importing ESPnet takes 10 to 30 seconds; `--stage TEXT`
before `-m` names a command in the log.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_bench.progress import StageTimes, say

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE = "[--stage TEXT] -m MODULE [ARGUMENT ...] [--then [--stage TEXT] -m MODULE ...]"


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
        from harness_bench.espnet_plugin.register import register  # noqa: PLC0415 - heavy

        register()
    module = importlib.import_module(command.module)
    if not hasattr(module, "main"):
        raise ValueError(f"{command.module} is not a program: it has no `main`. Usage: {_USAGE}")
    sys.argv = [str(module.__file__), *command.arguments]
    try:
        module.main()
    except SystemExit as end:
        if end.code:  # A program that ends well by sys.exit does not end those behind it.
            raise


def main() -> None:
    """Run the commands of the command line in turn; the first error ends the run."""
    try:
        commands = parse(sys.argv[1:])
    except ValueError as error:
        sys.exit(f"error: {error}")
    times = StageTimes()
    for command in commands:
        say(command.stage)
        with times.stage(command.stage):
            run(command)


if __name__ == "__mp_main__":
    # A process that ESPnet spawned (one per GPU) starts here, without passing through `main`.
    from harness_bench.espnet_plugin.register import register

    register()

if __name__ == "__main__":
    main()
