"""Measures of labels against brute force, scikit-learn and cases whose answer is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse.supervision import AlignmentItem
from sklearn.metrics import mutual_info_score

from harness_bench.core.files import read_json
from harness_bench.pretrain.config import LabelConfig
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.quality import (
    LONGEST_RUN,
    PLOT_FILE,
    QUALITY_FILE,
    LabelCounts,
    agreement,
    label_quality,
    render_quality,
)
from harness_bench.pretrain.labels.store import REPORT_FILE
from harness_bench.pretrain.labels.units import aligned_units
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lhotse.cut import Cut

PHONES = "abcde"
PNG = b"\x89PNG\r\n\x1a\n"


def with_alignment(cut: Cut, phones: Sequence[str], level: str = "phone") -> Cut:
    """Give a cut one phone after the other, each for 100 ms."""
    items = [AlignmentItem(name, 0.1 * place, 0.1) for place, name in enumerate(phones)]
    cut.supervisions[0].alignment = {level: items}
    return cut


@pytest.fixture
def aligned(tmp_path: Path) -> list[Cut]:
    rng = np.random.default_rng(0)
    cuts = make_cuts(tmp_path / "audio", [16_000] * 8)
    return [with_alignment(cut, rng.choice(list(PHONES), 10).tolist()) for cut in cuts]


def joint_of(units: Sequence[int], labels: Sequence[int]) -> torch.Tensor:
    joint = torch.zeros(max(units) + 1, max(labels) + 1, dtype=torch.int64)
    for unit, label in zip(units, labels, strict=True):
        joint[unit, label] += 1
    return joint


pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=2, max_size=200).filter(
    lambda rows: len({unit for unit, _ in rows}) > 1
)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_measures_equal_brute_force_and_scikit_learn(rows: list[tuple[int, int]]) -> None:
    """Purity by counting majorities frame by frame; mutual information by scikit-learn."""
    units, labels = [unit for unit, _ in rows], [label for _, label in rows]
    found = agreement(joint_of(units, labels))

    def purity(of: list[int], by: list[int]) -> float:
        groups = {key: [x for x, k in zip(of, by, strict=True) if k == key] for key in set(by)}
        return sum(max(map(own.count, own)) for own in groups.values()) / len(of)

    assert found.unit_purity == pytest.approx(purity(units, labels))
    assert found.cluster_purity == pytest.approx(purity(labels, units))
    expected = mutual_info_score(units, labels) / mutual_info_score(units, units)
    assert found.pnmi == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(pairs, st.permutations(range(10)))
def test_names_of_clusters_do_not_matter(rows: list[tuple[int, int]], order: list[int]) -> None:
    """k-means numbers its clusters at will."""
    units, labels = [unit for unit, _ in rows], [label for _, label in rows]
    renamed = agreement(joint_of(units, [order[label] for label in labels]))
    assert renamed == pytest.approx(agreement(joint_of(units, labels)))


def test_one_unit_tells_nothing() -> None:
    """PNMI would be 0 / 0."""
    with pytest.raises(ValueError, match="differ in their units"):
        agreement(torch.tensor([[3, 4, 5]]))


def tally_of(cuts: Sequence[Cut], rows: Sequence[torch.Tensor], clusters: int) -> LabelCounts:
    tally = LabelCounts(clusters, aligned_units("phone"))
    for cut, row in zip(cuts, rows, strict=True):
        tally.add(row)
        tally.add_units(cut, row)
    return tally


def test_perfect_labels_have_pnmi_one(aligned: list[Cut]) -> None:
    """Labels that are the phones, and ones that split each phone in two, tell all of them."""
    perfect = []
    for cut in aligned:
        units = aligned_units("phone").of(cut, 49)
        perfect.append(torch.tensor([PHONES.index(unit or "a") for unit in units]))
    whole = agreement(tally_of(aligned, perfect, 5).joint()[1])
    assert whole == pytest.approx((1.0, 1.0, 1.0))
    halves = [2 * row + torch.arange(len(row)) % 2 for row in perfect]
    split = agreement(tally_of(aligned, halves, 10).joint()[1])
    assert (split.unit_purity, split.pnmi) == pytest.approx((1.0, 1.0))
    assert 0.5 <= split.cluster_purity < 0.7


def test_random_labels_have_pnmi_near_zero(tmp_path: Path) -> None:
    """Labels that know nothing of the phones; 4,000 frames leave little to chance."""
    rng = np.random.default_rng(1)
    (cut,) = make_cuts(tmp_path, [400 + 320 * 3_999])
    with_alignment(cut, rng.choice(list(PHONES), 801).tolist())
    row = torch.from_numpy(rng.integers(5, size=4_000))
    assert agreement(tally_of([cut], [row], 5).joint()[1]).pnmi < 0.01


def test_usage_and_runs() -> None:
    """Frames, runs and perplexity of a row counted by hand; a long run counts as the longest."""
    tally = LabelCounts(4)
    tally.add(torch.tensor([0, 0, 1, 1, 1, 1, 0, 0]))
    tally.add(torch.tensor([2] * 70 + [1]))
    assert tally.frames.tolist() == [4, 5, 70, 0]
    assert {n: c for n, c in enumerate(tally.runs.tolist()) if c} == {
        1: 1,
        2: 2,
        4: 1,
        LONGEST_RUN: 1,
    }
    assert tally.utterances == 2


def test_the_verbs_work_on_real_files(aligned: list[Cut], tmp_path: Path) -> None:
    """Labels on disk in, report and picture out; make's own report says the same."""
    config = LabelConfig(source="mfcc", clusters=12, kmeans_iterations=5)
    folder = tmp_path / "labels"
    make_labels(aligned, folder, config)
    report = label_quality(folder, CutList(aligned), tmp_path / "out", units=None)
    assert report == read_json(tmp_path / "out" / QUALITY_FILE)
    made = read_json(folder / REPORT_FILE)
    assert made.pop("hours") == pytest.approx(8 / 3600)
    assert made == pytest.approx(report)
    assert report["units"] == "phone"
    assert report["frames"] == report["frames_with_unit"] == 8 * 49
    assert 0 < report["pnmi"] < 1
    assert report["mean_run_frames"] >= 1
    assert report["inertia"] > 0
    picture = (tmp_path / "out" / PLOT_FILE).read_bytes()
    assert picture.startswith(PNG)
    assert len(picture) > 10_000
    assert "pnmi" in render_quality(report)
    few = label_quality(folder, CutList(aligned), tmp_path / "few", units="alignment", limit=3)
    assert few["utterances"] == 3


def test_no_units_still_report_usage(cuts: list[Cut], tmp_path: Path) -> None:
    """Untranscribed audio: clusters and runs alone; what is asked for and missing is refused."""
    make_labels(cuts, tmp_path, LabelConfig(source="mfcc", clusters=5, kmeans_iterations=2))
    report = label_quality(tmp_path, CutList(cuts), tmp_path, units=None)
    assert report["units"] is None
    assert (tmp_path / PLOT_FILE).is_file()
    with pytest.raises(ValueError, match="None of the 14 cuts has text"):
        label_quality(tmp_path, CutList(cuts), tmp_path, units="text")
    with pytest.raises(ValueError, match="no field 'dialect'"):
        label_quality(tmp_path, CutList(cuts), tmp_path, units="dialect")
    with pytest.raises(ValueError, match="differ in their units"):
        label_quality(tmp_path, CutList(cuts), tmp_path, units="speaker")
