"""What a checkpoint costs is measured once, and again when anything that decides it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.core.files import read_json, write_json
from harness_bench.study import run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_measured_once_and_again_after_a_change(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second demo keeps the figures; another machine or checkpoint gets its own."""
    kept = tmp_path / "tiny.json"
    first = run.measure(tiny_checkpoint, kept)
    assert first.real_time_factor is not None
    assert first.real_time_factor > 0
    assert first.disk_bytes == (tiny_checkpoint / "model.safetensors").stat().st_size

    marked = first.model_copy(update={"peak_bytes": 1})  # tells kept figures from measured ones
    old = {"decided_by": read_json(kept)["inputs"], "costs": marked.model_dump()}
    write_json(kept, old)  # as versions before kept them
    assert run.measure(tiny_checkpoint, kept) == marked

    monkeypatch.setattr(run, "hardware", lambda: "another machine")
    again = run.measure(tiny_checkpoint, kept)
    assert again.peak_bytes != 1
    assert read_json(kept)["inputs"]["hardware"] == "another machine"
