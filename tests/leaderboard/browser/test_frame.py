"""Heads and names stay in sight, in the right place, however far a table is scrolled; marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.leaderboard.browser.conftest import PHONE, Look, Site, expect

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

MINUS = "\N{MINUS SIGN}"
DESK = {"viewport": {"width": 1180, "height": 900}}
# Where heads and names lie after the frame was scrolled, and what is painted at their places.
FOUND = """async ([x, y]) => { const frame = document.querySelector("#board .scroll");
  frame.scrollIntoView({ behavior: "instant" });
  frame.scrollTo(x, y);
  // What comes into sight is laid out only then: wait until the heights stay.
  for (let [before, still] = [0, 0]; still < 4; before = frame.scrollHeight) {
    await new Promise(requestAnimationFrame);
    still = frame.scrollHeight === before ? still + 1 : 0;
  }
    const [table, box] = [frame.querySelector("table"), frame.getBoundingClientRect()];
    const at = (x, y) => document.elementFromPoint(x, y)?.closest("th, td, caption");
    const rows = [...table.querySelectorAll("tbody tr:not(.apart)")];
    const top = table.tHead.getBoundingClientRect();
    const row = rows.find((each) => each.getBoundingClientRect().top >= top.bottom);
    const [heads, cells] = [[...table.tHead.rows[0].cells], [...row.cells]];
    const edges = (cell) => { const { left, right } = cell.getBoundingClientRect();
      return [Math.round(left), Math.round(right)]; };
    const [corner, name] = [heads[0].getBoundingClientRect(), cells[0].getBoundingClientRect()];
    const under = [...row.querySelectorAll(".point")].map((point) => point.getBoundingClientRect())
      .filter((point) => point.left > name.left && point.right < name.right);
    return { moved: [frame.scrollLeft, frame.scrollTop], head: [Math.round(top.top - box.top)],
      corner: [edges(heads[0])[0] - Math.round(box.left),
        at(corner.left + 9, corner.bottom - 9) === heads[0]],
      name: [edges(cells[0])[0] - Math.round(box.left),
        at(name.left + 9, name.top + 9) === cells[0]],
      covered: under.every((point) => at(point.left + 2, point.top + 2) === cells[0]),
      heads: heads.map(edges), cells: cells.map(edges),
      painted: heads.slice(1).filter((head) => edges(head)[0] > corner.right)
        .filter((head) => edges(head)[1] < box.right)
        .every((head) => at(edges(head)[1] - 3, top.bottom - 4) === head) }; }"""


@pytest.mark.parametrize(("look", "rows"), [(DESK, "tall"), (PHONE, "dense")],
                         ids=["desk", "phone"], indirect=["look"])  # fmt: skip
@pytest.mark.parametrize("board", ["large", "marked"])
def test_heads_and_names_stay_in_sight(
    look: Look, board: str, rows: str, request: pytest.FixtureRequest
) -> None:
    """With 500 models and with 4: each head above its own column, each name before its row."""
    page = look.open(request.getfixturevalue(board), f"#/?rows={rows}")
    if board == "marked":
        page.set_viewport_size({"width": page.evaluate("innerWidth") // 2 + 100, "height": 420})
    for x, y in ((0, 0), (0, 10**6), (90, 0), (250, 3000), (10**6, 700)):
        found: dict[str, Any] = page.evaluate(FOUND, [x, y])
        assert found["heads"] == found["cells"], (x, y)
        assert found["corner"] == found["name"] == [1, True], (x, y)
        assert found["covered"], "figures shine through the names"
        assert found["painted"], (x, y)
        moved = found["moved"]
        if moved[1] > 200:  # more than the caption's height
            assert found["head"] == [1], (x, y)
        assert moved[0] > 0 or x == 0, "nothing to scroll sideways proves nothing"
        assert moved[1] > 0 or y == 0 or board == "marked"


@pytest.mark.parametrize("board", ["site", "marked"])
def test_the_focus_is_never_covered(look: Look, site: Site, marked: Path, board: str) -> None:
    """Whoever walks a small frame by keys, forwards or backwards, sees what the focus is on."""
    page = look.open(site.files.html if board == "site" else marked)
    page.set_viewport_size({"width": 640, "height": 480})
    page.evaluate("document.querySelector('#board .scroll').scrollIntoView({behavior: 'instant'})")
    covered = page.evaluate("""async () => {
      const all = [...document.querySelectorAll("#measured-table :is(button, a, input)")];
      const bad = [];
      for (const each of [...all, ...all.toReversed()]) {
        if (!each.checkVisibility()) continue;
        each.focus({ focusVisible: true });
        await new Promise(requestAnimationFrame);
        const { left, top, width, height } = each.getClientRects()[0];
        const there = document.elementFromPoint(left + width / 2, top + height / 2);
        if (there?.closest("th, td") !== each.closest("th, td")) bad.push(each.outerHTML);
      }
      return bad; }""")
    assert covered == []


def test_dense_rows_are_one_line(look: Look, marked: Path, site: Site) -> None:
    """Figures and marks alone: every row is as high as a line."""
    for path in (marked, site.files.html):
        heights = {}
        for rows in ("tall", "dense"):
            page = look.open(path, f"#/?rows={rows}")
            boxes = page.locator("#measured-table tbody tr:not(.apart)").evaluate_all(
                "rows => rows.map(row => row.getBoundingClientRect().height)"
            )
            heights[rows] = boxes
            for part in (".interval", ".scale", ".delta"):
                there = page.locator(f"#measured-table {part}").first
                assert there.count() == 0 or there.is_visible() is (rows == "tall")
        assert max(heights["dense"]) < 40
        assert max(heights["dense"]) - min(heights["dense"]) < 3
        assert sum(heights["dense"]) < 0.6 * sum(heights["tall"])


def rows_of(page: Page, part: str = "") -> list[str]:
    return page.locator(f"#measured-table tbody{part} .name > a:visible").all_inner_texts()


def test_partial_models_stand_apart(look: Look, marked: Path) -> None:
    """Below the complete ones by mean rank, both ways; the figures of a column are comparable."""
    page = look.open(marked)
    assert rows_of(page, ".partial") == ["partial"]
    complete = rows_of(page)[:-1]
    button = page.locator("#measured-table th[data-mean] button").first
    for _ in range(2):
        button.click()
        assert rows_of(page, ".partial") == ["partial"]
        assert rows_of(page)[-1] == "partial"
    assert rows_of(page)[:-1] == complete[::-1]
    page.locator("#measured-table th[data-key*=MGB2] button").click()
    assert rows_of(page)[0] == "partial"
    assert not page.locator("#measured-table .apart").is_visible()
    page.locator(
        "#measured-table th[data-label=score], #measured-table th[data-mean]"
    ).first.locator("button").click()
    assert rows_of(page, ".partial") == ["partial"]
    page.fill("#filter-name", "hubert")
    assert not page.locator("#measured-table .apart").is_visible()


def test_leaks_are_marked_and_can_be_hidden(look: Look, marked: Path) -> None:
    """A sign and a word at the model, the sign at the figure; a switch hides such rows."""
    page = look.open(marked)
    row = page.locator("#measured-table tbody tr", has_text="leaky")
    assert "† leaks" in row.locator("th").inner_text()
    assert [("†" in text) for text in row.locator("td").all_inner_texts()].count(True) == 1
    page.locator("input[name=leaking]").check()
    assert "leaky" not in rows_of(page)
    assert len(rows_of(page)) == 3
    page.locator("input[name=leaking]").uncheck()
    row.locator(".name > a").click()
    assert "† leaks" in page.locator("#view h2").inner_text()


def test_differences_to_the_paper_in_words_and_colour(look: Look, marked: Path) -> None:
    """A lower error rate is better, a higher one worse, and the same is neither."""
    page = look.open(marked)
    words = {"better": f"{MINUS}2.6, better than the paper", "worse": "+1.8, worse than the paper",
             "equal": "as the paper"}  # fmt: skip
    for root in ("#measured-table", "#view"):
        colours = set()
        for kind, text in words.items():
            there = page.locator(f"{root} .{kind}")
            assert there.inner_text() == text
            colours.add(there.evaluate("e => getComputedStyle(e).color"))
        assert len(colours) == 3
        page.evaluate("location.hash = '#/model/measured-HuBERT-L'")
    page.evaluate("location.hash = '#/task/measured-asr-MGB2-wer'")
    expect(page.locator("#view h2")).to_contain_text("MGB")
    assert page.locator("#view .better").inner_text() == words["better"]


def test_ranks_stand_in_each_column(look: Look, marked: Path) -> None:
    """Only when asked for; beside the figure in dense rows."""
    page = look.open(marked)
    content = "e => getComputedStyle(e, '::after').content"
    cell = page.locator("#measured-table tbody tr", has_text="leaky").locator("td[data-rank]").first
    assert cell.evaluate(content) == "none"
    page.locator("#show-ranks").check()
    assert "rank" in cell.evaluate(content)
    page.locator("label[for=rows-dense]").click()
    assert cell.evaluate(content).startswith('"#')


def test_licence_and_links(look: Look, marked: Path) -> None:
    """In the table and on the model's page; they open beside the board and learn nothing of it."""
    page = look.open(marked)
    for root in ("#measured-table", "#view"):
        links = page.locator(f"{root} a[href^=https]")
        expect(links).to_have_count(2)
        for link in links.all():
            assert link.get_attribute("rel") == "noopener noreferrer"
            assert link.get_attribute("target") == "_blank"
        assert page.locator(root).get_by_text("apache-2.0").count() == 1
        page.evaluate("location.hash = '#/model/measured-HuBERT-L'")


def test_size_filter(look: Look, marked: Path) -> None:
    """By classes that hold some model; a size that nobody knows is a class too."""
    page = look.open(marked, "#/?show=measured")
    boxes = page.locator("input[name=size]")
    values = boxes.evaluate_all("boxes => boxes.map(box => box.value)")
    assert values == ["10-50M", "50-150M", "150-500M", "unknown"]
    for value in values:
        page.evaluate("hash => { location.hash = hash; }", f"#/?show=measured&size={value}")
        page.wait_for_function(
            "() => document.querySelectorAll('input[name=size]:checked').length === 1"
        )
        assert len(rows_of(page)) == 1
