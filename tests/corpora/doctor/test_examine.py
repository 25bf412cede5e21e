"""The corpus doctor on sound and on spoilt folders: every fault found, none invented."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from harness_bench.cli import app
from harness_bench.corpora.check import Limits
from harness_bench.corpora.doctor.examine import examine, reproduce
from harness_bench.corpora.doctor.listen import Listening
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts import store
from tests.corpora import trees
from tests.corpora.doctor import official
from tests.corpora.doctor.conftest import kinds
from tests.cut_files import RATE, row, write

NAMES = ("good", "gone", "garbage", "shorter", "other", "zeros", "nan", "loud", "brief", "long")
JUNK = "| a <script>alert(1)</script>"


def speech(seconds: float, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared folder of ten utterances, all sound; one is brief and one long."""
    root = tmp_path / "corpus"
    root.mkdir()
    for seed, name in enumerate(NAMES):
        seconds = {"brief": 0.3, "long": 61.0}.get(name, 1.0)
        soundfile.write(root / f"{name}.wav", speech(seconds, seed), RATE, subtype="FLOAT")
    labels = {NAMES[0]: JUNK}
    rows = [f"{name}.wav\ts1\t{labels.get(name, 'x')}" for name in (*NAMES, "absent")]
    (root / "manifest.tsv").write_text("\n".join(["path\tspeaker\tlabel", *rows]) + "\n")
    config = PrepareConfig(max_skipped=0.5, jobs=1, limits=Limits(max_duration=70))
    prepare("tsv", root, tmp_path / "cuts", config)
    return tmp_path / "cuts"


def spoil(root: Path) -> None:
    """Break the audio of a folder that was prepared from it, one file in each way."""
    (root / "gone.wav").unlink()
    (root / "garbage.wav").write_bytes(b"no audio" * 99)
    soundfile.write(root / "shorter.wav", speech(0.5), RATE, subtype="FLOAT")
    soundfile.write(root / "other.wav", speech(1.0, 99), RATE, subtype="FLOAT")
    soundfile.write(root / "zeros.wav", 0 * speech(1.0), RATE, subtype="FLOAT")
    soundfile.write(root / "nan.wav", np.nan * speech(1.0), RATE, subtype="FLOAT")
    soundfile.write(root / "loud.wav", np.clip(30 * speech(1.0, 7), -1, 1), RATE, subtype="FLOAT")


def test_a_sound_folder_is_sound(folder: Path) -> None:
    """Notes are told, yet are no fault; the ids are those that were prepared."""
    found = examine(folder)
    assert found.sound
    assert kinds(folder / "doctor") == {"brief": {"too short"}, "long": {"too long"}}
    assert [(line.verdict, line.what) for line in found.lines] == [
        ("equal", "train: the same ids as prepared")
    ]
    assert [(item.reason, item.utterances) for item in found.left_out] == [("missing file", 1)]
    assert found.left_out[0].first[0]["id"] == "absent"
    assert found.findings.heard == len(NAMES)
    assert {path.name for path in (folder / "doctor").iterdir()} == {
        "doctor.md", "doctor.json", "findings.tsv", "durations.png", "classes.png",
    }  # fmt: skip


def test_every_fault_of_audio_is_found(folder: Path, tmp_path: Path) -> None:
    """Disks fail and files are overwritten after `prepare`; training would not notice."""
    spoil(tmp_path / "corpus")
    found = examine(folder, tmp_path / "out")
    assert kinds(tmp_path / "out") == {
        "gone": {"missing file"},
        "garbage": {"unreadable audio"},
        "shorter": {"past the end of its recording"},
        "other": {"audio has changed"},
        "zeros": {"silent"},
        "nan": {"NaN or infinite samples"},
        "loud": {"audio has changed", "clipped"},
        "brief": {"too short"},
        "long": {"too long"},
    }
    assert not found.sound
    written = json.loads((tmp_path / "out" / "doctor.json").read_text())
    assert found.findings.faults == written["faults"] == 7
    assert written["findings"]["clipped"] == 1


