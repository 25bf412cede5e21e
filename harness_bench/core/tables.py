"""Tables of text for people: cells lined up in columns."""

from collections.abc import Iterable, Sequence

GAP = "  "


def columns(rows: Sequence[Sequence[str]], *, texts: bool = False) -> list[str]:
    """Line up the cells of rows, two spaces between columns; return one line per row.

    The first column stands to the left, the others, of figures, to the right; `texts` to the left,
    without a space at a line's end. Rows of different lengths are a ValueError.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if texts:
        return [GAP.join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [
        GAP.join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])
        for first, *others in rows
    ]


def markdown_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown; the cells' own signs must be escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
