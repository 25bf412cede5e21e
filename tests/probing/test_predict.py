"""Finding a trained head, and what a file that cannot be read costs."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from harness_bench.audio.io import read_waveform
from harness_bench.probing.head.expert import ClassifierExpert
from harness_bench.probing.s3prl import predict as module
from harness_bench.probing.s3prl.predict import find_checkpoint, predict


def test_a_head_is_found_where_people_look(tmp_path: Path) -> None:
    """The checkpoint, the experiment folder, a probe's and a grid's folder, moved or not."""
    folder = tmp_path / "probe" / "s3prl"
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"expected dev-best\.ckpt.*`--head cnn`"):
        find_checkpoint(tmp_path)
    head = folder / "dev-best.ckpt"
    head.write_bytes(b"")
    (tmp_path / "probe" / "outcome.json").write_text(json.dumps({"checkpoint": str(head)}))
    for place in (head, folder, tmp_path / "probe"):
        assert find_checkpoint(place) == head
    moved = tmp_path / "moved"
    (tmp_path / "probe").rename(moved)
    assert find_checkpoint(moved) == moved / "s3prl" / "dev-best.ckpt"
    # All trials of a grid hold a head; the first one by name is seldom the one that dev chose.
    for rate in ("0.001", "0.01", "0.1"):
        shutil.copytree(moved, tmp_path / f"lr{rate}")
    gone = "/where/it/was/lr0.01/s3prl/dev-best.ckpt"
    (tmp_path / "grid.json").write_text(json.dumps({"checkpoint": gone}))
    assert find_checkpoint(tmp_path) == tmp_path / "lr0.01" / "s3prl" / "dev-best.ckpt"


def test_a_file_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken file among a thousand costs its own answer."""
    (tmp_path / "dev-best.ckpt").write_bytes(b"")
    good, broken = tmp_path / "good.wav", tmp_path / "broken.wav"
    sf.write(good, np.zeros(8000), 16000)
    broken.write_bytes(b"RIFF")

    def load_audio(path: Path) -> torch.Tensor:
        return torch.from_numpy(read_waveform(path))

    def probabilities(_: Any, samples: list[int]) -> list[dict[str, float]]:
        assert samples == [8000]
        return [{"happy": 0.75, "sad": 0.25}]

    expert = SimpleNamespace(load_audio=load_audio, probabilities=probabilities)
    runner = SimpleNamespace(
        downstream=SimpleNamespace(model=expert),
        upstream=SimpleNamespace(model=lambda wavs: wavs),
        featurizer=SimpleNamespace(model=lambda _, features: features),
    )
    monkeypatch.setattr(module, "open_runner", lambda *_: runner)
    first, second, third = predict(tmp_path, [broken, good, tmp_path / "none.wav"])
    assert (first.label, second.label, third.label) == ("", "happy", "")
    assert first.problem
    assert not second.problem
    assert third.problem == "there is no such file"


@pytest.fixture
def head(tone_corpus: Path, tmp_path: Path) -> ClassifierExpert:
    return ClassifierExpert(
        4, 320, {"datarc": {"cuts": str(tone_corpus), "label_field": "label"}}, str(tmp_path),
        downstream="keyword", seed=1, mode="train",
    ).eval()  # fmt: skip


def test_probabilities_that_are_not_finite_are_no_answer(head: ClassifierExpert) -> None:
    """A head whose training diverged would call everything by its first class."""
    with pytest.raises(ValueError, match="not finite"):
        head.inference([torch.full((5, 4), torch.nan)], ["a"])


def test_inference_hears_the_frames_of_the_file_alone(
    head: ClassifierExpert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """s3prl's featurizer gives one more, which `predict` and the test of a head cut off."""
    sf.write(tmp_path / "a.wav", np.full(16000, 0.1), 16000)
    head.load_audio(tmp_path / "a.wav")
    features = torch.randn(50, 4)
    head.inference([features], ["a"])
    said = json.loads(capsys.readouterr().out)["probs"]
    assert said == pytest.approx(head.probabilities([features[:49]])[0], abs=1e-6)
    assert said != pytest.approx(head.probabilities([features])[0], abs=1e-6)


def test_what_is_no_audio_is_a_sentence(head: ClassifierExpert, tmp_path: Path) -> None:
    """The reader's own errors are of no kind that callers know."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    for path in (broken, tmp_path / "none.wav"):
        with pytest.raises(ValueError, match=path.name):
            head.load_audio(path)
