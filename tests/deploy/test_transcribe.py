"""CTC as a graph: what it reads, when each word was said, and that torch stays out."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf
import torch

pytest.importorskip("onnx")
from harness_bench.asr.transcribe.chunks import find_recordings
from harness_bench.deploy.run import export
from harness_bench.deploy.transcribe import best_path, greedy, transcribe, written
from harness_bench.models.runtime import GraphConfig, read_config
from harness_bench.results.record import Result, load_results
from harness_bench.scoring.publish import publish, text_result
from harness_bench.scoring.texts.score import score_rows
from tests import cut_files
from tests.asr.tiny_asr import LETTER, random_text, speech

if TYPE_CHECKING:
    from pathlib import Path

espnet = pytest.mark.espnet
CLOSE = 0.08  # seconds; two frames of the model
# In a process of its own: what it imports is seen.
PROGRAM = """
import sys
from harness_bench.cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert not {"torch", "espnet2", "lhotse"} & {*sys.modules}
"""
CONFIG = GraphConfig(
    kind="ctc", runtime="onnx", name="x", parent_digest="", parameters=1, hidden_size=1,
    num_layers=1, downsample_rate=320, receptive_field=400, batched=False,
    tokens=("<blank>", "<space>", "a", "b"), token_type="char",  # noqa: S106
    frame_shift=320.0, frame_first=200.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, fbank_asr: Path) -> Path:
    """Export the model that reads tones, on ESPnet's own FBANK, to int8."""
    out = tmp_path_factory.mktemp("graphs") / "int8"
    export(fbank_asr, out, "onnx-int8")
    return out