@pytest.mark.parametrize(("percent", "clipped"), [(0.01, True), (90.0, False)])
def test_clipped_is_chosen(folder: Path, tmp_path: Path, percent: float, *, clipped: bool) -> None:
    """Loudness-normalised corpora clip a little everywhere; doctor.json tells what was asked."""
    spoil(tmp_path / "corpus")
    examine(folder, config=Listening(clipped_percent=percent))
    assert ("clipped" in kinds(folder / "doctor")["loud"]) is clipped
    assert json.loads((folder / "doctor" / "doctor.json").read_text())["listening"] == {
        "audio": "all", "min_seconds": 0.5, "max_seconds": 60.0, "clipped_percent": percent,
        "jobs": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("audio", "heard"), [("none", 0), (4, 4), (400, 10)])
def test_listening_to_less(folder: Path, audio: Any, heard: int) -> None:
    """A corpus of thousands of hours takes hours to decode: a part, drawn by id, or none."""
    assert examine(folder, config=Listening(audio=audio)).findings.heard == heard


def test_cuts_taken_away_are_noticed(folder: Path) -> None:
    """As many cuts, and yet others, is a difference too."""
    (folder / "cuts.train.jsonl.gz").rename(folder / "cuts.dev.jsonl.gz")
    found = examine(folder, config=Listening(audio="none"))
    assert [line.detail for line in found.lines] == ["the split is gone"]
    write(folder, "train", [row(f"u{n}") for n in range(len(NAMES))])
    (line,) = examine(folder, config=Listening(audio="none")).lines
    assert (line.known, line.counted, line.verdict) == ("10", "10", "differs")


def test_the_report_shows_text_as_text(folder: Path) -> None:
    """Labels come from strangers; Markdown and HTML in them must stay what they are."""
    examine(folder, config=Listening(audio="none"))
    text = (folder / "doctor" / "doctor.md").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "\\| a \\<script\\>alert(1)" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    for heading in ("Against what is known", "Splits", "label", "Plots", "Audio", "left out"):
        assert heading in text


def test_rates(tmp_path: Path) -> None:
    """Below 16 kHz something is missing; of a corpus whose rate is known any other is wrong."""
    rows = [row("a", rate=8000), row("b", rate=16_000), row("c", rate=44_100)]
    plain = write(tmp_path / "plain", "train", rows)
    examine(plain, config=Listening(audio="none"))
    assert kinds(plain / "doctor") == {"a": {"wrong rate"}}
    known = official.as_prepared(write(tmp_path / "adi5", "train", rows), "adi5")
    examine(known, config=Listening(audio="none"))
    assert kinds(known / "doctor") == {"a": {"wrong rate"}, "c": {"wrong rate"}}


def test_corpora_as_they_are_known(tmp_path: Path) -> None:
    """Folders with the official numbers: not a line differs, classes and shared videos included."""
    found = examine(official.ksuemotions(tmp_path / "k"), config=Listening(audio="none"))
    assert [line.verdict for line in found.lines] == ["equal"] * 7
    found = examine(official.adi5(tmp_path), config=Listening(audio="none"))
    assert found.sound
    assert {line.verdict for line in found.lines if "train_share" not in line.detail} == {"equal"}
    assert len(found.lines) == 25
    store.cuts_path(tmp_path, "dev").unlink()
    told = examine(tmp_path, config=Listening(audio="none")).lines
    assert {line.verdict for line in told if line.what.startswith("dev")} == {"cannot tell"}


def test_a_fixture_is_no_whole_corpus(tmp_path: Path) -> None:
    """The way from the disk: a tiny ADI5 differs in every count that can be made."""
    trees.build("adi5", tmp_path / "corpus")
    prepare("adi5", tmp_path / "corpus", tmp_path / "cuts", PrepareConfig(jobs=1))
    found = examine(tmp_path / "cuts")
    assert not found.sound
    assert found.findings.faults == 0
    assert {line.verdict for line in found.lines if "ids" in line.what} == {"equal"}
    assert {line.verdict for line in found.lines if "dev: utterances" in line.what} == {"differs"}


