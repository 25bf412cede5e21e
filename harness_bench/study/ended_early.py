"""What each worker of a study is made to be: its end in time told, its memory kept as by hand."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, override

from distributed import Worker, WorkerPlugin

from harness_bench.study.job import StudyJob, cut_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Where glibc gets to by itself as large blocks are freed; by the numbers of mallopt.
_TRIM, _MMAP = (-1, 64 << 20), (-3, 32 << 20)
_running: list[tuple[Path, StudyJob]] = []  # of this process


@contextmanager
def running(out: Path, job: StudyJob) -> Iterator[None]:
    """Know a job as the one that runs in this worker."""
    _running[:] = [(out, job)]
    try:
        yield
    finally:
        _running.clear()


def keep_memory() -> None:
    """Undo Dask's setting by which workers, and all they start, give every freed block back.

    It makes trainings fault their pages in anew at each update: a quarter of the time, or half.
    """
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for threshold in (_TRIM, _MMAP) if hasattr(libc, "mallopt") else ():
            libc.mallopt(*threshold)


class EndedEarly(WorkerPlugin):
    """Notes as its worker closes that the running job is not to blame."""

    @override
    def setup(self, worker: Worker) -> None:
        keep_memory()
        # Ctrl-C is for the driver, which ends its workers without a traceback of each. A terminal
        # sends it to a whole process group: a program of a job would end, and the job be told as
        # failed.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, lambda *_: None)  # children have their own again
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)

    @override
    def teardown(self, worker: Worker) -> None:
        for out, job in _running:
            cut_file(out, job).touch()
