"""Decoding in parts: every utterance once, nothing finished done again, nothing old kept."""

from pathlib import Path

import pytest

from harness_bench.asr.espnet import decode as stage
from harness_bench.asr.kaldi import read_table, write_skipped, write_table
from harness_bench.core.files import digest_file, digest_strings
from harness_bench.core.workdir import NOTE, WorkDir

KEYS = {f"utt-{number}": f"/audio/{number}.wav" for number in range(7)}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for ESPnet's decoder; return the keys of every part that it decoded."""
    parts: list[list[str]] = []

    def run(_: str, line: list[str]) -> None:
        options = dict(zip(line[:4:2], line[1:4:2], strict=True))
        keys = list(read_table(Path(options["--key_file"])))
        parts.append(keys)
        out = Path(options["--output_dir"]) / "1best_recog"
        write_table(out / "text", {key: f"said {key}" for key in keys})

    def run_all(parts: list[WorkDir], arguments: list[str]) -> None:
        for part in parts:
            run(stage._PROGRAM, stage._command(part.folder, arguments))
            part.finish()

    monkeypatch.setattr(stage, "run", run)

    monkeypatch.setattr(stage, "_run_beside", run_all)
    return parts


def decode(folder: Path, jobs: int = 1, *more: str, beam: int = 1) -> int:
    """Run the stage in a folder; return how many parts it had to decode."""
    config = folder / "decode.yaml"
    config.write_text(f"beam_size: {beam}\n", encoding="utf-8")
    if not (folder / "wav.scp").is_file():
        write_table(folder / "wav.scp", KEYS)
    words = ["--config", str(config), *more]
    return stage.decode(folder / "wav.scp", folder / "out", jobs, words)


@pytest.mark.parametrize("jobs", [1, 3, 20])
def test_every_utterance_is_decoded_once(
    tmp_path: Path, decoded: list[list[str]], jobs: int
) -> None:
    """A key lost between two parts would be missing from the score."""
    count = decode(tmp_path, jobs)
    assert count == len(decoded) == min(jobs, len(KEYS))
    assert [key for part in decoded for key in part] == list(KEYS)
    text = read_table(tmp_path / "out" / "1best_recog" / "text")
    assert text == {key: f"said {key}" for key in KEYS}


def test_a_run_cut_off_decodes_only_what_is_missing(
    tmp_path: Path, decoded: list[list[str]]
) -> None:
    """Ten hours of speech take hours on a CPU."""
    decode(tmp_path, 3)
    (tmp_path / "out" / "logdir" / "output.2of3" / NOTE).unlink()
    decoded.clear()
    assert decode(tmp_path, 3) == 1
    assert decoded == [["utt-2", "utt-3"]]
    assert decode(tmp_path, 3) == 0


@pytest.mark.parametrize("change", ["config", "keys", "argument"])
def test_other_settings_are_decoded_anew(
    tmp_path: Path, decoded: list[list[str]], change: str
) -> None:
    """The old hypotheses would be reported under the new settings."""
    decode(tmp_path)
    if change == "keys":
        write_table(tmp_path / "wav.scp", dict(list(KEYS.items())[:3]))
    words = ("--ctc_weight", "0.5") if change == "argument" else ()
    assert decode(tmp_path, 1, *words, beam=2 if change == "config" else 1) == 1
    assert len(read_table(tmp_path / "out" / "1best_recog" / "text")) == len(decoded[-1])


def test_a_failed_process_shows_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody should have to look for the log of the third of eight processes.

    One may run out of memory after the others have worked for hours: those are kept.
    """
    program = "import sys\ndef main(): sys.exit('a reason' * ('output.1of2' in sys.argv[2]))\n"
    (tmp_path / "ends.py").write_text(program, encoding="utf-8")
    monkeypatch.setattr(stage, "_PROGRAM", "ends")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    parts = [WorkDir(tmp_path / "logdir" / f"output.{number}of2", {}) for number in (1, 2)]
    for part in parts:
        part.begin()
    told = r"(?s)failed in 1 processes.*asr_inference.1of2.*a reason"
    with pytest.raises(ValueError, match=told):
        stage._run_beside(parts, [])
    assert [part.finished for part in parts] == [False, True]


def test_a_part_that_an_older_version_decoded_is_kept(
    tmp_path: Path, decoded: list[list[str]]
) -> None:
    """Its `done` is the digest of arguments, files that they name and stamps of the audio."""
    decode(tmp_path)
    digests = [digest_file(tmp_path / name) for name in ("wav.scp", "decode.yaml")]
    words = ("--config", str(tmp_path / "decode.yaml"))
    mark = digest_strings([*words, *digests, *[""] * len(KEYS)])
    part = tmp_path / "out" / "logdir" / "output.1of1"
    (part / NOTE).unlink()
    (part / "done").write_text(mark + "\n", encoding="utf-8")
    assert decode(tmp_path) == 0
    assert len(decoded) == 1


def test_audio_written_anew_is_decoded_anew(tmp_path: Path, decoded: list[list[str]]) -> None:
    """Another cut of the same name has the same file; the list of files does not show it."""
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"one")
    write_table(tmp_path / "wav.scp", {"utt-0": str(audio)})
    counts = []
    for content in (b"one", b"one", b"longer"):
        if audio.read_bytes() != content:
            audio.write_bytes(content)
        counts.append(decode(tmp_path))
    assert counts == [1, 0, 1]
    assert len(decoded) == 2


@pytest.mark.usefixtures("decoded")
def test_what_cannot_be_heard_has_an_empty_hypothesis(tmp_path: Path) -> None:
    """Left out, it would lower the error rate of a test set."""
    decode(tmp_path, 2)
    write_skipped(tmp_path / "org", {"utt-3x": "NaN or infinite samples"})
    words = ["--config", str(tmp_path / "decode.yaml")]
    for _ in range(2):  # again, nothing is decoded and the table is the same
        keys, out = tmp_path / "wav.scp", tmp_path / "out"
        assert stage.decode(keys, out, 2, words, unheard=tmp_path / "org") == 0
        text = read_table(out / "1best_recog" / "text")
        assert text == {**{key: f"said {key}" for key in KEYS}, "utt-3x": ""}
