"""Build the leaderboard: read results, rank them, write every output."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.files import write_bytes, write_text
from harness_bench.core.sanitize import canonical, clean
from harness_bench.results.record import (
    Result,
    asked_back,
    fraction_problems,
    load_results,
    may_be_fraction,
)

from .board import Board
from .curves import load_curves, load_series
from .evidence import gather_all
from .ranking import make_table
from .tables import latex, markdown, to_csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .board import Evidence


_OURS = re.compile(
    r"(reported-)?(00-(overview|radar|(curves|series)-\d+)|"
    r"\d\d+-.*-(bars|parameters|real-time|layers))\.png"
)
PAPER = Path(__file__).parent / "results" / "paper"


@dataclass(frozen=True)
class LeaderboardFiles:
    """What was written, and the board itself for a table in the terminal."""

    html: Path
    markdown: Path
    csv: Path
    latex: Path
    plots: tuple[Path, ...]
    board: Board

    @property
    def problems(self) -> dict[str, str]:
        """Result files left out: name -> reason."""
        return self.board.problems


def build(
    results: str | Path,
    out: str | Path,
    *,
    title: str = "Leaderboard",
    include_reported: bool = True,
    split: str | None = "test",
    hide_leaking: bool = False,
    dated: bool = True,
) -> LeaderboardFiles:
    """Build the leaderboard of a folder of results: tables, plots and the page.

    The folders `curves` and `series` of the results are read too. Invalid result files are listed
    on the page, in the Markdown and in the return value. Plots of an earlier build with other
    columns are removed.

    Args:
        results: folder of result files.
        out: folder for leaderboard.md, .csv, .tex, index.html and the plots.
        title: heading of the page.
        include_reported: add the scores of the paper and of related papers, in a separate table.
        split: the split to show; None shows all.
        hide_leaking: hide models that were trained on data of a split shown from tables and ranks.
        dated: say when it was built; without it, equal results give equal bytes.

    Raises:
        ValueError: the results folder does not exist.
    """
    results, out = Path(results), Path(out)
    board = make_board(
        results, title=title, include_reported=include_reported, split=split,
        hide_leaking=hide_leaking,
    )  # fmt: skip
    # matplotlib and jinja2 take a second.
    from .page import model_links, render_page  # noqa: PLC0415
    from .plots import draw_table  # noqa: PLC0415

    curves, broken = load_curves(results / "curves")
    series, odd = load_series(results / "series")
    told = _reasons(broken, "curves/") | _reasons(odd, "series/")
    board = replace(board, problems=board.problems | told)
    if not dated:
        board = replace(board, built=None)
    if include_reported:
        series = [*load_series(PAPER / "series")[0], *series]
    drawn = {
        table.source: draw_table(table, model_links(board, table.source), lines, series)
        for table, lines in ((board.measured, curves), (board.reported, ()))
    }
    plots = [*itertools.chain.from_iterable(each.all for each in drawn.values())]
    pictures = {out / f"{plot.name}.png": plot for plot in plots}
    for stale in set(out.glob("*.png")) - set(pictures):
        if _OURS.fullmatch(stale.name):  # a picture of somebody's own stays
            stale.unlink()
    for path, plot in pictures.items():
        write_bytes(path, plot.png)
    html, md, csv, tex = (
        out / name
        for name in ("index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex")
    )
    write_text(md, markdown(board, [(plot.title, path.name) for path, plot in pictures.items()]))
    write_text(csv, to_csv(board))
    write_text(tex, latex(board))
    write_text(html, render_page(board, drawn))  # last: it links to all the others
    return LeaderboardFiles(html, md, csv, tex, tuple(pictures), board)


def make_board(
    results: Path,
    *,
    title: str,
    include_reported: bool = True,
    split: str | None = "test",
    hide_leaking: bool = False,
) -> Board:
    """Read and rank results without writing anything; arguments and errors as for `build`."""
    found, problems = load_results(results)
    if include_reported:
        found, contradicting = _with_paper(found)
        problems |= contradicting
    shown = {path: result for path, result in found.items() if split in (None, result.split)}
    hidden = Counter(result.split for path, result in found.items() if path not in shown)
    leaking = {_row(each) for each in shown.values() if hide_leaking and each.leaks}
    shown = {path: result for path, result in shown.items() if _row(result) not in leaking}
    evidence = gather_all(shown)
    fractions = _fractions(shown, evidence.values())
    shown = {path: result for path, result in shown.items() if path not in fractions}
    return Board(
        title=title,
        split=split,
        measured=make_table(shown, "measured", evidence),
        reported=make_table(shown, "reported"),
        problems=_reasons(problems | fractions),
        hidden=hidden,
        hidden_leaking=tuple(sorted(model for _, model in leaking)),
    )


def _fractions(results: Mapping[Path, Result], evidence: Iterable[Evidence]) -> dict[Path, str]:
    """Return the results that may be fractions and that no predictions prove, and why.

    Those without predictions are asked back when they are read.
    """
    known = [*evidence]
    why = {path: text for found in known for path, text in found.contradicted.items()}
    proved = {path for found in known for path in found.breakdowns}
    return {
        path: why.get(path)
        or asked_back(path, fraction_problems(result.model_copy(update={"predictions": None})))
        for path, result in results.items()
        if may_be_fraction(result.main_metric, result.main) and path not in proved
    }


def _row(result: Result) -> tuple[str, str]:
    """Return what makes two results figures of one row: where they come from, and the model."""
    return result.source, canonical(result.model)


def _with_paper(found: Mapping[Path, Result]) -> tuple[dict[Path, Result], dict[Path, str]]:
    """Add the paper's rows, each once; and say which files of the folder contradict them."""
    paper, broken = load_results(PAPER)
    assert not broken, broken
    rows = {result.key: result for result in paper.values()}
    own = {path: result for path, result in found.items() if result.key not in rows}
    reasons = {
        path: f"{path} says otherwise of a reported row that is shown as the paper prints it."
        for path, result in found.items()
        if result.key in rows and result.metrics != rows[result.key].metrics
    }
    return own | paper, reasons


def _reasons(problems: Mapping[Path, str], below: str = "") -> dict[str, str]:
    """Return file name -> reason; file names are untrusted too, and need not be text."""
    found: dict[str, str] = {}
    for path, reason in problems.items():
        name, number = f"{below}{clean(path.name)}", 1
        while (shown := name if number == 1 else f"{name} ({number})") in found:
            number += 1  # Two names may look the same: neither hides the other.
        found[shown] = clean(reason.removeprefix(f"{path} "))
    return found