def test_the_best_path_is_that_of_the_definition() -> None:
    """Repeats collapse, blanks go, a blank parts equal letters; checked against itertools."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = np.log(rng.dirichlet(np.ones(4), 12)).astype(np.float32)
        names = [CONFIG.tokens[at] for at in scores.argmax(1)]
        expected = [name for name, _ in itertools.groupby(names) if name != "<blank>"]
        found = best_path(scores, CONFIG)
        assert [each.token for each in found] == expected
        for each in found:
            assert set(names[each.start : each.end]) == {each.token}


def test_words_have_times_and_confidence() -> None:
    """Frames 1 and 2 are `a`, 3 a space, 5 and 6 `bb` parted by a blank: by hand."""
    path = [0, 2, 2, 1, 0, 3, 0, 3]
    scores = np.full((len(path), 4), -5.0, np.float32)
    scores[range(len(path)), path] = -0.25
    heard = greedy(scores, CONFIG, samples=2_400)
    assert heard.text == "a bb"
    first, second = heard.words
    assert (first.word, second.word) == ("a", "bb")
    assert (first.start, first.end) == pytest.approx((0.0225, 0.0625))
    assert (second.start, second.end) == pytest.approx((0.1025, 0.15))  # where the audio ends
    assert first.confidence == pytest.approx(np.exp(-0.25))
    assert greedy(scores[:1], CONFIG).words == []


def test_tokens_are_written_as_espnet_does() -> None:
    assert written(["▁ab", "c", "▁d"], "bpe") == "abc d"
    assert written(["ab", "c"], "word") == "ab c"


@espnet
def test_a_recording_is_read_with_the_place_of_every_word(graph: Path, tmp_path: Path) -> None:
    """In chunks, at another rate; what cannot be read is told beside it."""
    from scipy.signal import resample_poly  # noqa: PLC0415 - for this alone

    text = random_text(np.random.default_rng(11), 12)
    wave, starts = speech(text, np.random.default_rng(3))
    sf.write(tmp_path / "a.flac", resample_poly(wave, 3, 1), 48_000)
    (tmp_path / "b.wav").write_text("no sound")
    found, broken = transcribe(graph, find_recordings([tmp_path]), 2.0)
    assert found.text == text
    words = [word for segment in found.segments for word in segment.words]
    assert [word.start for word in words] == pytest.approx(starts, abs=CLOSE)
    ends = [start + 2 * LETTER for start in starts]
    assert [word.end for word in words] == pytest.approx(ends, abs=CLOSE)
    assert all(0.3 < (word.confidence or 0) <= 1 for word in words)
    assert broken.problem


@espnet
def test_no_torch_is_imported(graph: Path, tmp_path: Path) -> None:
    """`harness-bench transcribe` of an export: seconds to start, and hundreds of MB, would go."""
    text = random_text(np.random.default_rng(5), 3)
    sf.write(tmp_path / "a.wav", speech(text, np.random.default_rng(3))[0], 16_000)
    command = [sys.executable, "-c", PROGRAM, "transcribe", str(graph), str(tmp_path / "a.wav")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == text


@espnet
@pytest.mark.parametrize("relative", [False, True])
def test_positions_are_computed_as_espnet_tabulates_them(*, relative: bool) -> None:
    """A table of 5000 frames would be half of a small graph."""
    from espnet2.legacy.nets.pytorch_backend.transformer import embedding  # noqa: PLC0415

    from harness_bench.deploy.ctc import POSITIONS, _compute_positions  # noqa: PLC0415

    stock, ours = (getattr(embedding, POSITIONS[relative])(8, 0.0) for _ in range(2))
    _compute_positions(ours, relative=relative)
    for frames in (1, 6, 300):
        x = torch.randn(1, frames, 8)
        torch.testing.assert_close(ours(x), stock(x), atol=1e-4, rtol=0)
        assert ours.pe.shape[1] == (2 * frames - 1 if relative else frames)


@espnet
def test_a_model_on_a_checkpoint_is_one_graph(harness_asr: Path, tmp_path: Path) -> None:
    """Upstream, learned sum, encoder and CTC; `export` compares them at three lengths."""
    parity = export(harness_asr, tmp_path / "out", "onnx").parity
    assert parity.max_difference < 1e-4
    config = read_config(tmp_path / "out", "ctc")
    assert (config.frame_shift, config.blank, config.token_type) == (320, 0, "char")
    assert config.upstream_digest


@espnet
def test_wer_is_compared_with_torchs_greedy_ctc(fbank_asr: Path, tmp_path: Path) -> None:
    """The row says so in its name, and the parent's keeps its own decoding."""
    rows, rng = [], np.random.default_rng(1)
    for number in range(4):
        text, path = random_text(rng, 2), tmp_path / f"{number}.wav"
        wave, _ = speech(text, rng)
        sf.write(path, wave, 16_000)
        facts: dict[str, Any] = {"text": text, "speaker": f"s{number}"}
        rows.append(cut_files.row(f"u{number}", len(wave) / 16_000, str(path), **facts))
    cut_files.write(tmp_path / "cuts", "test", rows)
    from harness_bench.deploy.ctc import TrainedCtc  # noqa: PLC0415 - ESPnet

    ctc = TrainedCtc(fbank_asr)
    answers = ctc.examine(tmp_path / "cuts", "test").answers
    assert answers is not None
    said: list[Any] = answers(ctc.subject.parent)
    template = partial(
        Result, model="tones", model_kind="baseline", task="asr", corpus="c", split="test",
        synthetic=True,
    )  # fmt: skip
    publish(text_result(said, template, score_rows(said, "none")[0]), said, tmp_path / "results")
    done = export(
        fbank_asr, tmp_path / "out", "onnx", cuts=tmp_path / "cuts", results=tmp_path / "results"
    )
    (change,) = done.parity.changes
    assert (change.metric, change.difference) == ("wer", 0)
    found = {each.model: each for each in load_results(tmp_path / "results")[0].values()}
    row = found["tones (onnx, greedy CTC)"]
    assert row.normaliser == found["tones"].normaliser
    assert row.main.value == found["tones"].main.value == change.parent < 30
