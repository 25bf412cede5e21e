"""The variants of Figure 2 differ in what the figure compares and in nothing else."""

import itertools
from collections.abc import Hashable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from harness_bench.leaderboard.curves import load_curves
from hypothesis import given
from hypothesis import strategies as st
from lhotse.cut import Cut

from harness_bench.core.files import read_json, write_json
from harness_bench.core.stage_times import StageTimes
from harness_bench.models.checkpoint import load_hubert
from harness_bench.pretrain import figure2
from harness_bench.pretrain.config import (
    FamilyConfig,
    IterationConfig,
    checkpoint_folder,
    load_family,
)
from harness_bench.pretrain.curves import Curve
from harness_bench.pretrain.figure2 import MAX_POINTS, PLOT, REPORT, TABLE, compare, compare_trained
from harness_bench.pretrain.monitor import LOG_FILE
from tests.pretrain.conftest import written
from tests.tiny import DEFAULTS, TEACHERS

TINY = (
    DEFAULTS.replace("16, 16, 32]", "16, 16, 24]")  # so that svd has a projection to make
    + "log_interval = 1\ntensorboard = false\n"
    + TEACHERS
    + """
[[iterations]]
name = "student"
teacher = "second"
model = { encoder_layers = 1 }
labels = { source = "hidden", layer = 2 }
[[iterations]]
name = "student_pca8"
teacher = "second"
model = { encoder_layers = 1, encoder_embed_dim = 16 }
labels = { source = "hidden", layer = 2, pca_dim = 8 }
pretrain = { init = "svd", lr = 1e-3 }
"""
)
CONF = Path(__file__).parents[2] / "egs" / "harness" / "pretrain1" / "conf"


@pytest.fixture
def family(tmp_path: Path) -> FamilyConfig:
    return written(tmp_path, TINY)


def settings_of(step: IterationConfig) -> dict[Hashable, Any]:
    return pd.json_normalize(asdict(step)).iloc[0].to_dict()


def test_variants_differ_in_the_intended_fields_alone(family: FamilyConfig) -> None:
    """A line of the figure must owe its course to PCA or to the start, and to nothing else."""
    found = compare(family)
    base, changes = settings_of(family.iterations[2]), {}
    for variant in found.variants:
        settings = settings_of(variant.step)
        different = {name: new for name, new in settings.items() if new != base[name]}
        changes[different.pop("name")] = different
    average = {"pretrain.init": "block_average"}
    assert changes == {
        "student_random": {},
        "student_average": average,
        "student_pca_random": {"labels.pca_dim": 8},  # as the other student of this teacher
        "student_pca_average": {"labels.pca_dim": 8, **average},
    }
    assert [variant.pca for variant in found.variants] == [False, False, True, True]
    names = [step.name for step in found.family.iterations]
    assert names == ["first", "second", *changes]
    assert found.family.iterations[:2] == family.iterations[:2]


def test_thin_students_start_by_svd_and_say_so(family: FamilyConfig) -> None:
    """Block averages do not fit; its own PCA is kept in one pair and dropped in the other."""
    found = compare(family, student="student_pca8")
    assert [variant.step.pretrain.init for variant in found.variants] == ["random", "svd"] * 2
    assert [variant.step.labels.pca_dim for variant in found.variants] == [None, None, 8, 8]
    assert found.variants[1].title == "no PCA, averaged blocks, projected (SVD)"
    assert found.variants[2].title == "PCA (8 dims), random start"
    assert compare(family, student="student", pca_dim=5).variants[2].step.labels.pca_dim == 5


def test_pca_dimension_by_default(family: FamilyConfig, tmp_path: Path) -> None:
    """Half of the teacher's width where nothing in the family says it; a share stays a share."""
    assert compare(family, student="second").variants[2].step.labels.pca_dim == 16
    shares = written(tmp_path, TINY.replace("pca_dim = 8", "pca_variance = 0.9"))
    variant = compare(shares, student="student").variants[2]
    assert variant.step.labels.pca_variance == 0.9
    assert variant.step.labels.pca_dim is None
    assert variant.title == "PCA (0.9 of variance), random start"


def test_mistakes_are_explained(family: FamilyConfig, tmp_path: Path) -> None:
    for name in ("third", "first"):
        with pytest.raises(ValueError, match=f"'{name}' is no iteration with a teacher.*second"):
            compare(family, student=name)
    with pytest.raises(ValueError, match="33 is more than the 32 dimensions of teacher 'second'"):
        compare(family, pca_dim=33)
    wide = written(tmp_path, TINY.replace("encoder_embed_dim = 16", "encoder_embed_dim = 64"))
    with pytest.raises(ValueError, match="encoder_embed_dim is 64, more than the teacher's 32"):
        compare(wide, student="student_pca8")


