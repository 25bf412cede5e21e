"""Marks of plots as links with words: well-formed, escaped, each model's own, one stop for Tab."""

import itertools
from xml.etree import ElementTree as ET

import pytest
from harness_bench.leaderboard.plots import Plot, draw_table
from harness_bench.leaderboard.plots.drawing import KINDS

from harness_bench.core.sanitize import clean
from tests.leaderboard.conftest import HOSTILE, result, table

SVG = "{http://www.w3.org/2000/svg}"
NAMES = (HOSTILE, "نموذج لهجات", "a&b<c>'\"", "plain")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Plot]:
    """Draw a board whose models have names of every kind, and addresses of their pages."""
    made = [
        result(name, 30 + 9 * n, task=task, model_kind=kind, parameters=10 ** (6 + n),
               layer_weights=(0.5, 0.3, 0.2))
        for n, (name, kind) in enumerate(zip(NAMES, KINDS, strict=True))
        for task in ("did", "ser")
    ]  # fmt: skip
    found = table(tmp_path_factory.mktemp("spots"), *made)
    links = {row.model: f"#/model/{n}" for n, row in enumerate(found.rows)}
    plots: list[Plot] = draw_table(found, links).all
    return plots


def test_marks_are_links_with_words(drawn: list[Plot]) -> None:
    """One of each model, to its own page, its name in front; Tab stops at the first alone."""
    for plot in drawn:
        svg = ET.fromstring(plot.svg)  # noqa: S314 - our own, and it must be XML
        spots = svg.findall(f".//{SVG}a")
        assert len(spots) == len(NAMES), plot.name
        told = {spot.attrib["href"]: spot.findtext(f"{SVG}title") for spot in spots}
        names = {(text or "").split("\n")[0] for text in told.values()}
        assert names == {clean(name) for name in NAMES}
        assert [spot.attrib["tabindex"] for spot in spots] == ["0", *["-1"] * (len(spots) - 1)]
        assert len({spot.attrib["data-at"] for spot in spots}) == len(spots), plot.name
        # Screen readers hear the marks alone: the drawing beside them is said in the label.
        assert all(each.attrib.get("aria-hidden") or "spots" in each.attrib.get("class", "")
                   for each in svg.findall(f"{SVG}g"))  # fmt: skip


def center(mark: ET.Element) -> tuple[float, float]:
    """Return the middle of a mark, of whichever shape."""
    shape = mark[-1]
    if shape.tag == f"{SVG}path":  # a triangle or a diamond, which begins at its top
        x, y = shape.attrib["d"].removeprefix("M").partition("l")[0].split()
        return float(x), float(y) + 3.3
    if shape.tag == f"{SVG}rect":
        return float(shape.attrib["x"]) + 3.3, float(shape.attrib["y"]) + 3.3
    return float(shape.attrib["cx"]), float(shape.attrib["cy"])


def test_marks_lie_where_their_figures_are(drawn: list[Plot]) -> None:
    """To the right with ten times the size, by equal steps; up with higher accuracy, too."""
    (plot,) = (plot for plot in drawn if plot.name == "01-did-made-parameters")
    svg = ET.fromstring(plot.svg)  # noqa: S314 - as above
    marks = svg.findall(f".//{SVG}a")  # best first: 57, 48, 39 and 30 %
    across, down = zip(*map(center, marks), strict=True)
    steps = [a - b for a, b in itertools.pairwise(across)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.3)
    assert steps[0] > 10
    falls = [b - a for a, b in itertools.pairwise(down)]
    assert falls == pytest.approx([falls[0]] * 3, abs=4)  # triangles and diamonds are taller
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    assert (width, height) == pytest.approx([72 * inches for inches in plot.size], abs=0.1)
    assert max(across) < width
    assert 0 < min(down) < max(down) < height
