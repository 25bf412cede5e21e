"""Plots in a real browser: a mark tells by pointer, by keys, by finger, and without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.leaderboard.browser.conftest import PHONE, expect
from tests.leaderboard.browser.test_table import tab_to

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.leaderboard.browser.conftest import Look, Site

pytestmark = pytest.mark.browser

TIP = ".tip"


def plot(page: Page, name: str) -> Locator:
    """Return the plot whose PNG has a name."""
    return page.locator("figure", has=page.locator(f'a[href="{name}.png"]')).locator(".plot")


def spot(page: Page, name: str, model: str) -> Locator:
    return plot(page, name).locator(f'.spot[href$="-{model}"]')


def mark(spot: Locator) -> Locator:
    """Bring into sight and return what is drawn of a mark.

    Who then hovers over it or clicks waits until the page stands still: scrolling hushes a mark.
    """
    spot.evaluate("spot => spot.scrollIntoView({ block: 'center', behavior: 'instant' })")
    return spot.locator(":scope > :not(title, .span)").first


def until(page: Page, name: str, *, dim: bool) -> None:
    """Wait until a plot in sight has faded marks, or none: it fades only as it comes into sight.

    It is scrolled to again and again: what is laid out above it meanwhile pushes it away.
    """
    page.wait_for_function(
        """([plot, dim]) => { plot.scrollIntoView({ block: "center", behavior: "instant" });
        return Boolean(plot.querySelector(".dim")) === dim; }""",
        arg=[plot(page, name).element_handle(), dim],
    )


@pytest.mark.parametrize("kind", ["bars", "parameters"])
def test_a_pointer_is_told(look: Look, site: Site, kind: str) -> None:
    """Model, figure, interval and size stand in words, and go when the pointer goes."""
    page = look.open(site.files.html)
    found = spot(page, f"02-did-tones-{kind}", "student")
    mark(found).hover()
    tip = page.locator(TIP)
    assert tip.locator("strong").inner_text() == "student"
    (row,) = (row for row in site.files.board.measured.rows if row.model == "student")
    (cell,) = (cell for column, cell in row.cells.items() if column.task == "did")
    span = cell.metric.interval
    assert span
    for told in (f"{cell.metric.value:.1f}", f"[{span.low:.1f}, {span.high:.1f}]", "700 k"):
        assert told in tip.inner_text()
    box = tip.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]  # type: ignore[index]
    page.mouse.move(2, 2)
    expect(tip).to_be_hidden()


def test_a_mark_leads_to_its_model(look: Look, site: Site) -> None:
    page = look.open(site.files.html)
    mark(spot(page, "02-did-tones-parameters", "student")).click()
    assert page.locator("#view h2").inner_text() == "student"
    expect(page.locator(TIP)).to_be_hidden()


def test_keys_walk_the_marks(look: Look, site: Site) -> None:
    """One stop a plot; arrows, Home and End reach every mark and tell it; Enter opens its model."""
    page = look.open(site.files.html)
    assert page.locator('.spot[tabindex="0"]').count() == page.locator(".plot").count()
    page.locator("figure a[href$='.png']").first.focus()
    tab_to(page, "[data-column='measured-did-tones-accuracy'] .spot")
    bars = plot(page, "02-did-tones-bars")
    spots = bars.locator(".spot")
    count = spots.count()
    assert count == 5
    told = [page.locator(TIP).inner_text()]
    for _ in range(count - 1):
        page.keyboard.press("ArrowDown")
        told.append(page.locator(TIP).inner_text())
    assert len({*told}) == count
    assert bars.locator('.spot[tabindex="0"]').count() == 1
    names = bars.locator(".spot").evaluate_all("spots => spots.map(spot => spot.ariaLabel)")
    assert [name.split(", ")[0] for name in names if name] == [
        text.splitlines()[0] for text in told
    ]
    page.keyboard.press("ArrowRight")  # and round again
    assert page.locator(TIP).inner_text() == told[0]
    page.keyboard.press("End")
    assert page.locator(TIP).inner_text() == told[-1]
    page.keyboard.press("Escape")
    assert page.locator(TIP).is_hidden()
    page.keyboard.press("Enter")
    assert page.locator("#view h2").inner_text() == told[-1].splitlines()[0]


def test_models_that_filters_hide_fade(look: Look, site: Site) -> None:
    """Marks, names and lines; keys pass over them; they come back with their rows."""
    page = look.open(site.files.html)
    page.fill("#filter-name", "stud")
    name = "02-did-tones-parameters"
    for each in ("02-did-tones-bars", name, "00-overview"):
        until(page, each, dim=True)
    assert "dim" in (spot(page, name, "fbank").get_attribute("class") or "")
    assert "dim" not in (spot(page, name, "student").get_attribute("class") or "")
    for kind in ("02-did-tones-bars", "00-overview"):
        assert plot(page, kind).locator(".spot:not(.dim)").count() == 1
    # Every other model's mark; and of each the name beside the axes and the line to it.
    assert plot(page, name).locator(".spot.dim").count() == 4
    assert plot(page, name).locator("g.dim").count() >= 4
    left = plot(page, name).locator("text.dim").all_text_contents()
    assert "student" not in left
    assert "fbank" in left
    spot(page, "00-overview", "student").focus()
    page.keyboard.press("ArrowDown")  # no other is left to walk to
    assert page.locator(TIP).locator("strong").inner_text() == "student"
    page.fill("#filter-name", "")
    for each in ("00-overview", name):
        until(page, each, dim=False)


@pytest.mark.parametrize("look", [PHONE], ids=["390 px"], indirect=True)
def test_a_finger_is_told_before_it_leaves(look: Look, site: Site) -> None:
    """Nothing hovers: the first tap tells, the second on the same mark opens the model."""
    page = look.open(site.files.html)
    found = mark(spot(page, "02-did-tones-bars", "student"))
    found.tap()
    assert page.locator(TIP).locator("strong").inner_text() == "student"
    assert page.locator("#board").is_visible()
    found.tap()
    assert page.locator("#view h2").inner_text() == "student"


@pytest.mark.parametrize("look", [{"java_script_enabled": False}], ids=["no script"], indirect=True)
def test_without_a_script_titles_tell(look: Look, site: Site) -> None:
    """The browser's own tooltip: a title in each mark, that of the reported figures too."""
    page = look.open(site.files.html)
    marks = page.locator(".spot")
    assert marks.count() > 50
    assert page.locator(".spot > title").count() == marks.count()
    assert "HArnESS-L" in (page.locator(".reported .spot > title").first.text_content() or "")


def test_plots_of_a_task_stand_on_its_page(look: Look, site: Site) -> None:
    """Lent and given back, of measured and of reported columns alike; marks still tell."""
    page = look.open(site.files.html)
    before = page.locator("#board figure").count()
    page.evaluate("location.hash = '#/task/reported-asr-MGB2-wer'")
    expect(page.locator("#view .plot")).to_have_count(2)
    mark(page.locator("#view .spot").first).hover()
    expect(page.locator(TIP)).to_be_visible()
    page.locator("#home").click()
    expect(page.locator("#board figure")).to_have_count(before)
