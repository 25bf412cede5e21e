"""What the recipe of QASR decoded becomes results of the study, in the worker's own process."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.core.files import write_json
from harness_bench.results.record import load_result
from harness_bench.study.job import JOBS, Place, StudyJob
from harness_bench.study.kinds import publish_broadcast
from harness_bench.study.opened import SAVED
from tests.asr.decoded import corpus, decode
from tests.asr.test_score import SAID, training

if TYPE_CHECKING:
    from pathlib import Path


def test_a_decoded_set_is_a_result_named_as_the_study_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MGB-3 against all its annotators. A process of its own would cost seconds of imports."""
    cuts = corpus("mgb3", tmp_path)
    asr = tmp_path / "asr"
    asr.mkdir()
    cuts.rename(asr / "data")
    training(asr / "train", frontend="default")
    decode(asr / "data", "mgb3_dev", asr / "train" / "decoded", SAID, "")
    (tmp_path / JOBS).mkdir()
    write_json(tmp_path / SAVED, {"called": "mine.toml"})
    settings: dict[str, Any] = {
        "asr": "asr m", "expdir": "asr", "sets": ["mgb3_dev"], "asr_model": "ave.pth",
        "inference_config": "", "profile": "", "synthetic": False, "times": True, "seed": 5,
        "suffix": ".seed5",
        "scored": [{"corpus": "MGB-3", "cuts": "asr/cuts/mgb3", "split": "dev", "part": None}],
        "rows": {"m": {"kind": "baseline", "made_by": "", "audit": "audit", "heard": "none"}},
    }  # fmt: skip
    job = StudyJob(name="publish m", kind="x", folder="results", settings=settings)
    found = {"asr m": {"model": "m", "asr": "asr/train"}}
    monkeypatch.setattr(subprocess, "Popen", None)
    (name,) = publish_broadcast.run(Place(tmp_path, job, found))["results"]
    result = load_result(tmp_path / "results" / name)
    named = (result.model, result.model_kind, result.corpus, result.split, result.seeds)
    assert named == ("m", "baseline", "MGB-3", "dev.seed5", (5,))
    assert result.main.value == pytest.approx(
        100 * 2 / 6
    )  # as tests/asr/test_score.py counts by hand
    assert len(result.layer_weights) == 4
    assert (tmp_path / "results" / str(result.predictions)).is_file()
