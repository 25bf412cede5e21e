"""What a long job could not use is listed once, over resumes, and too much of it ends the job."""

from pathlib import Path

import pytest

from harness_bench.core.skipped import SkipList


def test_each_utterance_is_listed_once(tmp_path: Path) -> None:
    """An epoch later it is met again, and a resumed job reads the list."""
    skips = SkipList(tmp_path)
    assert not skips.path.exists()
    skips.add(5, (("a", "cut off"), ("b", "NaN")))
    skips.add(5, (("a", "cut off"),))
    again = SkipList(tmp_path)
    again.add(5, (("b", "NaN"), ("c", "gone")))
    assert skips.path.read_text() == "id\treason\na\tcut off\nb\tNaN\nc\tgone\n"
    assert len(again) == 3
    assert SkipList(tmp_path, rank=1).path != skips.path, "ranks never write one file"


def test_a_line_that_a_kill_cut_off_is_written_again(tmp_path: Path) -> None:
    """Line breaks in a reason make no line of their own."""
    (tmp_path / "skipped.0.tsv").write_text("id\treason\na\tcut off\nb\tcu")
    skips = SkipList(tmp_path)
    skips.add(0, (("a", "cut off"), ("b", "cut\noff")))
    assert skips.path.read_text() == "id\treason\na\tcut off\nb\tcut off\n"


def test_too_many_end_the_job(tmp_path: Path) -> None:
    """A share, beyond a few: a disk that is gone must not look like bad recordings."""
    skips = SkipList(tmp_path, max_share=0.1)
    skips.add(0, [(str(number), "gone") for number in range(10)])
    skips.add(200, [(str(number), "gone") for number in range(10, 20)])
    with pytest.raises(ValueError, match=r"31 of 241 utterances .* max_skipped = 0\.1"):
        skips.add(10, [(str(number), "gone") for number in range(20, 31)])
