"""Other sampling rates and other frames: what the folder says decides, or it is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from harness_bench.audio.frames import frame_count
from harness_bench.audio.resample import resample
from harness_bench.models import frozen
from harness_bench.models.checkpoint import save_random
from harness_bench.pretrain.labels.features import HiddenSource, nearest_frames
from tests.models.conftest import padded, small_config

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS = [9_001, 4_000, 1_601]


def made(folder: Path, rate: int) -> Path:
    save_random(folder, small_config(), seed=0)
    path = folder / frozen.PREPROCESSOR
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sampling_rate": rate}))
    return folder


@pytest.mark.parametrize("rate", [8_000, 32_000])
@torch.inference_mode()
def test_audio_is_resampled_to_the_models_rate(tmp_path: Path, rate: int) -> None:
    """Features are those that the model has of its own rate, alone and in a batch."""
    slow = frozen.load_backbone(made(tmp_path / "slow", rate))
    plain = frozen.load_backbone(made(tmp_path / "plain", 16_000))
    assert slow.shape == frozen.shape_of(tmp_path / "slow")
    assert slow.shape.downsample_rate == 320 * 16_000 // rate
    samples, lengths = padded(LENGTHS)
    batch, frames = slow(samples, lengths)
    for row, length in enumerate(LENGTHS):
        (alone,) = slow.encode([samples[row, :length]])
        heard = torch.from_numpy(resample(samples[row, :length].numpy(), 16_000, rate))
        (theirs,) = plain.encode([heard])
        assert int(frames[row]) == slow.shape.frames(length) == alone.shape[1]
        torch.testing.assert_close(alone, theirs[:, : alone.shape[1]])
        together = torch.stack([state[row, : frames[row]] for state in batch])
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_no_graph_is_traced_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing would keep the audio of the example in the graph."""
    model = frozen.load_backbone(made(tmp_path, 8_000))
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with pytest.raises(NotImplementedError, match="8000"):
        model(*padded(LENGTHS))


@pytest.mark.parametrize("rate", [24_000, "16k"])
def test_a_rate_that_fits_no_frames_is_refused(tmp_path: Path, rate: int) -> None:
    """24 kHz would give a frame per 213.3 samples; a text is no rate."""
    with pytest.raises(ValueError, match=str(rate)):
        frozen.shape_of(made(tmp_path, rate))


@torch.inference_mode()
def test_labels_take_the_nearest_frame_of_any_teacher(tmp_path: Path) -> None:
    """A row per 20 ms of the audio, whatever the teacher's frames are."""
    config = small_config(
        conv_dim=(24,) * 8, conv_kernel=(10, 3, 3, 3, 3, 2, 2, 2),
        conv_stride=(5, 2, 2, 2, 2, 2, 2, 2),
    )  # fmt: skip
    save_random(tmp_path, config, seed=0)  # 25 Hz, 720 samples a frame
    source = HiddenSource(tmp_path, 1, torch.device("cpu"))
    samples, lengths = padded([*LENGTHS, 400])
    states, _ = source.model(samples, lengths)
    for row, length, found in zip(states[1], lengths.tolist(), source.frames(samples, lengths),
                                  strict=True):  # fmt: skip
        assert len(found) == frame_count(length)
        own = max(1, source.model.shape.frames(length))
        for frame, value in enumerate(found if own > 1 else []):
            centres = [abs(320 * frame + 200 - (640 * each + 360)) for each in range(own)]
            assert torch.allclose(value, row[centres.index(min(centres))], atol=1e-5)
    shape = frozen.ModelShape(8, 1, 160, 400)
    assert nearest_frames(shape, 3, 5).tolist() == [0, 2, 4]
