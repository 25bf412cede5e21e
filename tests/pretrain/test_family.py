"""A family of tiny models from audio to checkpoints, and what a second call does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from harness_bench.cli import app
from harness_bench.core.stage_times import StageTimes
from harness_bench.cuts.store import write_cuts
from harness_bench.models.checkpoint import load_config, read_facts
from harness_bench.pretrain.config import load_family
from harness_bench.pretrain.family import run_family
from harness_bench.pretrain.plan import plan
from harness_bench.study.config import HERE
from tests.pretrain.labels.conftest import make_cuts
from tests.tiny import DEFAULTS, TEACHERS

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut

TINY = f"""{DEFAULTS}{TEACHERS}
[[iterations]]
name = "student"
teacher = "second"
model = {{ encoder_layers = 1 }}
labels = {{ source = "hidden", layer = 2, pca_dim = 8 }}
pretrain = {{ init = "block_average" }}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "family.toml"
    path.write_text(text)
    return path


def test_chain_of_iterations(cuts: list[Cut], tmp_path: Path) -> None:
    """MFCC -> middle layer -> last layer with PCA: each stage feeds the next; nothing is redone."""
    family = load_family(write(tmp_path, TINY))
    times = StageTimes()
    made = run_family(family, cuts, tmp_path / "out", times=times, accelerator="cpu")
    assert list(made) == ["first", "second", "student"]
    assert load_config(made["student"]).encoder_layers == 1
    assert read_facts(made["student"])["config"]["labels"]["pca_dim"] == 8
    assert len(times.rows) == 6
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    run_family(family, cuts, tmp_path / "out", times=StageTimes(), accelerator="cpu")
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_only_needs_its_teacher(cuts: list[Cut], tmp_path: Path) -> None:
    """One iteration alone says what is missing when its teacher was not made."""
    family = load_family(write(tmp_path, TINY))
    with pytest.raises(ValueError, match="not a checkpoint folder"):
        run_family(family, cuts, tmp_path, times=StageTimes(), only="second", accelerator="cpu")
    with pytest.raises(ValueError, match="no iteration 'third'; it has first, second, student"):
        run_family(family, cuts, tmp_path, times=StageTimes(), only="third")


def test_presets_can_be_family_members(tmp_path: Path) -> None:
    """The paper's family is three presets and two teachers; any key can be overridden."""
    text = """
name = "paper"
[[iterations]]
preset = "harness_l_it1"
[[iterations]]
preset = "harness_l_it2"
teacher = "harness_l_it1"
[[iterations]]
preset = "harness_st"
teacher = "harness_l_it2"
pretrain = { max_seconds = 30.0 }
"""
    rows = plan(load_family(write(tmp_path, text)))
    assert [row["parameters_as_fairseq_counts"] for row in rows] == [
        316_993_408, 316_993_408, 20_081_536,
    ]  # fmt: skip
    assert rows[2]["audio_hours_seen_at_most"] == round(300_000 * 30 * 8 / 3600, 1)


def test_embedded_family_is_the_papers_in_miniature() -> None:
    """The demo has both iterations and the three students, each student from the last layer."""
    family = load_family(HERE / "family.toml")
    by_name = {step.name: step for step in family.iterations}
    assert list(by_name) == [
        "harness_it1", "harness_it2", "harness_s", "harness_st", "harness_st_pca",
    ]  # fmt: skip
    teacher = by_name["harness_it2"]
    assert by_name["harness_it1"].labels.source == "mfcc"
    assert teacher.labels.layer is not None
    assert 0 < teacher.labels.layer < teacher.model.encoder_layers
    for name in ("harness_s", "harness_st", "harness_st_pca"):
        student = by_name[name]
        assert student.teacher == "harness_it2"
        assert student.labels.layer == teacher.model.encoder_layers
        assert student.model.encoder_layers < teacher.model.encoder_layers
    assert (
        by_name["harness_st"].model.encoder_embed_dim < by_name["harness_s"].model.encoder_embed_dim
    )
    assert by_name["harness_st_pca"].labels.pca_dim is not None


FAMILY = """
name = "f"

[[iterations]]
preset = "harness_l_it1"
"""
VERBS = {
    "labels": ["labels", "harness_l_it1", "corpus", "out", "--split", "dev"],
    "pretrain": ["pretrain", "harness_l_it1", "corpus", "made", "out", "--split", "dev"],
    "family": ["family", "family.toml", "corpus", "out", "--split", "dev"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_dev_is_refused(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message with the way out, and nothing written."""
    cuts = make_cuts(tmp_path / "audio", [16_000] * 4)
    for split, part in {"train": cuts[:2], "dev": cuts[2:]}.items():
        write_cuts(tmp_path / "corpus", split, part)
    (tmp_path / "family.toml").write_text(FAMILY)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "report.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness-bench", *VERBS[verb]])
    with pytest.raises(SystemExit) as done:
        app.main()
    told = capsys.readouterr().err
    assert done.value.code == 2
    assert "corpus, split dev would train on 2 utterances" in told
    assert "allow_test_data" in told
    assert not (tmp_path / "out").exists()
