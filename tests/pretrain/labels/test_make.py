"""The labelling pass: frames in their place, the same labels whatever happened before."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut, Recording
from lhotse.cut import Cut
from safetensors.torch import load_file
from torchaudio.compliance import kaldi
from torchaudio.functional import compute_deltas

from harness_bench.audio.frames import frame_count
from harness_bench.audio.io import load_waveform
from harness_bench.core.config import resolved
from harness_bench.core.files import digest_strings, read_json
from harness_bench.core.skipped import SkipList
from harness_bench.cuts.fields import language_of, spoken
from harness_bench.cuts.shar import open_shards, write_shards
from harness_bench.models.checkpoint import save_random
from harness_bench.models.frozen import checkpoint_digest, load_backbone
from harness_bench.pretrain.config import LabelConfig
from harness_bench.pretrain.data import cut_source
from harness_bench.pretrain.labels import make as module
from harness_bench.pretrain.labels import store as label_store
from harness_bench.pretrain.labels.features import HiddenSource, MfccSource, mfcc39
from harness_bench.pretrain.labels.kmeans import Labeler, load_labeler
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.store import (
    REPORT_FILE,
    SHARD_PATTERN,
    Labels,
    write_shard,
)
from tests.models.conftest import MEL, padded, small_config
from tests.pretrain.labels.conftest import make_cuts


def noise(samples: int, seed: int) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def test_mfcc_frames_equal_conv_frames_for_thousands_of_lengths() -> None:
    """By Kaldi's own window count (snip_edges) for every length, and the real function for some."""
    for samples in range(400, 12_000):
        windows = (samples - 400) // 160 + 1
        assert len(range(0, windows, 2)) >= frame_count(samples)
    for samples in (*range(400, 1100, 7), 16_000, 16_079, 47_999):
        assert mfcc39(torch.randn(samples)).shape == (frame_count(samples), 39)
    assert mfcc39(torch.randn(399)).shape == (0, 39)


