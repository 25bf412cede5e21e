"""`transcribe`: where its output goes, and what it refuses before any model is opened."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.asr.transcribe import transcriber as module
from harness_bench.asr.transcribe.transcript import TimedWord, Transcript, TranscriptSegment
from harness_bench.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness_bench.asr.transcribe.chunks import Recording


@pytest.fixture
def talks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of three recordings; the model hears their names, and cannot read `bad`."""
    folder = tmp_path / "talks"
    for name in ("one.wav", "more/two.ogg", "bad.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()

    def hear(_: object, found: Sequence[Recording], **__: Any) -> Iterator[Transcript]:
        for each in found:
            words = (TimedWord(each.path.stem, 0.5, 1.0, 0.9),)
            segments = [TranscriptSegment(0.5, 1.0, words)]
            if each.path.stem == "bad":
                yield Transcript(each.path, each.name, problem="no sound")
            else:
                yield Transcript(each.path, each.name, 2.0, segments)

    monkeypatch.setattr(module, "transcribe", hear)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    line = ["harness-bench", "transcribe", "model.zip", *map(str, arguments)]
    monkeypatch.setattr(sys, "argv", line)
    try:
        app.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_text_goes_to_standard_output(
    talks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one recording the bare text; of several with their names; nothing else."""
    assert run(monkeypatch, talks / "one.wav") == 0
    assert capsys.readouterr().out == "one\n"
    assert run(monkeypatch, talks) == 1
    output = capsys.readouterr()
    assert output.out == f"{talks}/more/two.ogg\ttwo\n{talks}/one.wav\tone\n"
    assert f"left out: {talks}/bad.wav: no sound" in output.err
    assert "1 of 3 recordings were left out" in output.err


def test_a_table_has_its_header_once(
    talks: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A recording left out has no rows."""
    out = tmp_path / "all.tsv"
    assert run(monkeypatch, talks, "--format", "tsv", "--out", out) == 1
    lines = out.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "file\tstart\tend\ttext"
    assert [line.split("\t")[-1] for line in lines[1:]] == ["two", "one"]


@pytest.mark.parametrize("style", ["srt", "vtt", "json", "txt", "tsv"])
def test_a_folder_gets_a_file_for_each(
    talks: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, style: str
) -> None:
    """Laid out as the recordings are; one that cannot be read gets none, and is told."""
    out = tmp_path / "out"
    assert run(monkeypatch, talks, "--format", style, "--out", out) == 1
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == [f"more/two.{style}", f"one.{style}"]
    assert "one" in (out / f"one.{style}").read_text(encoding="utf-8")


def test_what_could_not_be_written_is_refused_at_once(
    talks: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour later is too late."""
    monkeypatch.setattr(module, "transcribe", lambda *_, **__: pytest.fail("it began"))
    assert run(monkeypatch, talks, "--format", "srt") == 2
    assert "srt is a file of one recording, and 3 were given" in capsys.readouterr().err
    (tmp_path / "talk.txt").touch()
    assert run(monkeypatch, talks, "--format", "srt", "--out", tmp_path / "talk.txt") == 2
    assert "is a file, and no .srt" in " ".join(capsys.readouterr().err.split())
    for name in ("talk.srt", "talk.jsonl"):  # a folder of such a name is what nobody wants
        assert run(monkeypatch, talks / "one.wav", "--out", tmp_path / name) == 2
        assert "is no name of a txt file" in " ".join(capsys.readouterr().err.split())
    (talks / "more" / "one.flac").touch()
    twice: list[str | Path] = [
        talks / "one.wav",
        talks / "more" / "one.flac",
        "--out",
        tmp_path / "out",
    ]
    assert run(monkeypatch, *twice) == 2
    assert "would both be written to" in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_audio_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path) == 2
    assert "holds no audio file" in capsys.readouterr().err
