"""Transcription against speech whose words and their places are known."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf
import torch
from torchaudio.functional import resample

from harness_bench.asr.transcribe.chunks import find_recordings
from harness_bench.asr.transcribe.model import OpenOptions
from harness_bench.asr.transcribe.transcriber import Transcriber, transcribe
from harness_bench.cli import app
from tests.asr.tiny_asr import EDGE, LETTER, random_text, speech

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.asr.transcribe.transcript import Transcript

pytestmark = pytest.mark.espnet
CLOSE = 0.08  # seconds; two frames of the model


@pytest.fixture(scope="module")
def reader(fbank_asr: Path) -> Transcriber:
    """Return the model that reads tones, decoding with CTC alone."""
    return Transcriber(fbank_asr, OpenOptions(beam=2, ctc_weight=1.0))


def write(path: Path, text: str, *, rate: int = 16_000) -> list[float]:
    """Write the sound of a text in two channels; return when its words begin."""
    wave, starts = speech(text, np.random.default_rng(3))
    if rate != 16_000:
        wave = resample(torch.from_numpy(wave), 16_000, rate).numpy()
    sf.write(path, np.stack([wave, wave], axis=1), rate)
    return starts


def only(transcriber: Transcriber, path: Path, **options: float) -> Transcript:
    (found,) = transcribe(transcriber, find_recordings([path]), **options)
    return found


def test_a_long_recording_is_read_with_the_place_of_every_word(
    reader: Transcriber, tmp_path: Path
) -> None:
    """Eight times as long as what the model was trained on, in another rate and format."""
    text = random_text(np.random.default_rng(11), 24)
    starts = write(tmp_path / "long.flac", text, rate=44_100)
    found = only(reader, tmp_path / "long.flac", max_seconds=2.0)
    assert found.text == text
    assert found.duration == pytest.approx(starts[-1] + 2 * LETTER + EDGE, abs=0.01)
    words = [word for segment in found.segments for word in segment.words]
    assert [word.start for word in words] == pytest.approx(starts, abs=CLOSE)
    assert [word.end for word in words] == pytest.approx(
        [start + 2 * LETTER for start in starts], abs=CLOSE
    )
    assert all(0.3 < (word.confidence or 0) <= 1 for word in words)


def test_frames_lie_where_the_layers_put_them(reader: Transcriber, harness_asr: Path) -> None:
    """FBANK: 10 ms, centred, then two convolutions of 3 and 2; a checkpoint: 400 samples, 320."""
    assert reader.grid is not None
    assert reader.grid.shift == 640
    assert reader.grid.first == pytest.approx(3 * 160, abs=40)
    other = Transcriber(harness_asr, OpenOptions(beam=1)).grid
    assert other is not None
    assert other.shift == 320
    assert other.first == pytest.approx(200, abs=20)


def test_a_batch_is_read_as_its_recordings_alone(
    reader: Transcriber, fbank_asr: Path, tmp_path: Path
) -> None:
    """In the order given, whatever is silent or unreadable between them."""
    texts = [random_text(np.random.default_rng(seed), 1 + seed % 3) for seed in range(5)]
    for number, text in enumerate(texts):
        write(tmp_path / f"{number}.wav", text)
    (tmp_path / "2b.wav").write_text("no sound", encoding="utf-8")
    sf.write(tmp_path / "3b.wav", np.zeros(32_000), 16_000)
    many = Transcriber(fbank_asr, OpenOptions(beam=2, ctc_weight=1.0, batch_size=3))
    found = list(transcribe(many, find_recordings([tmp_path])))
    assert [each.file.stem for each in found] == ["0", "1", "2", "2b", "3", "3b", "4"]
    read = {each.file.stem: each for each in found}
    assert [read[str(number)].text for number in range(5)] == texts
    assert (read["3b"].text, read["3b"].duration, read["3b"].problem) == ("", 2.0, "")
    assert "Format not recognised" in read["2b"].problem
    alone = only(reader, tmp_path / "4.wav")
    starts = [[w.start for s in each.segments for w in s.words] for each in (alone, read["4"])]
    assert starts[0] == pytest.approx(starts[1], abs=0.041)  # a frame: padding is convolved too


def test_text_that_does_not_fit_the_frames_has_no_times(reader: Transcriber) -> None:
    """An attention decoder may repeat itself for ever; its words are shown all the same."""
    (token,) = reader.speech2text.converter.tokens2ids(["ا"])
    heard = reader._heard([token] * 9, torch.zeros(5, 8).log_softmax(1), 16_000)
    assert [(word.word, word.start) for word in heard.words] == [("ا" * 9, None)]


def test_a_moment_of_speech_is_decoded(reader: Transcriber, tmp_path: Path) -> None:
    """0.12 s are fewer than the encoder takes."""
    write(tmp_path / "a.wav", "اب")
    samples, rate = sf.read(tmp_path / "a.wav", frames=1920, start=4800)
    sf.write(tmp_path / "moment.wav", samples, rate)
    found = only(reader, tmp_path / "moment.wav")
    assert not found.problem
    assert all((word.end or 0) <= 0.12 for s in found.segments for word in s.words)


def test_the_command_prints_the_same_json_every_time(
    fbank_asr: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A row for every recording, those that cannot be read as well; the exit status tells."""
    write(tmp_path / "a.wav", "اب ثت")
    (tmp_path / "b.wav").write_text("no sound", encoding="utf-8")
    outputs = []
    for _ in range(2):
        arguments = ["transcribe", str(fbank_asr), str(tmp_path), "--json", "--beam", "2"]
        arguments += ["--ctc_weight", "1"]
        monkeypatch.setattr(sys, "argv", ["harness-bench", *arguments])
        with pytest.raises(SystemExit) as end:
            app.main()
        assert end.value.code == 1
        outputs.append(capsys.readouterr())
    assert outputs[0].out == outputs[1].out
    rows = [json.loads(line) for line in outputs[0].out.splitlines()]
    assert [row["text"] for row in rows] == ["اب ثت", ""]
    assert [row["problem"] is None for row in rows] == [True, False]
    assert "1 of 2 recordings were left out" in outputs[0].err
    assert "b.wav: Error opening" in outputs[0].err