def test_figure_from_audio_to_files(family: FamilyConfig, cuts: list[Cut], tmp_path: Path) -> None:
    """Labels once per label set, then the files; a second call trains nothing and draws again."""
    out, found, times = tmp_path / "out", compare(family), StageTimes()
    report = figure2.make_figure(found, cuts, out, times=times, accelerator="cpu")
    assert (out / PLOT).read_bytes().startswith(b"\x89PNG")
    assert read_json(out / REPORT) == report
    labelled = {path.parent.name for path in out.glob("*/labels")}
    assert labelled == {"first", "second", "student_random", "student_pca_random"}
    rows = {row["name"]: row for row in report["variants"]}
    assert list(rows) == [variant.step.name for variant in found.variants]
    for name, row in rows.items():
        assert row["final_share_of_entropy"] == pytest.approx(
            row["final_loss_bits"] / row["label_entropy_bits"]
        )
        assert row["updates"] == 3
        assert 1 <= row["updates_to_common_share"] <= 3
        assert 1 <= row["updates_to_level_on_these_labels"] <= 3
        assert load_hubert(checkpoint_folder(out, name)).config.encoder_layers == 1
    table = pd.read_csv(out / TABLE)
    assert len(table) == 4 * 3
    log = pd.read_json(out / "student_average" / "run" / LOG_FILE, lines=True)
    ours = table["loss_bits"][table["variant"] == "student_average"]
    assert ours.tolist() == pytest.approx(log["loss_masked"].tolist(), rel=1e-5)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    (out / PLOT).unlink()
    figure2.make_figure(found, cuts, out, times=StageTimes(), accelerator="cpu")
    assert (out / PLOT).is_file()
    # Whoever has trained the same students draws the same figure by their names alone.
    (named := tmp_path / "named").mkdir()
    again = compare_trained(found.family, [variant.step.name for variant in found.variants])
    assert again.variants == found.variants
    assert figure2.draw_figure(again, out, named) == report | {"student": "student_random"}
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_the_papers_family_holds_its_figure_2() -> None:
    """Rows of the study, drawn without another training: PCA or not, both starts."""
    family = load_family(CONF / "family.toml")
    names = [f"harness_s_65m{end}" for end in ("", "_average", "_pca", "_pca_average")]
    found = compare_trained(family, names)
    lines = [(variant.pca, variant.step.pretrain.init) for variant in found.variants]
    assert lines == [*itertools.product((False, True), ("random", "block_average"))]
    assert found.teacher == "harness_l_it2"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["harness_s_65m", "harness_s"], "'harness_s' differs from 'harness_s_65m'"),
        (["harness_l_it1"], "students of one teacher"),
        (["harness_xs"], "'harness_xs' is no iteration"),
        ([], "students of one teacher"),
    ],
)
def test_lines_that_differ_in_more_are_refused(names: list[str], told: str) -> None:
    """Their curves would be taken for the work of PCA or of the start."""
    with pytest.raises(ValueError, match=told):
        compare_trained(load_family(CONF / "family.toml"), names)


def curve(lines: int, name: str = "curve") -> Curve:
    updates = 10 * np.arange(1, lines + 1)
    return Curve(name, updates, 6 - np.log10(updates), entropy=5.0)


@given(lines=st.integers(1, 1000))
def test_points_are_of_the_smoothed_curve(lines: int) -> None:
    """No more than a plot shows, both ends, none twice, and each where the curve has it."""
    made = curve(lines)
    taken = figure2.points(made)
    updates = taken["updates"]
    assert len(updates) == min(lines, MAX_POINTS)
    assert (updates[0], updates[-1]) == (10, 10 * lines)
    gaps = {b - a for a, b in itertools.pairwise(updates)}
    assert not gaps or (min(gaps) > 0 and max(gaps) - min(gaps) <= 10)  # even
    at = [update // 10 - 1 for update in updates]
    assert taken["loss_bits"] == pytest.approx(made.smoothed[at].tolist(), rel=1e-5)
    assert taken["share_of_entropy"] == pytest.approx(
        [loss / 5 for loss in taken["loss_bits"]], rel=1e-4
    )


def test_the_leaderboard_reads_what_is_written(tmp_path: Path) -> None:
    """Across the border between the two: file to page, without a word about keys in between."""
    found = compare(load_family(CONF / "figure2_tiny.toml"))
    # The example shows the paper's own two starts, not the stand-in for thin students.
    assert [v.step.pretrain.init for v in found.variants] == ["random", "block_average"] * 2
    report = figure2.measure(found, [curve(300 + n, v.title) for n, v in enumerate(found.variants)])
    write_json(tmp_path / "figure2.json", report)
    (read,), problems = load_curves(tmp_path)
    assert not problems
    assert [variant.title for variant in read.variants] == [v.title for v in found.variants]
    assert [variant.name for variant in read.variants] == [v.step.name for v in found.variants]
    assert [variant.curve.updates[-1] for variant in read.variants] == [3000, 3010, 3020, 3030]
    assert list(read.variants[0].curve.loss_bits) == report["variants"][0]["curve"]["loss_bits"]
    assert read.caveats == tuple(report["caveats"])