def test_figures_of_ones_own(folder: Path, tmp_path: Path) -> None:
    """Crawled speech has no published figures, yet a lab may know what should be there."""
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'source = "the crawler\'s log"\n'
        '[[figures]]\nsplits = ["train"]\nwhat = "utterances"\nvalue = "10"\n'
        '[[figures]]\nsplits = ["train"]\nwhat = "hours"\nvalue = "0.5"\n'
    )
    runner = CliRunner()
    done = runner.invoke(app.app, ["corpora-doctor", str(folder), "--known", str(mine)])
    assert done.exit_code == 1
    assert "differs by -0.48" in done.stdout
    done = runner.invoke(app.app, ["corpora-doctor", str(folder), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)[0]["sound"] is True
    done = runner.invoke(app.app, ["corpora-doctor", str(folder), "--audio", "none"])
    assert "0 of 10 utterances were decoded" in done.stdout


@pytest.mark.parametrize(
    "wrong", [["--audio", "some"], ["--audio", "0"], ["--min-seconds", "70"], ["--known", "absent"]]
)
def test_wrong_options_are_told(folder: Path, wrong: list[str]) -> None:
    done = CliRunner().invoke(app.app, ["corpora-doctor", str(folder), *wrong])
    assert isinstance(done.exception, ValueError)
    assert not (folder / "doctor").exists()


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """The five corpora as they should be after `prepare`, hours alone."""
    return [
        official.plain(tmp_path / "q", "qasr", {"train": 300.0, "dev": 6.0, "test": 9.6}),
        official.plain(tmp_path / "m2", "mgb2", {"test": 9.58, "test_overlap": 0.54}),
        official.plain(tmp_path / "m3", "mgb3", {"test": 5.78}),
        official.ksuemotions(tmp_path / "k"),
        official.adi5(tmp_path / "a"),
    ]


def test_it_is_the_papers_table(folders: list[Path]) -> None:
    """As PAPER prints it, row by row; what is counted of the official sets stands beside."""
    found = reproduce(folders)
    assert [re.split(r" {2,}", line) for line in found.render().splitlines()[:6]] == [
        ["data", "train h", "dev h", "test h", "task", "differences"],
        ["QASR", "300 / 300.00", "6.0 / 6.00", "- / 9.60", "ASR"],
        ["MGB2", "-", "-", "9.57 / 9.58", "ASR", "test differs by +0.010 (+0.1 %)"],
        ["MGB3", "-", "-", "5.78 / 5.78", "ASR"],
        ["KSUEmotions", "3.30 / 3.30", "0.83 / 0.83", "1.0 / 1.00", "SER"],
        ["ADI5", "42.90 / 42.90", "10.0 / 10.01", "10.0 / 10.12", "DID",
         "test differs by +0.12 (+1.2 %)"],
    ]  # fmt: skip
    assert found.sound
    part = reproduce(folders[1:2])  # what is not given is no difference
    assert part.sound
    assert {cell.detail for cell in part.cells if cell.data == "ADI5"} == {"not given"}


def test_other_hours_are_a_difference(tmp_path: Path) -> None:
    whole = official.plain(tmp_path / "q", "qasr", {"train": 1900.0, "dev": 6.0})
    done = CliRunner().invoke(app.app, ["corpora-doctor", "--table1", str(whole), "--json"])
    assert done.exit_code == 1
    cell = json.loads(done.stdout)["cells"][0]
    assert (cell["data"], cell["split"], cell["verdict"]) == ("QASR", "train", "differs")
    assert "QASR" in CliRunner().invoke(app.app, ["corpora-doctor", "--table1", str(whole)]).stdout


def test_a_folder_of_another_corpus_is_refused(folders: list[Path], tmp_path: Path) -> None:
    """It would be counted nowhere, and nobody would know."""
    with pytest.raises(ValueError, match="Table 1 is of qasr"):
        reproduce([write(tmp_path / "plain", "train", [row("a")])])
    with pytest.raises(ValueError, match="second folder of mgb3"):
        reproduce([folders[2], folders[2]])
