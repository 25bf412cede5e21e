"""The `harness-bench` command: one verb per stage; parsing and printing, no work.

Nothing heavy is imported before a verb runs, so that `--help` answers at once.
"""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from harness_bench.cli import corpora, evaluate, models, results, score, start, study, train
from harness_bench.cli.help import Verbs
from harness_bench.cli.loading import told_while_loading
from harness_bench.cli.options import opt
from harness_bench.core.extras import explain
from harness_bench.core.process import HOW_TO_RESUME, STOPPED, share_cores
from harness_bench.core.sanitize import escaped
from harness_bench.core.version import __version__

app = Verbs(
    name="harness-bench",
    help=(
        "Pretrain, distil, evaluate and compare Arabic self-supervised speech models.\n\n"
        "`harness-bench demo` runs every stage on synthetic speech. On your own data the stages "
        "are: prepare, family (or labels and pretrain), export, probe, score, leaderboard. "
        "`study` runs all of them for many models and tasks. `harness-bench VERB --help` shows "
        "a verb's options and examples."
    ),
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The panels of `--help`, in the order in which one uses them.
for module in (start, corpora, train, models, evaluate, score, results, study):
    app.add_typer(module.verbs)


@app.callback(invoke_without_command=True)
def root(*, version: Annotated[bool, opt("Print the version.", "--version")] = False) -> None:
    """Parse the options that stand before the verb."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; a user's mistake is one message, not a traceback."""
    share_cores()
    try:
        with told_while_loading():
            app()
    except (ValueError, RuntimeError, OSError) as error:
        typer.echo(f"harness-bench: {escaped(str(error))}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (way_out := explain(error)) is None:
            raise
        typer.echo(f"harness-bench: {way_out}", err=True)
        sys.exit(2)
    except SystemExit as over:
        if over.code == STOPPED:
            # SLURM ends all ranks once one has gone; the status is to say that nothing failed.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            typer.echo(f"harness-bench: {HOW_TO_RESUME}.", err=True)
        raise
