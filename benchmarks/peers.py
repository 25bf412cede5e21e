"""The peer that may be absent: fairseq, installed beside the environment by `make peers`."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent.parent / "build" / "peers"
HOW = "fairseq is not installed; run `make peers`"


def fairseq_available() -> bool:
    """Whether `import fairseq` works; puts build/peers behind everything else that is imported."""
    if FOLDER.is_dir() and str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.util.find_spec("fairseq") is not None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep fairseq's warnings and its set-up of all logging from what runs beside it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
