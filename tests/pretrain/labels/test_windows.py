"""Long recordings are labelled in windows: every frame once, MFCC as in the whole."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut, Recording

from harness_bench.audio.frames import frame_count
from harness_bench.audio.io import load_waveform
from harness_bench.models.checkpoint import save_random
from harness_bench.pretrain.config import LabelConfig
from harness_bench.pretrain.labels import windows as module
from harness_bench.pretrain.labels.features import mfcc39
from harness_bench.pretrain.labels.kmeans import load_labeler
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.windows import CONTEXT, WINDOW, rows_of, windows
from tests.models.conftest import small_config
from tests.pretrain.labels.conftest import make_cuts

MFCC = LabelConfig(source="mfcc", clusters=12, kmeans_iterations=5, batch_seconds=2.0)
HIDDEN = LabelConfig(source="hidden", layer=2, clusters=12, kmeans_iterations=5, batch_seconds=2.0)
RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
LENGTHS = [9_000, 75_000, 31_000, 16_080, 150_319]


def recorded(samples: int, rate: int, start: float = 0.0) -> MonoCut:
    """Make a cut without audio."""
    length = start + samples / rate
    recording = Recording("long", [], rate, round(length * rate), length, channel_ids=[0])
    return MonoCut("long", start, samples / rate, 0, recording=recording)


@settings(max_examples=200, deadline=None)
@given(st.floats(0.1, 4_000), RATES, st.sampled_from([0.0, 12.345678, 3.00001]))
def test_windows_hold_every_frame_once(seconds: float, rate: int, start: float) -> None:
    """Frames add up to those of the whole; none is longer than a window and its context."""
    cut = recorded(int(seconds * rate), rate, start)
    whole = frame_count(-(-cut.num_samples * 16_000 // rate))
    found = windows(cut)
    if whole <= WINDOW:
        assert found == [cut]
        return
    rows, end = [rows_of(each) for each in found], 0
    for each, row in zip(found, rows, strict=True):
        assert row.first == end
        assert row.frames is not None
        end += row.frames
        begin = each.start - start
        assert begin == pytest.approx((row.first - row.context) * 0.02, abs=1 / rate)
        samples = -(-each.num_samples * 16_000 // rate)
        # A sample or two may be lacking where resampling rounds; reading adds them.
        assert frame_count(samples + 2) >= row.context + row.frames
        assert frame_count(samples) <= WINDOW + 2 * CONTEXT + 1
        assert row.context == (CONTEXT if row.first else 0)
    assert end == whole


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 100)


@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_mfcc_labels_are_those_of_the_whole_recording(tmp_path: Path, num_workers: int) -> None:
    """Windows and their batches are of no consequence; k-means sees every frame once, too."""
    cuts = make_cuts(tmp_path / "audio", LENGTHS)
    made = make_labels(cuts, tmp_path / "labels", MFCC, num_workers=num_workers)
    assert [len(windows(cut)) for cut in cuts] == [1, 3, 1, 1, 5]
    labeler = load_labeler(tmp_path / "labels")
    frames = [mfcc39(torch.from_numpy(load_waveform(cut))) for cut in cuts]
    for cut, whole in zip(cuts, frames, strict=True):
        assert torch.equal(made.of(cut), labeler(whole))
    distances = torch.cdist(torch.cat(frames), labeler.centroids).min(1).values
    assert labeler.inertia == pytest.approx(float(distances.square().mean()), rel=0.02)


@pytest.mark.parametrize("count", [1, 4])
def test_hidden_states_of_windows(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many labels as frames; utterances below a window keep theirs to the bit."""
    save_random(tmp_path / "teacher", small_config(), seed=0)
    cuts = make_cuts(tmp_path / "audio", [*LENGTHS[:4], LENGTHS[4] * count])
    whole = make_labels(cuts, tmp_path / "whole", HIDDEN, teacher=tmp_path / "teacher")
    monkeypatch.setattr(module, "WINDOW", 120)
    dev = make_labels(
        cuts, tmp_path / "windows", HIDDEN, teacher=tmp_path / "teacher", fitted=whole
    )
    assert [len(dev.of(cut)) for cut in cuts] == [frame_count(cut.num_samples) for cut in cuts]
    assert all(torch.equal(dev.of(cut), whole.of(cut)) for cut in cuts if len(whole.of(cut)) <= 120)
    agree = torch.cat([dev.of(cut) == whole.of(cut) for cut in cuts]).float().mean()
    assert 0.8 < agree < 1


@pytest.mark.usefixtures("short_windows")
def test_a_recording_that_breaks_off_has_no_labels(tmp_path: Path) -> None:
    """Not those of its readable windows alone; it is counted and listed once."""
    cuts = make_cuts(tmp_path / "audio", LENGTHS)
    broken = Path(cuts[4].recording.sources[0].source)
    broken.write_bytes(broken.read_bytes()[:300_000])
    made = make_labels(cuts, tmp_path / "labels", MFCC)
    assert [len(made.of(cut)) for cut in cuts][3:] == [frame_count(LENGTHS[3]), 0]
    lines = (tmp_path / "labels" / "skipped.0.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["id", "utt004"]


@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100])
def test_other_sampling_rates(tmp_path: Path, rate: int) -> None:
    """Windows of resampled audio give every frame, with labels like those of the whole."""
    rng = np.random.default_rng(0)
    cuts = []
    for number in range(6):
        time = np.arange(int((2.5 + number) * rate) + number) / rate
        tone = 0.3 * np.sin(2 * np.pi * (200 + 90 * number) * time * (1 + 0.3 * np.sin(time)))
        path = tmp_path / f"{number}.wav"
        sf.write(path, tone + 0.03 * rng.standard_normal(len(time)), rate)
        cuts.append(Recording.from_file(path).to_cut().with_id(str(number)))
    for cut in cuts:
        whole = torch.from_numpy(load_waveform(cut))
        pieces = []
        for window in windows(cut):
            row = rows_of(window)
            frames = mfcc39(torch.from_numpy(module._whole(load_waveform(window), row)))
            pieces.append(frames[row.context :][: row.frames])
        joined, expected = torch.cat(pieces), mfcc39(whole)
        assert joined.shape == expected.shape
        assert len(pieces) > 1
        assert (joined - expected).abs().mean() < 0.05 * expected.abs().mean()
