"""Classify audio with an exported head, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.audio.io import read_waveform
from harness_bench.models.runtime import Graph
from harness_bench.probing.s3prl.predict import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def predict(folder: Path, audio: Iterable[str | Path]) -> Iterator[Answer]:
    """Classify audio files one by one, as `probing.s3prl.predict` does with the parent."""
    graph = Graph(folder, "head")
    for path in map(Path, audio):
        try:
            (probs,) = graph.alone(read_waveform(path))
            if not np.isfinite(probs).all():
                raise ValueError("its probabilities are not finite: the head is broken")  # noqa: TRY301
        except ValueError as error:
            yield Answer(path, {}, getattr(error, "detail", str(error)))
        else:
            pairs = zip(graph.config.classes, probs[0].tolist(), strict=True)
            yield Answer(path, dict(sorted(pairs, key=lambda pair: -pair[1])))
