"""Tell a worker that ends in time, at its walltime say, from one that its job has killed."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, override

from distributed import Worker, WorkerPlugin

from harness_bench.study.job import StudyJob, cut_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_running: list[tuple[Path, StudyJob]] = []  # of this process


@contextmanager
def running(out: Path, job: StudyJob) -> Iterator[None]:
    """Know a job as the one that runs in this worker."""
    _running[:] = [(out, job)]
    try:
        yield
    finally:
        _running.clear()


class EndedEarly(WorkerPlugin):
    """Notes as its worker closes that the running job is not to blame."""

    @override
    def setup(self, worker: Worker) -> None:
        # Ctrl-C is for the driver, which ends its workers without a traceback of each.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, lambda *_: None)  # children have their own again

    @override
    def teardown(self, worker: Worker) -> None:
        for out, job in _running:
            cut_file(out, job).touch()
