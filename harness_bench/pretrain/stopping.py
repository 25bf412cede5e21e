"""End a run well when the cluster asks for it: save first, then go."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@dataclass
class Request:
    """Whether this process was asked to end."""

    asked: bool = False


@contextmanager
def on_sigterm() -> Iterator[Request]:
    """Take SIGTERM as a request for as long as the block runs, instead of dying of it.

    SLURM and Kubernetes send it some seconds before they kill. Python hands signals to the main
    thread alone; elsewhere nothing is changed.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        request.asked = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
