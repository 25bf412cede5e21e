"""Transcription against speech whose words and their places are known.

When words were said: the alignment against all paths, the frames against their arithmetic.
"""

import itertools
import json
import math
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.functional import TokenSpan

from harness_bench.asr.transcribe.chunks import find_recordings
from harness_bench.asr.transcribe.pack import OpenOptions
from harness_bench.asr.transcribe.recognise import measure_grid, words_of
from harness_bench.asr.transcribe.transcriber import Transcriber, align, confidence, transcribe
from harness_bench.asr.transcribe.transcript import Transcript
from harness_bench.audio.resample import resample
from harness_bench.cli import app
from tests.asr.tiny_asr import EDGE, LETTER, random_text, speech

CLOSE = 0.08  # seconds; two frames of the model
espnet = pytest.mark.espnet


def best_path(log_probs: torch.Tensor, tokens: list[int], blank: int) -> float:
    """Try every path; return the best log-probability of those that read as the tokens."""
    frames, size = log_probs.shape
    scores = (
        sum(float(log_probs[f, t]) for f, t in enumerate(path))
        for path in itertools.product(range(size), repeat=frames)
        if [t for t, _ in groupby(path) if t != blank] == tokens
    )
    return max(scores, default=-math.inf)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 6),
    tokens=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    blank=st.integers(0, 3),
)
def test_the_alignment_is_the_best_of_all_paths(
    seed: int, frames: int, tokens: list[int], blank: int
) -> None:
    """The oracle knows no dynamic programming: it reads all paths."""
    tokens = [token for token in tokens if token != blank] or [(blank + 1) % 4]
    log_probs = torch.randn(frames, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(1)
    expected = best_path(log_probs, tokens, blank)
    spans = align(log_probs, tokens, blank)
    if spans is None:
        assert expected == -math.inf
        return
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    path = [blank] * frames
    for token, span in zip(tokens, spans, strict=True):
        path[span.start : span.end] = [token] * len(span)
    each = [float(log_probs[f, t]) for f, t in enumerate(path)]
    assert sum(each) == pytest.approx(expected, abs=1e-4)
    said = sum(value for value, token in zip(each, path, strict=True) if token != blank)
    assert sum(span.score * len(span) for span in spans) == pytest.approx(said, abs=1e-4)


def test_known_places() -> None:
    """Log-probabilities made by hand: token 2 at frames 3 and 4, 1 at 7, 1 again at 9.

    A word is as sure as its frames, not as its tokens.
    """
    path = [0, 0, 0, 2, 2, 0, 0, 1, 0, 1, 0]
    log_probs = torch.full((len(path), 3), -6.0)
    log_probs[range(len(path)), path] = -0.1
    spans = align(log_probs, [2, 1, 1], blank=0)
    assert spans is not None
    assert [(span.start, span.end) for span in spans] == [(3, 5), (7, 8), (9, 10)]
    assert confidence(spans) == pytest.approx(math.exp(-0.1), abs=1e-6)
    unequal = [TokenSpan(1, 0, 3, math.log(0.9)), TokenSpan(1, 5, 6, math.log(0.1))]
    assert confidence(unequal) == pytest.approx((0.9**3 * 0.1) ** 0.25)


def test_more_tokens_than_frames_have_no_places() -> None:
    """An attention decoder may write such text; equal neighbours need a blank between."""
    log_probs = torch.zeros(3, 4).log_softmax(1)
    assert align(log_probs, [1, 2, 3], blank=0) is not None
    assert align(log_probs, [1, 1, 2], blank=0) is None
    assert align(log_probs, [], blank=0) == []


@given(shift=st.sampled_from([160, 320, 480, 640, 960, 1280]), field=st.integers(0, 4000))
def test_the_grid_of_any_stack_of_layers_is_measured(shift: int, field: int) -> None:
    """The shift exactly, the first centre to an eighth of a frame; no frame is named by hand."""
    grid = measure_grid(lambda samples: max((samples - field) // shift + 1, 0))
    assert grid.shift == shift
    assert abs(grid.first - field / 2) <= shift / 16
    ends = [(grid.first + frames * shift) / 16_000 for frames in (-0.5, 2.5)]
    assert grid.seconds(0, 3) == pytest.approx(ends)
    with pytest.raises(ValueError, match="no frames in time"):
        measure_grid(lambda _: 1)


@pytest.mark.parametrize(("kind", "tokens", "groups"), [
    ("char", ["<space>", "ا", "ب", "<space>", "<space>", "ت"], [[1, 2], [5]]),
    ("bpe", ["▁ا", "ب", "▁", "ت", "ث", "▁ج"], [[0, 1], [2, 3, 4], [5]]),
    ("word", ["اب", "ت"], [[0], [1]]),
])  # fmt: skip
def test_tokens_make_words(kind: str, tokens: list[str], groups: list[list[int]]) -> None:
    assert words_of(tokens, kind) == groups


@pytest.fixture(scope="module")
def reader(fbank_asr: Path) -> Transcriber:
    """Return the model that reads tones, decoding with CTC alone."""
    return Transcriber(fbank_asr, OpenOptions(beam=2, ctc_weight=1.0))


def write(path: Path, text: str, *, rate: int = 16_000) -> list[float]:
    """Write the sound of a text in two channels; return when its words begin."""
    wave, starts = speech(text, np.random.default_rng(3))
    if rate != 16_000:
        wave = resample(wave, 16_000, rate)
    sf.write(path, np.stack([wave, wave], axis=1), rate)
    return starts


def only(transcriber: Transcriber, path: Path, **options: float) -> Transcript:
    (found,) = transcribe(transcriber, find_recordings([path]), **options)
    return found


@espnet
def test_a_long_recording_is_read_with_the_place_of_every_word(
    reader: Transcriber, tmp_path: Path
) -> None:
    """Eight times as long as what the model was trained on, in another rate and format."""
    text = random_text(np.random.default_rng(14), 24)
    starts = write(tmp_path / "long.flac", text, rate=44_100)
    found = only(reader, tmp_path / "long.flac", max_seconds=2.0)
    assert found.text == text
    assert found.duration == pytest.approx(starts[-1] + 2 * LETTER + EDGE, abs=0.01)
    words = [word for segment in found.segments for word in segment.words]
    assert [word.start for word in words] == pytest.approx(starts, abs=CLOSE)
    ends = [start + 2 * LETTER for start in starts]
    assert [word.end for word in words] == pytest.approx(ends, abs=CLOSE)
    assert all(0.3 < (word.confidence or 0) <= 1 for word in words)


@espnet
def test_frames_lie_where_the_layers_put_them(reader: Transcriber, harness_asr: Path) -> None:
    """FBANK: 10 ms, centred, then two convolutions of 3 and 2; a checkpoint: 400 samples, 320."""
    other = Transcriber(harness_asr, OpenOptions(beam=1))
    for grid, shift, first in ((reader.grid, 640, 3 * 160), (other.grid, 320, 200)):
        assert grid is not None
        assert grid.shift == shift
        assert grid.first == pytest.approx(first, abs=shift / 16)


@espnet
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
    assert "no audio was recognised" in read["2b"].problem
    alone = only(reader, tmp_path / "4.wav")
    starts = [[w.start for s in each.segments for w in s.words] for each in (alone, read["4"])]
    assert starts[0] == pytest.approx(starts[1], abs=0.041)  # a frame: padding is convolved too


@espnet
def test_text_that_does_not_fit_the_frames_has_no_times(reader: Transcriber) -> None:
    """An attention decoder may repeat itself for ever; its words are shown all the same."""
    (token,) = reader.speech2text.converter.tokens2ids(["ا"])
    heard = reader._heard([token] * 9, torch.zeros(5, 8).log_softmax(1), 16_000)
    assert [(word.word, word.start) for word in heard.words] == [("ا" * 9, None)]


@espnet
def test_a_moment_of_speech_is_decoded(reader: Transcriber, tmp_path: Path) -> None:
    """0.12 s are fewer than the encoder takes."""
    write(tmp_path / "a.wav", "اب")
    samples, rate = sf.read(tmp_path / "a.wav", frames=1920, start=4800)
    sf.write(tmp_path / "moment.wav", samples, rate)
    found = only(reader, tmp_path / "moment.wav")
    assert not found.problem
    assert all((word.end or 0) <= 0.12 for s in found.segments for word in s.words)


@espnet
def test_the_command_prints_the_same_json_every_time(
    fbank_asr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A row for every recording, those that cannot be read as well; the exit status tells."""
    write(tmp_path / "a.wav", "اب ثت")
    (tmp_path / "b.wav").write_text("no sound", encoding="utf-8")
    arguments = ["transcribe", str(fbank_asr), str(tmp_path), "--json", "--beam", "2"]
    monkeypatch.setattr(sys, "argv", ["harness-bench", *arguments, "--ctc_weight", "1"])
    outputs = []
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            app.main()
        assert end.value.code == 1
        outputs.append(capsys.readouterr())
    assert outputs[0].out == outputs[1].out
    rows = [json.loads(line) for line in outputs[0].out.splitlines()]
    assert [row["text"] for row in rows] == ["اب ثت", ""]
    assert [row["problem"] is None for row in rows] == [True, False]
    assert "1 of 2 recordings were left out" in outputs[0].err
    assert "b.wav: no audio" in outputs[0].err