@pytest.mark.parametrize("samples", [400, 560, 1_200, 20_719, 20_720, 61_000, 200_003])
def test_mfcc_are_torchaudios_to_the_bit(samples: int) -> None:
    """Labels of older versions were made with its functions: keys say that these are the same."""
    wave = noise(samples, seed=samples) * torch.sin(torch.arange(samples) / 3_000)
    wave[samples // 2 : samples // 2 + 4_000] = 0.0  # digital silence
    static = kaldi.mfcc(wave[None], num_ceps=13, use_energy=False, dither=0.0).T
    delta = compute_deltas(static)
    whole = torch.cat([static, delta, compute_deltas(delta)]).T[::2]
    assert torch.equal(mfcc39(wave), whole[: frame_count(samples)])


@settings(max_examples=25, deadline=None)
@given(st.integers(min_value=0, max_value=40))
def test_mfcc_frame_sees_the_conv_frames_samples(index: int) -> None:
    """Frame j of both sees samples 320 j to 320 j + 400 (static part; deltas look around)."""
    wave = noise(16_000, seed=0)
    crop = wave[None, 320 * index : 320 * index + 400]
    alone = kaldi.mfcc(crop, num_ceps=13, use_energy=False, dither=0.0)
    assert torch.allclose(mfcc39(wave)[index, :13], alone[0], atol=1e-4)


@pytest.mark.parametrize("column", [0, 12])
def test_deltas_are_differences_of_the_static_part(column: int) -> None:
    """Columns 13-25 are the slopes of columns 0-12 before every second window is dropped."""
    wave = noise(8_000, seed=2)
    window = kaldi.mfcc(wave[None], num_ceps=13, use_energy=False, dither=0.0)[:, column]
    frame = 6  # window 12, far from the edges
    slope = sum(k * (window[12 + k] - window[12 - k]) for k in (1, 2)) / 10
    assert mfcc39(wave)[frame, 13 + column] == pytest.approx(float(slope), abs=1e-4)


def test_cropped_mfcc_labels_equal_recomputed_ones() -> None:
    """Training crops labels with the audio. At both ends two frames' differences look beyond it."""
    wave = noise(48_000, seed=3)
    wave *= 0.3 * torch.sin(torch.arange(48_000) / 2_000).abs()
    whole = mfcc39(wave)
    labeler = Labeler(whole[::5], None, 0.0)
    labels = labeler(whole)
    for start, frames in ((1, 30), (17, 80), (60, 89)):
        crop = wave[320 * start : 320 * (start + frames) + 80]
        again = labeler(mfcc39(crop))
        assert len(again) == frames
        assert torch.equal(again[2:-2], labels[start + 2 : start + frames - 2])


def test_cropped_hidden_labels_stand_at_their_frames(tmp_path: Path) -> None:
    """A crop's own hidden states differ, yet agree far more in place than one frame off."""
    save_random(tmp_path, small_config(), seed=0)
    source = HiddenSource(tmp_path, 1, torch.device("cpu"))
    wave = noise(48_000, seed=4)
    wave *= torch.sin(torch.arange(48_000) / 900).abs()

    def frames(samples: torch.Tensor) -> torch.Tensor:
        return source.frames(samples[None], torch.tensor([len(samples)]))[0]

    whole, start = frames(wave), 40
    labeler = Labeler(whole[::7], None, 0.0)
    labels, again = labeler(whole), labeler(frames(wave[320 * start : 320 * start + 24_080]))
    agree = [
        float((labels[start + shift :][: len(again)] == again).float().mean())
        for shift in (-1, 0, 1)
    ]
    assert len(again) == 75
    assert agree[1] > 0.7
    assert max(agree[0], agree[2]) < 0.4


MFCC = LabelConfig(source="mfcc", clusters=12, kmeans_iterations=5)


def labels_of(store: Labels, cuts: Sequence[Cut]) -> dict[str, list[int]]:
    return {cut.id: store.of(cut).tolist() for cut in cuts}


def test_one_label_per_frame(cuts: list[Cut], tmp_path: Path) -> None:
    store = make_labels(cuts, tmp_path, MFCC)
    assert len(store) == len(cuts)
    for cut in cuts:
        row = store.of(cut)
        assert len(row) == frame_count(cut.num_samples)
        assert int(row.max()) < 12
    report = read_json(tmp_path / REPORT_FILE)
    assert report["frames"] == sum(frame_count(cut.num_samples) for cut in cuts)
    assert report["clusters_used"] == 12
    centroids = load_file(tmp_path / "labeler.safetensors")["centroids"]
    frames = mfcc39(torch.from_numpy(load_waveform(cuts[3])))
    expected = torch.cdist(frames.double(), centroids.double()).argmin(1)
    assert torch.equal(store.of(cuts[3]), expected)


def test_order_of_cuts_does_not_matter(cuts: list[Cut], tmp_path: Path) -> None:
    one = make_labels(cuts, tmp_path / "a", MFCC)
    other = make_labels(cuts[::-1], tmp_path / "b", MFCC)
    assert labels_of(one, cuts) == labels_of(other, cuts)


def test_a_pass_resumes(cuts: list[Cut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that are there stay; the result equals an unbroken pass."""
    monkeypatch.setattr(cut_source, "PART_CUTS", 4)
    whole = labels_of(make_labels(cuts, tmp_path / "whole", MFCC), cuts)
    real, seen = write_shard, list[Path]()

    def dies_at_second(path: Path, labels: dict[str, torch.Tensor]) -> None:
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(path)
        real(path, labels)

    monkeypatch.setattr(label_store, "write_shard", dies_at_second)
    with pytest.raises(KeyboardInterrupt):
        make_labels(cuts, tmp_path / "cut", MFCC)
    first = seen[0].stat().st_mtime_ns
    assert not (tmp_path / "cut" / REPORT_FILE).exists()
    monkeypatch.setattr(label_store, "write_shard", write_shard)
    again = make_labels(cuts, tmp_path / "cut", MFCC)
    assert labels_of(again, cuts) == whole
    assert seen[0].stat().st_mtime_ns == first


@pytest.mark.parametrize("source", ["mfcc", "hidden", "shards"])
def test_workers_change_no_label(
    cuts: list[Cut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Audio is read by any number of processes; frames for k-means come in the same order."""
    monkeypatch.setattr(cut_source, "PART_CUTS", 4)
    monkeypatch.setattr(module, "PART_CUTS", 4)
    save_random(tmp_path / "teacher", small_config(), seed=0)
    config, given = LabelConfig(source="mfcc", clusters=6, batch_seconds=2.0), None
    if source == "hidden":
        config, given = replace(config, source="hidden", layer=2), tmp_path / "teacher"
    audio: cut_source.CutSource = cut_source.CutList(cuts)
    if source == "shards":
        audio = cut_source.ShardedCuts(write_shards(cuts, tmp_path / "shar", shard_cuts=3))
    made = [
        make_labels(audio, tmp_path / str(n), config, teacher=given, num_workers=n)
        for n in (0, 1, 3)
    ]
    rows = [[row.tolist() for row in labels.rows()] for labels in made]
    assert len(rows[0]) == len(cuts)
    assert rows[0] == rows[1] == rows[2]


def test_labels_are_those_of_one_utterance_after_another(cuts: list[Cut], tmp_path: Path) -> None:
    """Batches save time alone: every utterance gets what it gets by itself."""
    made = make_labels(cuts, tmp_path, replace(MFCC, batch_seconds=3.0), num_workers=2)
    labeler = load_labeler(tmp_path)
    for cut in cuts:
        frames = mfcc39(torch.from_numpy(load_waveform(cut)))
        assert torch.equal(made.of(cut), labeler(frames))


def test_a_pass_with_workers_resumes(
    cuts: list[Cut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts may be missing anywhere; what is there stays."""
    monkeypatch.setattr(cut_source, "PART_CUTS", 3)
    whole = labels_of(make_labels(cuts, tmp_path, MFCC, num_workers=2), cuts)
    files = sorted(tmp_path.glob(SHARD_PATTERN))
    times = [path.stat().st_mtime_ns for path in files]
    for path in (files[1], files[3], tmp_path / REPORT_FILE):
        path.unlink()
    assert labels_of(make_labels(cuts, tmp_path, MFCC, num_workers=2), cuts) == whole
    made = [path.stat().st_mtime_ns != time for path, time in zip(files, times, strict=True)]
    assert made == [False, True, False, True, False]


def test_precision_is_in_the_key_where_it_is_used(cuts: list[Cut], tmp_path: Path) -> None:
    """Keys of full precision, and of MFCC, are those of older versions."""
    teacher = tmp_path / "teacher"
    save_random(teacher, small_config(), seed=0)
    config = LabelConfig(source="hidden", layer=2, clusters=8)

    def make(name: str, precision: str) -> Labels:
        return make_labels(cuts, tmp_path / name, config, teacher=teacher, precision=precision)

    full, half = make("full", "32-true"), make("half", "bf16-mixed")
    values = f"hidden-2-of-{checkpoint_digest(teacher)}", resolved(config), audio_digest(cuts)
    assert full.digest == digest_strings(map(str, values))
    assert half.digest == digest_strings(map(str, (f"{values[0]}-bf16", *values[1:])))
    samples = padded([9_000, 4_001])
    one, other = (
        torch.cat(HiddenSource(teacher, 2, torch.device("cpu"), bf16=bf16).frames(*samples))
        for bf16 in (False, True)
    )
    assert other.dtype == torch.float32
    assert 1e-4 < (one - other).norm() / one.norm() < 0.05
    # Labels in full precision, even unfinished ones, are not made anew for a training in bf16.
    (tmp_path / "full" / REPORT_FILE).unlink()
    assert make("full", "bf16-mixed").digest == full.digest
    dev = make_labels(cuts[:3], tmp_path / "dev", config, teacher=teacher, fitted=half)
    assert all(torch.equal(dev.of(cut), half.of(cut)) for cut in cuts[:3])
    mfcc = make_labels(cuts, tmp_path / "mfcc", MFCC, precision="bf16-mixed")
    values = "mfcc39-kaldi-v1", resolved(MFCC), audio_digest(cuts)
    assert mfcc.digest == digest_strings(map(str, values))


def test_the_resampler_is_in_the_key_where_it_is_used(tmp_path: Path) -> None:
    """Labels of audio at 16 kHz keep theirs; others go with how a training hears the audio now."""
    cuts = make_cuts(tmp_path / "audio", [8_000, 9_000, 7_000])
    slow = cuts[1]
    path = Path(slow.recording.sources[0].source)
    sf.write(path, sf.read(path)[0], 8_000, subtype="FLOAT")
    slow.recording = Recording.from_file(path, recording_id=path.stem)
    slow.duration = slow.recording.duration
    shards = cut_source.ShardedCuts(write_shards(cuts, tmp_path / "shards"))
    inputs = "mfcc39-kaldi-v1", resolved(MFCC)
    for audio in (cut_source.CutList(cuts), shards):
        assert audio.resampled
        found = make_labels(audio, tmp_path / type(audio).__name__, MFCC)
        assert found.digest != digest_strings(map(str, (*inputs, audio.digest)))
    assert not cut_source.CutList([cuts[0], cuts[2]]).resampled


def audio_digest(cuts: list[Cut]) -> str:
    return cut_source.CutList(cuts).digest


def test_other_inputs_replace_old_labels(cuts: list[Cut], tmp_path: Path) -> None:
    make_labels(cuts, tmp_path, MFCC)
    store = make_labels(cuts[:10], tmp_path, LabelConfig(source="mfcc", clusters=5))
    assert len(store) == 10
    kept = [*store.rows()]
    assert sum(map(len, kept)) == sum(frame_count(c.num_samples) for c in cuts[:10])
    assert max(int(row.max()) for row in kept) < 5
    with pytest.raises(ValueError, match="no labels for utterance"):
        store.of(cuts[12])


@pytest.mark.parametrize("extractor", [{}, MEL], ids=["raw", "mel"])
def test_hidden_states_of_the_named_layer(
    cuts: list[Cut], tmp_path: Path, extractor: dict[str, Any]
) -> None:
    """Layer N means hidden_states[N], another one gives others; PCA comes before the clusters."""
    teacher = tmp_path / "teacher"
    save_random(teacher, small_config(**extractor), seed=0)
    found = []
    for layer in (0, 3):
        config = LabelConfig(source="hidden", layer=layer, clusters=8, pca_dim=6)
        made = make_labels(cuts, tmp_path / f"layer{layer}", config, teacher=teacher)
        found.append(labels_of(made, cuts))
        report = read_json(tmp_path / f"layer{layer}" / REPORT_FILE)
        assert report["pca_dim"] == 6
        assert 0.5 < report["pca_explained_variance"] <= 1.0
    assert found[0] != found[1]
    lengths = {cut.id: len(found[0][cut.id]) for cut in cuts}
    assert lengths == {cut.id: frame_count(cut.num_samples) for cut in cuts}
    samples, counts = padded([9_000, 4_001])
    source = HiddenSource(teacher, 2, torch.device("cpu"))
    alone = load_backbone(teacher).encode([samples[0], samples[1, :4_001]])
    for ours, states in zip(source.frames(samples, counts), alone, strict=True):
        torch.testing.assert_close(ours, states[2], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="which has 3"):
        HiddenSource(teacher, 4, torch.device("cpu"))


def test_pca_keeps_the_share_asked_for(cuts: list[Cut], tmp_path: Path) -> None:
    config = LabelConfig(source="mfcc", clusters=8, pca_variance=0.9, kmeans_iterations=3)
    make_labels(cuts, tmp_path, config)
    report = read_json(tmp_path / REPORT_FILE)
    assert 0.9 <= report["pca_explained_variance"] < 1
    assert 1 <= report["pca_dim"] < 39
    assert load_labeler(tmp_path).centroids.shape == (8, report["pca_dim"])


durations = st.lists(st.integers(400, 500_000), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(durations, st.floats(0.01, 1.0), st.integers(0, 3), st.randoms(use_true_random=False))
def test_fitted_share(samples: list[int], share: float, seed: int, shuffled: random.Random) -> None:
    """The labeler is fitted on so much of the audio, whatever the order of the cuts."""
    made = [MonoCut(f"u{n:02d}", 0.0, s / 16_000, channel=0) for n, s in enumerate(samples)]
    config = LabelConfig(source="mfcc", clusters=2, fit_share=share, seed=seed)
    picked: list[list[Cut]] = []

    def recorded(load: Callable[[], list[Cut]]) -> list[cut_source.Part]:
        picked.append(list(load()))
        return []

    with patch.object(module, "_subset", recorded):
        for order in (made, shuffled.sample(made, len(made))):
            audio, skips = cut_source.CutList(order), SkipList(Path())
            reading = module._Pass(audio, MfccSource(), skips, 60.0, 0, torch.device("cpu"))
            module._sample_frames(reading, config)
    assert picked[0] == picked[1]
    whole, part = (sum(cut.duration for cut in cuts) for cuts in (made, picked[0]))
    longest = max(cut.duration for cut in picked[0])
    assert share * whole - 1e-6 <= part <= share * whole + longest + 1e-6
    assert share < 1 or len(picked[0]) == len(made)


@pytest.mark.parametrize("sharded", [False, True])
def test_kmeans_sees_languages_in_their_shares(tmp_path: Path, sharded: bool) -> None:  # noqa: FBT001 - a parameter
    """Half of the frames are of a language that has a tenth of the audio, as training hears it."""
    made = [
        spoken(cut, "en" if number % 10 == 3 else "ar")
        for number, cut in enumerate(make_cuts(tmp_path / "audio", [16_000] * 40))
    ]
    audio: cut_source.CutSource = cut_source.CutList(made)
    if sharded:
        write_shards(made, tmp_path / "shar", shard_cuts=8)
        audio = cut_source.ShardedCuts(open_shards(tmp_path / "shar"))
    balance = {"ar": 1.0, "en": 1.0}
    drawn = audio.drawn(16 / 3600, 0, 0, 1, balance)
    seconds = {each.name: sum(cut.duration for cut in each.load()) for each in drawn}
    # Of English there are 4 s where 8 are wanted; shards are taken whole.
    assert seconds["en"] == 4
    assert seconds["ar"] == pytest.approx(8, abs=8 if sharded else 1)
    assert all(language_of(cut) == each.name for each in drawn for cut in each.load())
    parts = [{cut.id for each in audio.drawn(16 / 3600, 0, rank, 2, balance) for cut in each.load()}
             for rank in (0, 1)]  # fmt: skip
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {cut.id for each in drawn for cut in each.load()}
    config = LabelConfig(source="mfcc", clusters=4, fit_hours=1.0, fit_frames=300)
    reading = module._Pass(audio, MfccSource(), SkipList(tmp_path), 60.0, 0, torch.device("cpu"))
    with patch.object(module._Pass, "frames", by_language(module._Pass.frames, made)):
        sample = module._sample_frames(reading, config, balance)
    kinds = ["en" if value else "ar" for value in sample[:, 0].tolist()]
    assert kinds.count("en") == pytest.approx(150, abs=40)
    assert kinds.count("ar") == pytest.approx(150, abs=40)
    plain = make_labels(made, tmp_path / "plain", config)
    shared = make_labels(made, tmp_path / "shared", config, balance=balance)
    assert plain.digest != shared.digest
    assert plain.digest == make_labels(made, tmp_path / "again", config).digest


def by_language(
    real: Callable[..., Any], made: list[Cut]
) -> Callable[..., tuple[torch.Tensor, list[int]]]:
    """Put 1 into every frame of English, 0 into others."""
    english = {cut.id for cut in made if language_of(cut) == "en"}

    def frames(reading: Any, batch: Any, lost: set[str]) -> tuple[torch.Tensor, list[int]]:
        found, counts = real(reading, batch, lost)
        values = [float(row.id in english) for row in batch.rows]
        marks = torch.tensor(values).repeat_interleave(torch.tensor(counts))
        return marks[:, None].expand_as(found), counts

    return frames
