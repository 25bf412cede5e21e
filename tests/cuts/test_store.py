"""Prepared folders: what is written is what is read, and what is asked for is there or named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from harness_bench.cuts import fields as cut_fields
from harness_bench.cuts import store

if TYPE_CHECKING:
    from pathlib import Path


def cut(uid: str, **fields: object) -> MonoCut:
    """Make a cut of one second whose audio is nowhere."""
    source = AudioSource("file", [0], f"/nowhere/{uid}.wav")
    recording = Recording(uid, [source], 16_000, 16_000, 1.0)
    supervision = SupervisionSegment(uid, recording.id, 0.0, 1.0, **fields)
    return MonoCut(uid, 0.0, 1.0, 0, supervisions=[supervision], recording=recording)


def test_written_cuts_are_read_back(tmp_path: Path) -> None:
    """Arabic text and custom fields pass through the file unchanged, in order."""
    made = [cut(uid, text="قَالَ", speaker="s", custom={"label": "EGY"}) for uid in ("b", "a")]
    assert store.write_cuts(tmp_path, "train", made) == 2
    assert store.read_cuts(tmp_path, "train") == made


def test_equal_cuts_give_equal_bytes(tmp_path: Path) -> None:
    """Gzip writes the time into its header by default; digests would then never agree."""
    for name in ("one", "two"):
        store.write_cuts(tmp_path / name, "train", [cut("a")])
    first, second = (store.cuts_path(tmp_path / name, "train") for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4)


def test_splits_in_the_usual_order(tmp_path: Path) -> None:
    """Tables and logs list train first, whatever the alphabet says."""
    for split in ("test_clean", "dev", "test", "train"):
        store.write_cuts(tmp_path, split, [])
    assert store.splits(tmp_path) == ["train", "dev", "test", "test_clean"]


def test_a_missing_split_lists_those_there_are(tmp_path: Path) -> None:
    """The usual mistake is `valid` for `dev`."""
    store.write_cuts(tmp_path, "dev", [])
    with pytest.raises(ValueError, match="no split 'valid'; it has dev"):
        store.read_cuts(tmp_path, "valid")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """A file cut short by a full disk or a copy must not pass for a short corpus."""
    store.write_cuts(tmp_path, "train", [cut(str(number)) for number in range(200)])
    path = store.cuts_path(tmp_path, "train")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=str(path)):
        store.read_cuts(tmp_path, "train")


def test_labels_by_custom_and_plain_fields() -> None:
    """A task may classify by any column, speaker and gender included."""
    item = cut("a", speaker="s1", gender="female", custom={"dialect": "GLF"})
    assert [cut_fields.label_of(item, field) for field in ("dialect", "speaker", "gender")] == [
        "GLF",
        "s1",
        "female",
    ]
    with pytest.raises(ValueError, match="'a' has no field 'emotion'; it has dialect, gender"):
        cut_fields.label_of(item, "emotion")


def test_group_is_cluster_then_speaker_then_recording() -> None:
    """Confidence intervals resample groups: the widest known unit must win."""
    assert cut_fields.group_of(cut("a", speaker="s1", custom={"cluster": "video7"})) == "video7"
    assert cut_fields.group_of(cut("a", speaker="s1")) == "s1"
    assert cut_fields.group_of(cut("a")) == "a"


def test_a_missing_transcript_is_an_error() -> None:
    """An empty reference would count every word of a hypothesis as an insertion."""
    with pytest.raises(ValueError, match="'a' has no transcript"):
        cut_fields.text_of(cut("a"))


def test_a_custom_field_without_a_value_is_no_label() -> None:
    """`None` as a class of its own would be learnt and scored."""
    item = cut("a", speaker="s1", custom={"dialect": None, "number": 0})
    assert cut_fields.fields_of(item) == {"speaker": "s1", "number": 0}
    with pytest.raises(ValueError, match="has no field 'dialect'; it has number, speaker"):
        cut_fields.label_of(item, "dialect")
