"""Rates and seeds as jobs of their own leave what a grid in one job leaves, to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.core.config import build
from harness_bench.study.config import StudyConfig
from harness_bench.study.opened import Study
from harness_bench.study.plan import plan
from tests.study.chain import run_here

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.s3prl
@pytest.mark.usefixtures("warm_python")
def test_trials_are_those_of_the_grid(
    tone_corpus: Path, tiny_checkpoint: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """And the grid that collects them trains nothing: it tests the head that dev chose."""
    values = {
        "name": "x", "title": "X", "corpora": {"tones": {"cuts": str(tone_corpus)}},
        "models": [{"name": "tiny", "checkpoint": str(tiny_checkpoint)}],
        "tasks": [{"type": "did", "corpus": "tones"}],
        "heads": {
            "learning_rates": [1e-2, 1e-3], "seeds": [1, 2],
            "probe": {"total_steps": 2, "eval_step": 2, "batch_size": 8, "hidden": 8},
        },
        "board": {"costs": False},
    }  # fmt: skip
    config = build(StudyConfig, values, source="x")
    found: dict[bool, Any] = {}
    for apart in (False, True):
        out = tmp_path / str(apart)
        heads = replace(config.heads, apart=apart)
        study = Study(
            config=replace(config, heads=heads), given=config, base=tmp_path, data=tmp_path, out=out
        )
        jobs = {name: job for name, job in plan(study).items() if name != "board"}
        ended = run_here(out, jobs)
        assert [each.why for each in ended.values() if not each.good] == []
        found[apart] = ended["probe did tiny"].outcome
        logs = {path.parent.name: path.read_text().count("-m train") for path in out.glob(
            "probes/did/tiny/*/log.txt")}  # fmt: skip
        assert logs.pop("lr0.01.seed1") == 1
        assert {*logs.values()} == {1}
        assert len(logs) == 2
        assert not (out / "probes" / "did" / "tiny" / "features").exists()
        said = capsys.readouterr().err
        assert "may do better" in said, "a job says what speaks against its grid"
    assert found[True]["dev"] == found[False]["dev"]
    for name in ("test_mean", "test_deviation", "learning_rate", "layer_weights"):
        assert found[True]["outcome"][name] == found[False]["outcome"][name]
