"""A word on the terminal while a verb imports heavy libraries, which takes seconds."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 2.0  # seconds without a word
_PERIOD = 0.5  # seconds between two looks
_LOOKS = 60  # a verb that is at work longer has said something
_IMPORT = "<frozen importlib._bootstrap>"  # file of the frames of a running import


@contextmanager
def told_while_loading(patience: float = PATIENCE) -> Iterator[None]:
    """Say on a terminal, once, that libraries are loaded, where that takes longer than `patience`.

    The first start after an installation compiles them, and may take half a minute.
    """
    if not sys.stderr.isatty():
        yield
        return
    over, main = threading.Event(), threading.get_ident()

    def look() -> None:
        over.wait(patience)
        for _ in range(_LOOKS):
            if over.is_set():
                return
            if _imports(main):
                from tqdm import tqdm

                tqdm.write("loading libraries ...", file=sys.stderr)  # above a bar that runs
                return
            over.wait(_PERIOD)

    threading.Thread(target=look, name="loading", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _imports(thread: int) -> bool:
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
