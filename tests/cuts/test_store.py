"""Prepared folders: what is written is what is read, and what is asked for is there or named."""

import gzip
import json
from pathlib import Path

import pytest
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from harness_bench.cuts import store
from tests.cut_files import row, write


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
    """Tables and logs list train first, whatever the alphabet says; errors those there are."""
    for split in ("test_clean", "dev", "test", "train"):
        store.write_cuts(tmp_path, split, [])
    assert store.splits(tmp_path) == ["train", "dev", "test", "test_clean"]
    with pytest.raises(ValueError, match="no split 'valid'; it has train, dev, test, test_clean"):
        store.read_cuts(tmp_path, "valid")


BROKEN = {
    "no JSON": b"{",
    "a list": b"[]",
    "no supervision": json.dumps(row("a") | {"supervisions": []}).encode(),
    "no length": json.dumps(row("a") | {"duration": 0}).encode(),
    "an endless length": json.dumps(row("a") | {"duration": float("inf")}).encode(),
    "an id of no text": json.dumps(row("a") | {"id": 1}).encode(),
    "no bytes of text": b"\xff\xfe",
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_line_is_named(case: str, tmp_path: Path) -> None:
    good = json.dumps(row("a")).encode()
    path = tmp_path / "cuts.train.jsonl.gz"
    path.write_bytes(gzip.compress(good + b"\n" + BROKEN[case] + b"\n"))
    with pytest.raises(ValueError, match=f"{path}:2"):
        list(store.read_rows(path))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """A copy that was cut off must not look like a smaller corpus."""
    folder = write(tmp_path, "train", [row(f"{number}" * 50) for number in range(300)])
    path = store.cuts_path(folder, "train")
    path.write_bytes(path.read_bytes()[:-20])
    for read in (store.read_rows, store.read_cuts_file):
        with pytest.raises(ValueError, match=str(path)):
            list(read(path))
    path.write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=str(path)):
        list(store.read_rows(path))
    with pytest.raises(ValueError, match="no file of cuts"):
        list(store.read_rows(tmp_path / "absent"))


def test_a_spool_gives_lines_in_any_order(tmp_path: Path) -> None:
    """And leaves no file behind."""
    with store.Spool(tmp_path / "new") as spool:
        for number in range(9):
            spool.add(b"%d" % number * number + b"\n")
        assert list(spool.lines([8, 0, 3])) == [b"8" * 8 + b"\n", b"\n", b"333\n"]
        assert not list((tmp_path / "new").iterdir())
