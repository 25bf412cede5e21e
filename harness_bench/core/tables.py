"""Tables of text for people: cells lined up in columns."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

GAP = "  "


def columns(
    rows: Sequence[Sequence[str]], *, texts: bool = False, width: int | None = None
) -> list[str]:
    """Line up the cells of rows, two spaces between columns; return one line per row.

    The first column stands to the left, the others, of figures, to the right; `texts` to the left,
    without a space at a line's end. Texts that are wider than `width` characters together continue
    below. Rows of different lengths are a ValueError.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if texts:
        widths = _narrowed(rows, widths, width) if width else widths
        return [line for row in rows for line in _wrapped(row, widths)]
    return [
        GAP.join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])
        for first, *others in rows
    ]


def terminal_width() -> int | None:
    """Return the characters of a line where standard output is a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _narrowed(rows: Sequence[Sequence[str]], widths: Sequence[int], width: int) -> list[int]:
    """Narrow the widest columns until all fit a width; no word is cut, so that they may not fit."""
    words = ([word for cell in cells for word in cell.split()] for cells in zip(*rows, strict=True))
    least = [max(map(len, each), default=0) for each in words]
    found, gaps = list(widths), len(GAP) * (len(widths) - 1)
    while sum(found) + gaps > width:
        wide = [n for n, each in enumerate(found) if each > least[n]]
        if not wide:
            break
        found[max(wide, key=found.__getitem__)] -= 1
    return found


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [
        textwrap.wrap(cell, width) if len(cell) > width else [cell]
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = zip_longest(*cells, fillvalue="")
    return [GAP.join(map(str.ljust, line, widths)).rstrip() for line in lines]


def markdown_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown; the cells' own signs must be escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
