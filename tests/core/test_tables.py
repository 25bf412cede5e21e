"""Tables of text: every cell stands under its header, whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.tables import columns

CELL = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Z")), max_size=8)
TABLES = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=5)
)


@given(rows=TABLES, texts=st.booleans())
def test_a_column_has_one_place_on_every_line(rows: list[list[str]], *, texts: bool) -> None:
    """Cut at the columns' widths, the lines give the cells back."""
    start = 0
    lines = columns(rows, texts=texts)
    for place, column in enumerate(zip(*rows, strict=True)):
        width = max(map(len, column))
        cut = [line[start : start + width] for line in lines]
        assert [text.strip() for text in cut] == list(column)
        if not texts:
            left = place == 0
            assert cut == [cell.ljust(width) if left else cell.rjust(width) for cell in column]
        start += width + 2
    assert all(len(line) <= start - 2 for line in lines)


def test_a_row_that_lacks_a_cell_is_an_error() -> None:
    """Cut to the shortest row, a table would lose a column of all rows without a word."""
    with pytest.raises(ValueError, match="shorter"):
        columns([("a", "b"), ("c",)])


@given(rows=TABLES, width=st.integers(1, 60))
def test_a_narrow_terminal_cuts_no_word(rows: list[list[str]], width: int) -> None:
    """All words are there, and lines fit where the longest words do."""
    lines = columns(rows, texts=True, width=width)
    assert sorted("".join(lines).replace(" ", "")) == sorted("".join(map("".join, rows)))
    longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    assert max(map(len, lines)) <= max(width, sum(longest) + 2 * (len(longest) - 1))


def test_a_long_cell_continues_below_itself() -> None:
    rows = [("check", "figure", "limit"), ("level", "matters, cosine 0.9474", "none")]
    assert columns(rows, texts=True, width=24) == [
        "check  figure      limit",
        "level  matters,    none",
        "       cosine",
        "       0.9474",
    ]
