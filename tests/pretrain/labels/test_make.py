"""The labelling pass: right lengths, same labels whatever happened before, nothing half-made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut
from safetensors.torch import load_file

from harness_bench.audio.frames import frame_count
from harness_bench.audio.io import load_waveform
from harness_bench.core.files import read_json
from harness_bench.models.checkpoint import save_random
from harness_bench.pretrain.config import LabelConfig
from harness_bench.pretrain.data import cut_source
from harness_bench.pretrain.labels import make as module
from harness_bench.pretrain.labels.features import HiddenSource, MfccSource, mfcc39
from harness_bench.pretrain.labels.labeler import load_labeler
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.store import REPORT_FILE, write_shard
from tests.models.conftest import small_config

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from lhotse.cut import Cut

    from harness_bench.pretrain.labels.store import Labels

MFCC = LabelConfig(source="mfcc", clusters=12, kmeans_iterations=5)


def labels_of(store: Labels, cuts: Sequence[Cut]) -> dict[str, list[int]]:
    return {cut.id: store.of(cut).tolist() for cut in cuts}


def test_one_label_per_frame(cuts: list[Cut], tmp_path: Path) -> None:
    """Every utterance has exactly frame_count labels below the number of clusters."""
    store = make_labels(cuts, tmp_path, MFCC)
    assert len(store) == len(cuts)
    for cut in cuts:
        row = store.of(cut)
        assert len(row) == frame_count(cut.num_samples)
        assert int(row.max()) < 12
    report = read_json(tmp_path / REPORT_FILE)
    assert report["frames"] == sum(frame_count(cut.num_samples) for cut in cuts)
    assert report["clusters_used"] == 12


def test_labels_are_the_nearest_centroids(cuts: list[Cut], tmp_path: Path) -> None:
    """The stored label is the nearest centroid of that frame's MFCC, computed independently."""
    store = make_labels(cuts, tmp_path, MFCC)
    centroids = load_file(tmp_path / "labeler.safetensors")["centroids"]
    frames = mfcc39(torch.from_numpy(load_waveform(cuts[3])))
    expected = torch.cdist(frames.double(), centroids.double()).argmin(1)
    assert torch.equal(store.of(cuts[3]), expected)


def test_order_of_cuts_does_not_matter(cuts: list[Cut], tmp_path: Path) -> None:
    """Labels are joined by id, never by order."""
    one = make_labels(cuts, tmp_path / "a", MFCC)
    other = make_labels(cuts[::-1], tmp_path / "b", MFCC)
    assert labels_of(one, cuts) == labels_of(other, cuts)


def test_a_killed_pass_goes_on(
    cuts: list[Cut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards that are there stay; the result equals an unbroken pass."""
    monkeypatch.setattr(cut_source, "PART_CUTS", 4)
    whole = labels_of(make_labels(cuts, tmp_path / "whole", MFCC), cuts)
    real, seen = write_shard, list[Path]()

    def dies_at_second(path: Path, labels: dict[str, torch.Tensor]) -> None:
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(path)
        real(path, labels)

    monkeypatch.setattr(module, "write_shard", dies_at_second)
    with pytest.raises(KeyboardInterrupt):
        make_labels(cuts, tmp_path / "cut", MFCC)
    first = seen[0].stat().st_mtime_ns
    assert not (tmp_path / "cut" / REPORT_FILE).exists()
    monkeypatch.setattr(module, "write_shard", write_shard)
    again = make_labels(cuts, tmp_path / "cut", MFCC)
    assert labels_of(again, cuts) == whole
    assert seen[0].stat().st_mtime_ns == first


def test_other_inputs_replace_old_labels(cuts: list[Cut], tmp_path: Path) -> None:
    """Stale labels of another config must never be taken for the new ones."""
    make_labels(cuts, tmp_path, MFCC)
    store = make_labels(cuts[:10], tmp_path, LabelConfig(source="mfcc", clusters=5))
    assert len(store) == 10
    kept = [*store.rows()]
    assert sum(map(len, kept)) == sum(frame_count(c.num_samples) for c in cuts[:10])
    assert max(int(row.max()) for row in kept) < 5
    with pytest.raises(ValueError, match="no labels for utterance"):
        store.of(cuts[12])


def test_hidden_states_of_the_named_layer(cuts: list[Cut], tmp_path: Path) -> None:
    """Layer N means hidden_states[N]; PCA comes before the clusters."""
    save_random(tmp_path / "teacher", small_config(), seed=0)
    config = LabelConfig(source="hidden", layer=2, clusters=8, pca_dim=6, kmeans_iterations=3)
    store = make_labels(cuts, tmp_path / "labels", config, teacher=tmp_path / "teacher")
    report = read_json(tmp_path / "labels" / REPORT_FILE)
    assert report["pca_dim"] == 6
    assert 0.5 < report["pca_explained_variance"] <= 1.0
    assert len(store.of(cuts[0])) == frame_count(cuts[0].num_samples)
    with pytest.raises(ValueError, match="which has 3"):
        HiddenSource(tmp_path / "teacher", 4, torch.device("cpu"))


def test_layers_differ(cuts: list[Cut], tmp_path: Path) -> None:
    """A layer index that were ignored would pass every other test."""
    save_random(tmp_path / "teacher", small_config(), seed=0)
    rows = []
    for layer in (0, 3):
        config = LabelConfig(source="hidden", layer=layer, clusters=8)
        out = tmp_path / f"layer{layer}"
        store = make_labels(cuts, out, config, teacher=tmp_path / "teacher")
        rows.append(np.concatenate([store.of(cut).numpy() for cut in cuts]))
    assert not np.array_equal(rows[0], rows[1])


def test_pca_keeps_the_share_asked_for(cuts: list[Cut], tmp_path: Path) -> None:
    """As few components as reach it, and the labeler on disk has so many."""
    config = LabelConfig(source="mfcc", clusters=8, pca_variance=0.9, kmeans_iterations=3)
    make_labels(cuts, tmp_path, config)
    report = read_json(tmp_path / REPORT_FILE)
    assert 0.9 <= report["pca_explained_variance"] < 1
    assert 1 <= report["pca_dim"] < 39
    assert load_labeler(tmp_path).centroids.shape == (8, report["pca_dim"])


durations = st.lists(st.integers(400, 500_000), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(durations, st.floats(0.01, 1.0), st.integers(0, 3), st.randoms(use_true_random=False))
def test_share_is_exact_to_one_utterance(
    samples: list[int], share: float, seed: int, shuffled: random.Random
) -> None:
    """The labeler is fitted on so much of the audio, whatever the order of the cuts."""
    made = [MonoCut(f"u{n:02d}", 0.0, s / 16_000, channel=0) for n, s in enumerate(samples)]
    config = LabelConfig(source="mfcc", clusters=2, fit_share=share, seed=seed)
    picked: list[list[Cut]] = []

    def recorded(cuts: Iterable[Cut], *_: object) -> list[torch.Tensor]:
        picked.append(list(cuts))
        return []

    with patch.object(module, "_all_frames", recorded):
        module._sample_frames(cut_source.CutList(made), config, MfccSource())
        module._sample_frames(
            cut_source.CutList(shuffled.sample(made, len(made))), config, MfccSource()
        )
    assert picked[0] == picked[1]
    whole, part = (sum(cut.duration for cut in cuts) for cuts in (made, picked[0]))
    longest = max(cut.duration for cut in picked[0])
    assert share * whole - 1e-6 <= part <= share * whole + longest + 1e-6
    assert share < 1 or len(picked[0]) == len(made)
