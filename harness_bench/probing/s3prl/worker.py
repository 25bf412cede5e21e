"""Train and test many heads in one process: `python -m harness_bench.probing.s3prl.worker`.

Each head is s3prl's own `main` on its own command line, with its output in its own log, and comes
out as it would from a process of its own, to the bit. Together they start once, and share the
frozen upstream with the features it keeps and the audio of the splits (see `head.data`).
`core.process.Worker` gives the orders.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import Any

from harness_bench.probing.s3prl.arguments import complete_command, tell
from harness_bench.probing.s3prl.hook import activate
from harness_bench.probing.s3prl.past import upstream_of

# At module level, so that spawned DataLoader workers, which import this module again, have it too.
activate()
_OUTPUTS = (1, 2)  # file descriptors


def main() -> None:
    """Do orders from standard input, one after the other, until it ends."""
    with os.fdopen(os.dup(1), "w") as answers:
        for order in _orders():
            with open(order["log"], "a", encoding="utf-8") as log:  # noqa: PTH123 - for its number
                for output in _OUTPUTS:
                    os.dup2(log.fileno(), output)
            code = _exit_code(order["arguments"])
            sys.stdout.flush()
            answers.write(json.dumps({"code": code}) + "\n")
            answers.flush()


def _orders() -> Iterator[dict[str, Any]]:
    """Yield orders; end the process at once when whoever gives them is gone."""
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        # A head that nobody waits for would be in the way of the next try in its folder.
        os._exit(1)

    Thread(target=listen, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def _exit_code(arguments: list[str]) -> int:
    """Run s3prl's command line as a process of its own would; return its exit code."""
    sys.argv[1:] = arguments
    try:
        complete_command()
        _s3prl()()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 - as Python does with what nobody catches
        tell(type(error), error, error.__traceback__)
        return 1
    return 0


def _s3prl() -> Callable[[], None]:
    from s3prl.downstream.runner import Runner  # noqa: PLC0415 - heavy
    from s3prl.run_downstream import main as s3prl_main  # noqa: PLC0415 - heavy

    share_upstream(Runner)
    run: Callable[[], None] = s3prl_main
    return run


def share_upstream(runner: Any) -> None:
    """Let all heads that s3prl's `Runner` class trains have one frozen upstream; twice is once.

    Opening ours draws no random numbers that a head could miss. s3prl's own do, or are trained.
    """
    from harness_bench.probing.s3prl.upstream import FrozenExpert  # noqa: PLC0415 - imports torch

    stock = runner._get_upstream  # noqa: SLF001 - nothing public stands between
    if hasattr(stock, "kept"):
        return
    kept: dict[tuple[Any, ...], Any] = {}

    def get_upstream(self: Any) -> Any:
        given = self.args
        # By its digest: a folder may hold other weights by now.
        key = (*upstream_of(given).values(), given.device)
        if given.upstream_trainable or "Upstream" in self.init_ckpt:
            return stock(self)
        if key in kept:
            return kept[key]
        entry = stock(self)
        if isinstance(entry.model, FrozenExpert):
            kept[key] = entry
        return entry

    get_upstream.kept = kept  # type: ignore[attr-defined]
    runner._get_upstream = get_upstream  # noqa: SLF001


if __name__ == "__main__":
    main()
