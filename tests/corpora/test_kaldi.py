"""Reading data folders: paths, segments and speakers as Kaldi means them; no command is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.corpora.layouts.kaldi import Corpus
from tests.corpora.trees import kept, left_out, sound, text

if TYPE_CHECKING:
    from pathlib import Path


def test_whole_recordings_and_segments(root: Path) -> None:
    """Text, speaker and gender belong to the utterance, the path to its recording."""
    found = kept(Corpus(language="ar").utterances(root))
    whole, cut = found["a-one"], found["b-1"]
    assert (whole.text, whole.speaker, whole.language) == ("نَعَم a", "a", "ar")
    assert (whole.start, whole.duration, whole.gender) == (0.0, None, None)
    assert (cut.start, cut.duration, cut.gender) == (0.25, 0.5, "female")
    assert cut.audio == root / "wavs/b-1.wav"


@pytest.mark.parametrize("below", ["", "dump/raw", "dump/raw/org"])
def test_relative_paths_start_where_the_recipe_ran(below: str, tmp_path: Path) -> None:
    """Kaldi means the folder of run.sh, which lies one to three above its data folders."""
    sound(tmp_path / "wavs/x.wav")
    text(tmp_path / below / "train/wav.scp", ["x wavs/x.wav"])
    (item,) = kept(Corpus().utterances(tmp_path / below)).values()
    assert item.audio == tmp_path / "wavs/x.wav"


def test_what_names_no_file_is_left_out_with_the_way_out(tmp_path: Path) -> None:
    """A command of strangers is not run; an archive of Kaldi cannot be opened."""
    text(tmp_path / "test/wav.scp", [
        f"a touch {tmp_path}/ran |", "b dump/data.1.ark:42", "c", "d /absent/d.wav",
    ])  # fmt: skip
    found = list(Corpus().utterances(tmp_path))
    assert left_out(found) == {"a": "bad row", "b": "bad row", "c": "bad row"}
    assert [*kept(found)] == ["d"]
    assert not (tmp_path / "ran").exists()


def test_segments_of_no_recording_are_told(root: Path) -> None:
    """A wav.scp that was filtered without its segments."""
    text(root / "dev/segments", ["b-1 other 0 1", "b-2 rec-b-1 1 0.5", "b-3 rec-b-1 0 0.5"])
    found = list(Corpus().utterances(root))
    assert left_out(found) == {"b-1": "missing file", "b-2": "bad row"}
    assert kept(found)["b-3"].text is None


def test_other_names_are_options(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ESPnet's recipes call dev valid; what is there and not read is named."""
    (root / "dev").rename(root / "valid")
    assert {item.split for item in kept(Corpus().utterances(root)).values()} == {"train", "test"}
    assert "not read: valid" in capsys.readouterr().err
    found = kept(Corpus(dev="valid").utterances(root))
    assert found["b-1"].split == "dev"


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("wavs", "none of train/wav.scp, dev/wav.scp, test/wav.scp; found no data folder"),
        ("dev", "one data folder.*test=dev"),
    ],
)
def test_another_folder_is_refused(folder: str, message: str, root: Path) -> None:
    """With what was found there, and the option or folder to give."""
    with pytest.raises(ValueError, match=message):
        list(Corpus().utterances(root / folder))
