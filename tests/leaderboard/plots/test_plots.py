"""Plots: real PNG files, colours of the page, no name or number of models that breaks them."""

import itertools
import re
from pathlib import Path

import pytest
from harness_bench.leaderboard.build import LeaderboardFiles
from harness_bench.leaderboard.curves import load_curves
from harness_bench.leaderboard.plots import draw_overall, draw_plots
from harness_bench.leaderboard.plots.drawing import KINDS, Plot
from harness_bench.leaderboard.tables import parameters
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.sanitize import clean, shorten
from tests.leaderboard.conftest import curves_file, result, table


def test_plots_are_images(built: LeaderboardFiles) -> None:
    """A bar plot and a size plot for each of the two columns; of the paper's, beside others."""
    for path in built.plots:
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
    own = [path.stem for path in built.plots if not path.stem.startswith("reported-")]
    kinds = [name.rpartition("-")[2] for name in own]
    assert kinds == ["overview", *["bars", "parameters"] * 2]


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> list[Plot]:
    """Draw one plot of each kind, names of several scripts and signs in them."""
    names = ("نموذج لهجات", "$x_{", "<b>&amp;", "a" * 100)
    made = [
        result(name, 20.0 + 9 * n, task=task, metric=metric, parameters=10 ** (5 + n),
               real_time=0.01 * (n + 1), layer_weights=((0.9, 0.1), (0.3, 0.5, 0.2))[n % 2],
               model_kind=kind)
        for n, (name, kind) in enumerate(zip(names, KINDS, strict=True))
        for task, metric in (("asr", "wer"), ("did", "accuracy"), ("ser", "accuracy"))
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("kinds")
    drawn = table(folder, *made)
    assert curves_file(folder / "curves" / "a.json").is_file()
    found, problems = load_curves(folder / "curves")
    assert not problems
    plots = draw_plots(drawn)
    return [*itertools.chain(*plots.values()), *draw_overall(drawn, found)]


def test_every_colour_of_the_page_is_a_variable(every_kind: list[Plot]) -> None:
    """A fixed colour would vanish on a dark ground; a font of its own would load nothing."""
    plots = every_kind
    kinds = {plot.name.removeprefix("00-").split("-", 3)[-1] for plot in plots}
    assert kinds >= {"bars", "parameters", "real-time", "layers", "radar", "overview"}
    used: set[str] = set()
    for plot in plots:
        assert not re.findall(r"(?:fill|stroke|color): (?!none|var|color-mix)[^;\"]*", plot.svg)
        # What names no colour at all is black.
        assert all("fill: " in text for text in re.findall("<text [^>]*>", plot.svg))
        assert "DejaVu" not in plot.svg
        used |= set(re.findall(r"var\((--[\w-]+)\)", plot.svg))
        assert plot.png.startswith(b"\x89PNG\r\n")
    assert used >= {"--ink", "--muted", "--line", "--card", "--accent", "--heat", "--font"}
    assert used >= {f"--{kind}" for kind in KINDS}
    assert used >= {f"--series-{n}" for n in range(1, 5)}


def test_names_stand_in_the_plots_as_text(every_kind: list[Plot]) -> None:
    """Neither a formula nor markup nor an unshaped script: the browser gets the letters."""
    svgs = " ".join(plot.svg for plot in every_kind)
    for written in ("نموذج لهجات", "$x_{", "&lt;b&gt;&amp;amp;"):
        assert written in svgs
    assert "<b>" not in svgs


def test_plots_keep_their_size_with_many_models(tmp_path: Path) -> None:
    """500 models must not make a plot of 500 rows; what is left out is said."""
    weights = 0.5, 0.5
    many = [result(f"m{n}", n / 2, parameters=1000 + n, layer_weights=weights) for n in range(70)]
    ((bars, scatter, layers),) = draw_plots(table(tmp_path, *many)).values()
    assert all(plot.title.endswith("best 30 of 70") for plot in (bars, layers))
    assert "and 40 more" in bars.text
    assert "m69" in bars.text
    assert "m39 " not in bars.text
    # Each point is there, and each of the front, which is all of them here, may have a name.
    assert scatter.svg.count('<a class="spot') == 70
    assert len(re.findall(r">m\d+</text>", scatter.svg)) == 28


def test_plots_without_figures_are_not_drawn(tmp_path: Path) -> None:
    """A cost of one model alone compares nothing; missing ones are counted."""
    models = [result("a", 50, parameters=10), result("b", 60, real_time=0.5), result("c", 70)]
    (plots,) = draw_plots(table(tmp_path, *models)).values()
    assert [plot.name.rpartition("-")[2] for plot in plots] == ["bars"]
    more = [*models, result("d", 40, parameters=20)]
    (plots,) = draw_plots(table(tmp_path, *more)).values()
    assert [plot.name.rpartition("-")[2] for plot in plots] == ["bars", "parameters"]
    assert plots[1].title.endswith("Not drawn, cost not known: 2 of 4 models")


@pytest.mark.parametrize(
    ("count", "written"),
    [(None, "–"), (0, "0"), (999, "999"), (712_345, "712 k"), (4_812_345, "4.81 M"),
     (28_478_336, "28.5 M"), (316_000_000, "316 M"), (2_000_000, "2 M"), (10**13, "10,000,000 M")],
)  # fmt: skip
def test_parameters_are_written(count: int | None, written: str) -> None:
    """Three digits are what a table needs; the exact count stands in the page's tooltip."""
    assert parameters(count) == written


@given(text=st.text())
def test_cleaned_text_is_one_visible_line(text: str) -> None:
    """Line breaks and direction marks in names could forge rows or reverse figures."""
    line = clean(text)
    assert clean(line) == line
    assert line.isprintable()
    assert len(shorten(text, 10)) <= 10


def test_extreme_costs_are_drawn(tmp_path: Path) -> None:
    """What the schema lets through must not break a logarithmic axis."""
    costs = (0.0, 5e-324, 1e18)
    models = [result(f"m{n}", 50 + n, real_time=cost) for n, cost in enumerate(costs)]
    (plots,) = draw_plots(table(tmp_path, *models)).values()
    assert plots[-1].name.endswith("real-time")
    assert "m0, m1, m2" in plots[-1].text
