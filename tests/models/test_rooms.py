"""Every type in every room: the same hidden states, whoever asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.model_rooms import differences
from harness_bench.core.registry import modules_in
from harness_bench.models import frozen
from harness_bench.results.efficiency import _measure
from tests.models.tiny_types import MAKERS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.s3prl, pytest.mark.espnet]
QUANTISED = 1 / 32_000  # of the range: half a step of 16 bits, and float32


@pytest.mark.parametrize("kind", [name for name in modules_in(frozen.TYPES) if name != "fbank"])
def test_every_type_serves_every_room(kind: str, tmp_path: Path) -> None:
    """Heads, labels, ASR from audio and from features on disk; and costs can be measured."""
    path = MAKERS[kind](tmp_path / "model")
    found = differences(path, tmp_path)
    assert max(found.batch, found.upstream, found.teacher, found.asr) < 1e-5
    assert found.cached < QUANTISED
    costs = _measure(path)
    assert costs.parameters == frozen.parameter_count(path) > 0
    assert costs.macs_per_second > 0
    assert costs.disk_bytes > costs.parameters
