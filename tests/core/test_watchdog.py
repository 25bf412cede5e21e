"""A process that hangs ends by itself and says where; one that is alive is left alone."""

import subprocess
import sys
import time

from harness_bench.core.watchdog import HUNG, watchdog

SCRIPT = """
import time
from harness_bench.core.watchdog import watchdog
def waits_for_ever():
    time.sleep(60)
with watchdog(0.6, "update") as alive:
    for _ in range(4):
        time.sleep(0.3); alive()
    print("was alive", flush=True)
    waits_for_ever()
"""


def test_silence_ends_the_process_and_signs_of_life_do_not() -> None:
    """1.2 s of work in steps of 0.3 s pass; then the stack of what hangs is told."""
    begun = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=50, check=False
    )
    assert found.returncode == HUNG
    assert found.stdout == "was alive\n"
    assert "No update for 0.6 s" in found.stderr
    assert "in waits_for_ever" in found.stderr
    assert time.monotonic() - begun < 40


def test_a_block_that_ends_is_no_longer_watched() -> None:
    """The thread would end pytest otherwise."""
    for seconds in (0.2, None):
        with watchdog(seconds, "update") as alive:
            alive()
    time.sleep(0.6)
