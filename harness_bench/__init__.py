"""Arabic self-supervised speech models: pretraining, self-distillation and their benchmark.

The names of `__all__` are the public API; docs/api.md shows each in a few lines. Nothing of it is
imported before its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness_bench.core.version import __version__

if TYPE_CHECKING:
    from harness_bench.asr.transcribe.transcriber import transcribe
    from harness_bench.corpora.prepare import prepare
    from harness_bench.cuts.store import read_cuts
    from harness_bench.demo.synth import synthesise
    from harness_bench.leaderboard.build import build as build_leaderboard
    from harness_bench.leakage.audit import audit
    from harness_bench.models.frozen import hidden_states, load_model
    from harness_bench.pretrain.family import train_family
    from harness_bench.probing.run import probe
    from harness_bench.probing.s3prl.predict import predict
    from harness_bench.results.record import Result
    from harness_bench.results.record import load_results as read_results
    from harness_bench.scoring.score import compare, score

# Public name -> where it is defined.
_PUBLIC = {
    "Result": "results.record:Result",
    "audit": "leakage.audit:audit",
    "build_leaderboard": "leaderboard.build:build",
    "compare": "scoring.score:compare",
    "hidden_states": "models.frozen:hidden_states",
    "load_model": "models.frozen:load_model",
    "predict": "probing.s3prl.predict:predict",
    "prepare": "corpora.prepare:prepare",
    "probe": "probing.run:probe",
    "read_cuts": "cuts.store:read_cuts",
    "read_results": "results.record:load_results",
    "score": "scoring.score:score",
    "synthesise": "demo.synth:synthesise",
    "train_family": "pretrain.family:train_family",
    "transcribe": "asr.transcribe.transcriber:transcribe",
}

__all__ = [
    "Result",
    "__version__",
    "audit",
    "build_leaderboard",
    "compare",
    "hidden_states",
    "load_model",
    "predict",
    "prepare",
    "probe",
    "read_cuts",
    "read_results",
    "score",
    "synthesise",
    "train_family",
    "transcribe",
]


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
