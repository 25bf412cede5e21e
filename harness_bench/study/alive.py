"""Signs of life: a file on the shared disk says where a process is, and that it lives.

A running job writes its progress into its state file, and touches it now and then; so does a driver
study.json. What has not been touched for long, or whose process is gone, was cut off.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from harness_bench.core.files import atomic_path
from harness_bench.core.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

BEAT = 15.0  # seconds between two signs of life
SILENT = 120.0  # seconds without one that mean the end; network disks may show files a minute late
_PROGRESS = 1.0  # seconds between two writings of progress, at least


class Alive:
    """Keeps a file that says that its process lives, and how far it is.

    While the block runs, a thread touches the file every `BEAT` seconds, and writes what
    `progress` was told once a second at most.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.facts = {**facts, "host": socket.gethostname(), "pid": os.getpid()}
        self._told: dict[str, Any] | None = None
        self._first: tuple[float, float] | None = None  # what was done when it was told first
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="alive", daemon=True)

    def progress(self, done: float, of: float, unit: str = "") -> None:
        """Tell how far it is; costs next to nothing."""
        now = time.monotonic()
        first, since = self._first = self._first or (done, now)
        self._told = {"done": done, "of": of, "unit": unit}
        if done > first and now > since:
            self._told["per_second"] = (done - first) / (now - since)

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        touched = time.monotonic()
        while not self._over.wait(_PROGRESS):
            with suppress(OSError):  # a full disk, a server that is away: the work may go on
                if self._told is not None and self._told != self.facts.get("progress"):
                    self.facts["progress"] = self._told
                    self._write()
                elif time.monotonic() - touched < BEAT:
                    continue
                else:
                    os.utime(self.path)
                touched = time.monotonic()

    def _write(self) -> None:
        write_state(self.path, self.facts)


def write_state(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a state file whole; a power cut may tear it, for notes are what counts."""
    with atomic_path(path, sync=False) as partial:
        partial.write_text(json.dumps(facts), encoding="utf-8")


@contextmanager
def repeated(call: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call something every so many seconds while the block runs, in a thread; failures are told."""
    over = threading.Event()

    def calls() -> None:
        while not over.wait(seconds):
            try:
                call()
            except Exception as error:  # noqa: BLE001 - the next call may do better
                say(f"{type(error).__name__}: {error}; tried again in {seconds:g} s.")

    thread = threading.Thread(target=calls, name="repeated", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def kept_alive(path: Path) -> Iterator[None]:
    """Touch a file every `BEAT` seconds while the block runs."""

    def touch() -> None:
        with suppress(OSError):
            os.utime(path)

    with repeated(touch, BEAT):
        yield


def is_alive(path: Path, facts: Mapping[str, Any]) -> bool:
    """Tell whether the process that keeps a file lives: by its id on this host, else by its age."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    return age < SILENT and (facts.get("host") != socket.gethostname() or _exists(facts["pid"]))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
