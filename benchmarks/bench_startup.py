"""How long `harness-bench --help` takes: what importing torch alone would cost it."""

import subprocess
import sys

from benchmarks.measure import Rows, in_turn, lower_is_better, versus
from harness_bench.core.log import cpu_seconds


def measure(*, tiny: bool = False) -> Rows:
    """Yield CPU seconds of a whole process."""
    times = in_turn(
        lambda: _python("-m", "harness_bench.cli", "--help"),
        lambda: _python("-c", "import torch"),
        repeats=1 if tiny else 3,
        clock=cpu_seconds,
    )
    what = "start-up, `harness-bench --help` against `python -c 'import torch'`"
    yield lower_is_better("startup_vs_import_torch", *times, "CPU s", note=versus(what, "torch"))


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
