"""Arabic self-supervised speech models: pretraining, self-distillation and their benchmark.

The names of `__all__` are the public API; docs/api.md shows each in a few lines. Nothing of it is
imported before its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness_bench.core.version import __version__

if TYPE_CHECKING:
    from harness_bench.corpora.prepare import PrepareConfig, prepare
    from harness_bench.cuts.store import read_cuts
    from harness_bench.models.checkpoint import load_hubert as load_model

# Public name -> where it is defined.
_PUBLIC = {
    "PrepareConfig": "corpora.prepare:PrepareConfig",
    "load_model": "models.checkpoint:load_hubert",
    "prepare": "corpora.prepare:prepare",
    "read_cuts": "cuts.store:read_cuts",
}

__all__ = ["PrepareConfig", "__version__", "load_model", "prepare", "read_cuts"]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
