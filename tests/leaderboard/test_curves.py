"""Curves of pretraining are untrusted input, as results are."""

import os
from pathlib import Path
from typing import Any

import pytest
from harness_bench.leaderboard.curves import MAX_BYTES, MAX_FILES, load_curves
from harness_bench.leaderboard.plots import draw_overall
from harness_bench.leaderboard.plots.drawing import SERIES

from tests.leaderboard.conftest import curves_file, table


def variant(**changes: Any) -> list[dict[str, Any]]:
    points = {"updates": [1, 2], "loss_bits": [6.0, 5.0], "share_of_entropy": [1.0, 0.9]} | changes
    return [{"name": "n", "title": "t", "curve": points}]


def test_no_folder_no_curves(tmp_path: Path) -> None:
    """Most results come without; a file in the folder's place is told."""
    assert load_curves(tmp_path / "curves") == ([], {})
    (tmp_path / "curves").write_text("")
    found, problems = load_curves(tmp_path / "curves")
    assert not found
    assert "is no folder" in problems[tmp_path / "curves"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"student": 3}, "student: Input should be a valid string"),
        ({"student": "\u200b"}, "student: it has no visible character"),
        ({"variants": []}, "variants: Tuple should have at least 1 item"),
        ({"variants": variant() * 13}, "variants: Tuple should have at most 12 items"),
        ({"variants": [{"name": "n", "title": "t"}]}, "variants.0.curve: Field required"),
        ({"variants": variant(updates=[2, 2])}, "updates must rise"),
        ({"variants": variant(updates=[1])}, r"as many, there are \[1, 2, 2\]"),
        ({"variants": variant(updates=[-1, 2])}, "greater than or equal to 0"),
        ({"variants": variant(loss_bits=[1.0, "2"])}, "loss_bits.1: Input should be"),
        ({"variants": variant(loss_bits=[1.0, float("nan")])}, "finite number"),
        ({"variants": variant(share_of_entropy=[1.0, 1e300])}, "less than or equal to 1000000000"),
        ({"variants": variant(updates=list(range(1001)))}, "at most 1000 items"),
        ({"caveats": ["x" * 501]}, "caveats.0: String should have at most 500 characters"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_and_hides_no_other(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """Each bound of the model; the good file beside it is read."""
    good, bad = curves_file(tmp_path / "a.json"), curves_file(tmp_path / "b.json", **changes)
    found, problems = load_curves(tmp_path)
    assert good.is_file()
    assert [each.student for each in found] == ["student"]
    assert list(problems) == [bad]
    with pytest.raises(ValueError, match=reason):
        raise ValueError(problems[bad])


def test_what_is_no_json_file_is_told(tmp_path: Path) -> None:
    """Pipes would block for ever, deep nesting would recurse, large files would fill the memory."""
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "large.json").write_text(" " * (MAX_BYTES + 1))
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nothing")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    found, problems = load_curves(tmp_path)
    assert not found
    assert len(problems) == 6


def test_files_are_counted(tmp_path: Path) -> None:
    """A thousand files would be a thousand plots; those left out are named."""
    for number in range(MAX_FILES + 2):
        curves_file(tmp_path / f"{number:02}.json")
    found, problems = load_curves(tmp_path)
    assert len(found) == MAX_FILES
    assert [path.name for path in problems] == [f"{MAX_FILES}.json", f"{MAX_FILES + 1}.json"]


def test_one_line_a_variant(tmp_path: Path) -> None:
    """Both panels; every variant of the legend; its last loss in words; the caveats with it."""
    curves_file(tmp_path / "curves" / "a.json", extra={"of": "a later version"})
    curves_file(tmp_path / "curves" / "b.json", variants=variant(updates=[0, 1]) * 12)
    found, problems = load_curves(tmp_path / "curves")
    assert not problems
    first, second = draw_overall(table(tmp_path / "results"), found)
    for number in range(4):
        assert f">start {number}<" in first.svg
        assert f"start {number}: 4.5 bits, 0.9 of the entropy, after 9 updates" in first.text
    assert first.title.endswith("One seed each")
    assert [first.name, second.name] == ["00-curves-1", "00-curves-2"]
    assert all(f"--series-{number}" in second.svg for number in range(1, len(SERIES) + 1))
