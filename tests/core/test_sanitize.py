"""No untrusted path may leave its folder, no untrusted text may do more than be seen."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.sanitize import (
    canonical,
    check_relative,
    clean,
    escaped,
    inside,
    is_name,
    read_bounded,
    shorten,
    visible,
)


@given(text=st.text(alphabet=st.sampled_from("ab./\\: \0\n~"), max_size=12))
def test_a_path_that_passes_stays_inside(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is let through lies below the folder, and not the folder itself."""
    folder = tmp_path_factory.getbasetemp()
    try:
        path = inside(folder, text)
    except ValueError:
        return
    assert folder.resolve() in path.parents


ALIKE = {
    "NFD": ("Modèle", "Mode\u0300le"),
    "hamza": ("أحمد", "ا\u0654حمد"),
    "order of marks": ("ب\u064e\u0651", "ب\u0651\u064e"),
    "presentation forms": ("لا سلام", "\ufefb ﺳﻼﻡ"),
    "ligature": ("fine", "ﬁne"),
    "wide": ("HuBERT-L", "\uff28u\uff22ERT\uff0dL"),
    "spaces": ("my model", " my \u00a0\u2003model\t"),
    "direction": ("نموذج", "\u200fنموذج\u202c"),
    "soft hyphen": ("hubert", "hu\u00adbert"),
    "selector": ("🦜", "🦜\ufe0f"),
    "filler": ("a", "a\u3164\u2800\u034f"),
}
# What a reader tells apart: case, Persian letters, digits, marks, superscripts, other scripts.
DIFFERENT = [
    "HuBERT", "hubert", "ي", "ی", "ى", "ك", "ک", "أ", "ا", "آ", "ة", "ه", "مدرس", "مدرّس", "مـدرس",
    "x2", "x²", "x②", "٣", "۳", "3", "a", "\u0430", "\U0001d41a", "a-b", "a b", "a_b",
]  # fmt: skip


@pytest.mark.parametrize("kind", ALIKE)
def test_names_that_look_the_same_are_one(kind: str) -> None:
    """Two of them would be two rows that no reader can tell apart."""
    one, other = map(canonical, ALIKE[kind])
    assert one == other == ALIKE[kind][0] == canonical(other)


def test_names_that_look_different_stay_different() -> None:
    """Folding them would put one model's figures into another's row."""
    assert len({canonical(name) for name in DIFFERENT}) == len(DIFFERENT)
    assert all(canonical(name) == name for name in DIFFERENT)


@given(st.text(max_size=20))
def test_a_canonical_name_is_a_visible_line(text: str) -> None:
    """It holds no more than `clean` would leave, and is its own canonical name."""
    name = canonical(text)
    assert clean(name) == name == canonical(name)


@pytest.mark.parametrize("text", ["predictions/a.jsonl", "a b/ملف.jsonl", "..a/b"])
def test_plain_paths_pass(text: str, tmp_path: Path) -> None:
    """A check that refused everything would pass the test above."""
    assert check_relative(text) == text
    assert inside(tmp_path, text) == tmp_path.resolve() / text


def test_a_loop_of_links_is_refused_or_stays(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    try:
        assert inside(tmp_path, "a/x").is_relative_to(tmp_path.resolve())
    except ValueError as error:
        assert "cannot be followed" in str(error)  # noqa: PT017 - either is right


def test_reading_is_bounded(tmp_path: Path) -> None:
    """To the byte."""
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    assert read_bounded(path, 4) == b"1234"
    with pytest.raises(ValueError, match=r"has 4 bytes; at most 3"):
        read_bounded(path, 3)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_bounded(tmp_path / "absent", 3)


@given(st.text(), st.integers(1, 20))
def test_cleaned_text_is_one_printable_line(text: str, limit: int) -> None:
    """Printable, encodable, and cleaning twice changes nothing; shortened, it fits."""
    assert len(shorten(text, limit)) <= limit
    line = clean(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    line.encode()
    assert clean(line) == line


@given(text=st.text(max_size=20))
def test_nothing_is_hidden_and_nothing_is_lost(text: str) -> None:
    """A mark of direction in a path was invisible in the list of what could not be found."""
    shown = visible(text)
    assert "\n" not in shown
    assert all(char.isprintable() or char in "\u200c\u200d" for char in shown)
    if text.isprintable():
        assert shown.split() == text.split()
    assert visible("\u200f\ufeff\xa0\x1b[31m") == r"\u200f\ufeff\xa0\x1b[31m"


def test_lines_for_a_terminal_keep_their_form() -> None:
    """Errors of several lines are indented; a transcript must not colour or overwrite them."""
    assert escaped("a:\n  نعم\tb") == "a:\n  نعم\tb"
    assert escaped("a\rb\x1b[31m\u202ec") == r"a\rb\x1b[31m\u202ec"


@pytest.mark.parametrize(
    "name", ["", "x/../../evil", "../x", "a\\b", "a\x1b", "\u202ea", "x" * 201]
)
def test_a_name_from_a_header_is_no_path(name: str) -> None:
    """A column `reference_x/../../evil` once wrote two folders above the output."""
    assert not is_name(name)
    assert is_name("Ali 2.نص")
