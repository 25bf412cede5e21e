"""`transcribe`: where its output goes, and what it refuses before any model is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.asr.transcribe import transcriber as module
from harness_bench.asr.transcribe.transcript import TimedWord, Transcript, TranscriptSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness_bench.asr.transcribe.chunks import Recording

    Run = Callable[..., tuple[int, str, str]]

COMMAND = ("transcribe", "model.zip")


@pytest.fixture
def talks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of three recordings; the model hears their names, and cannot read `bad`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / COMMAND[1]).touch()
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


def test_text_goes_to_standard_output(talks: Path, run: Run) -> None:
    """Of one recording the bare text; of several with their names; nothing else."""
    assert run(*COMMAND, talks / "one.wav") == (0, "one\n", "")
    code, out, err = run(*COMMAND, talks)
    assert (code, out) == (1, f"{talks}/more/two.ogg\ttwo\n{talks}/one.wav\tone\n")
    assert f"left out: {talks}/bad.wav: no sound" in err
    assert "1 of 3 recordings were left out" in err


def test_a_table_has_its_header_once(talks: Path, run: Run, tmp_path: Path) -> None:
    """A recording left out has no rows."""
    out = tmp_path / "all.tsv"
    assert run(*COMMAND, talks, "--format", "tsv", "--out", out)[0] == 1
    lines = out.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "file\tstart\tend\ttext"
    assert [line.split("\t")[-1] for line in lines[1:]] == ["two", "one"]


@pytest.mark.parametrize("style", ["srt", "vtt", "json", "txt", "tsv"])
def test_a_folder_gets_a_file_for_each(talks: Path, run: Run, tmp_path: Path, style: str) -> None:
    """Laid out as the recordings are; one that cannot be read gets none, and is told."""
    out = tmp_path / "out"
    assert run(*COMMAND, talks, "--format", style, "--out", out)[0] == 1
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == [f"more/two.{style}", f"one.{style}"]
    assert "one" in (out / f"one.{style}").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{talks}", "--format", "srt"], "srt is a file of one recording, and 4 were given"),
        (["{talks}", "--format", "srt", "--out", "{talks}/one.txt"], "is a file, and no .srt"),
        # A folder of such a name is what nobody wants.
        (["{talks}/one.wav", "--out", "{talks}/talk.srt"], "is no name of a txt file"),
        (["{talks}/one.wav", "--out", "{talks}/talk.jsonl"], "is no name of a txt file"),
        (["{talks}/one.wav", "{talks}/more/one.flac", "--out", "{talks}/out"],
         "would both be written to"),
        (["{talks}/empty"], "holds no audio file"),
    ],
)  # fmt: skip
def test_what_could_not_be_written_is_refused_at_once(
    arguments: list[str], why: str, talks: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """An hour later is too late."""
    monkeypatch.setattr(module, "transcribe", lambda *_, **__: pytest.fail("it began"))
    for name in ("one.txt", "more/one.flac"):
        (talks / name).touch()
    (talks / "empty").mkdir()
    code, _, err = run(*COMMAND, *(word.format(talks=talks) for word in arguments))
    assert code == 2
    assert why in " ".join(err.split())


def test_what_cannot_be_written_or_run_is_told_before_the_model_is_opened(
    talks: Path, run: Run
) -> None:
    """Decoding takes hours; a disk that is read-only or a GPU that is not there, seconds."""
    (talks / "note").touch()
    one = talks / "one.wav"
    for out in (talks / "note" / "x.txt", "/proc/x.txt", "/proc/folder"):
        code, _, err = run(*COMMAND, one, "--out", out)
        assert (code, err.count("\n")) == (2, 1)
        assert str(out) in err
    for device in ("cuda:99", "gpu"):
        code, _, err = run(*COMMAND, one, "--device", device)
        assert (code, err.count("\n")) == (2, 1)
        assert f"--device {device}" in err
