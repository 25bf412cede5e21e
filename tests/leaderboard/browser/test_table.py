"""The table in a real browser: sort, filter, compare, by mouse and by keyboard alone, and fast."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.results.predictions import ClassPrediction, read_predictions
from tests.leaderboard.conftest import MODELS
from tests.scoring.conftest import compare_pair

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.leaderboard.browser.conftest import Look, Site

pytestmark = pytest.mark.browser

MEASURED = "#measured-table"
ROWS = f"{MEASURED} tbody tr:not(.apart)"
LIMIT = 1000  # ms, for 500 models x 10 tasks
TRIES = 5  # the fastest of them counts: what else runs on the machine only adds


def keys(page: Page, column: int) -> list[str]:
    """Return what the rows of the measured table are sorted by, from top to bottom."""
    code = "(rows, column) => rows.map(row => row.cells[column].dataset.sort)"
    return list(map(str, page.locator(ROWS).evaluate_all(code, column)))


def heads(page: Page) -> list[str]:
    return page.locator(f"{MEASURED} thead th:visible").all_inner_texts()


def test_sort(look: Look, site: Site) -> None:
    """Best first, then the other way round; models without a figure last in both."""
    page = look.open(site.files.html)
    for column in range(len(heads(page))):
        head = page.locator(f"{MEASURED} thead th").nth(column)
        down = head.get_attribute("data-better") == "up"
        for order in ("descending", "ascending") if down else ("ascending", "descending"):
            head.get_by_role("button").click()
            assert head.get_attribute("aria-sort") == order
            assert page.locator(f"{MEASURED} [aria-sort]").count() == 1
            found = keys(page, column)
            known = [key for key in found if key]
            assert found == known + [""] * (len(found) - len(known))
            rising: list[Any] = sorted(map(float, known)) if column else page.evaluate(
                "k => k.sort((a, b) => a.localeCompare(b))", known
            )  # fmt: skip
            shown = [float(key) for key in known] if column else known
            assert shown == (rising if order == "ascending" else rising[::-1])


def test_filter(look: Look, site: Site) -> None:
    """Name, kind, column and source; what does not fit is hidden, and its number is told."""
    page = look.open(site.files.html)
    rows = page.locator(f"{ROWS}:visible")
    page.fill("#filter-name", " STUD ")
    assert rows.locator("th a").all_inner_texts() == ["student"]
    assert "1 of" in page.locator("#shown").inner_text()
    page.fill("#filter-name", "[.*")
    assert rows.count() == 0
    page.fill("#filter-name", "")
    page.locator("input[name=kind][value=pretrained]").uncheck()
    kinds = rows.evaluate_all("rows => rows.map(row => row.dataset.kind)")
    assert set(kinds) == {"random", "baseline"}
    page.locator("input[name=kind][value=pretrained]").check()
    page.locator("summary", has_text="Columns").click()
    before = len(heads(page))
    box = page.locator("input[name=column]").first
    box.uncheck()
    assert len(heads(page)) == before - 1
    visible = "rows => rows.map(row => [...row.cells].filter(cell => !cell.hidden).length)"
    every = page.locator(f"{MEASURED} tr:not(.apart)")
    assert set(every.evaluate_all(visible)) == {before - 1}
    page.locator("label[for=show-reported]").click()
    assert page.locator(f"{MEASURED}:visible").count() == 0
    assert page.locator("#reported-table:visible").count() == 1


def test_compare_shows_the_paired_test(look: Look, site: Site) -> None:
    """Tick two models: difference and p are those of the library's own paired comparison."""
    page = look.open(site.files.html)
    pick = page.locator(f"{MEASURED} input.pick")
    names = page.locator(f"{MEASURED} tbody .name > a").all_inner_texts()
    assert not page.locator("#compare-link").is_visible()
    pick.nth(names.index("student")).check()
    pick.nth(names.index("fbank")).check()
    page.locator("#compare-link").click()
    page.wait_for_selector("#view h2")
    assert page.url.endswith(site.hashes["compare"])
    row = page.locator("#view tbody tr", has_text="tones").filter(has_text="DID").first
    cells = row.locator("td").all_inner_texts()
    folder = site.files.html.parent.parent / "results" / "predictions"
    first, second = (
        read_predictions(folder / f"{name}.did.tones.test.jsonl", ClassPrediction)
        for name in ("student", "fbank")
    )
    test = compare_pair(first, second, metric="accuracy")
    assert cells[2].split()[0].replace("\N{MINUS SIGN}", "-") == f"{test.difference:+.1f}"
    assert cells[3] == ("< 0.001" if test.p_value < 0.001 else f"{test.p_value:.4f}")


def test_third_tick_lets_go_of_the_first(look: Look, site: Site) -> None:
    page = look.open(site.files.html)
    pick = page.locator(f"{MEASURED} input.pick")
    for number in range(3):
        pick.nth(number).check()
    assert [pick.nth(number).is_checked() for number in range(3)] == [False, True, True]
    pick.nth(1).uncheck()
    assert not page.locator("#compare-link").is_visible()


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the focus is on an element; every stop on the way must be seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        stop: dict[str, Any] = page.evaluate(
            """wanted => { const on = document.activeElement;
            const label = on.matches("input[type=radio]") ? on.nextElementSibling : on;
            const style = getComputedStyle(label);
            return { there: on.matches(wanted), html: on.outerHTML.slice(0, 90),
              seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 }; }""",
            wanted,
        )
        assert stop["seen"], f"the focus cannot be seen on {stop['html']}"
        if stop["there"]:
            return
    pytest.fail(f"Tab never reaches {wanted}")


def test_keyboard_alone(look: Look, site: Site) -> None:
    """Filter, sort, tick, compare and return without a mouse."""
    page = look.open(site.files.html)
    tab_to(page, "#filter-name")
    page.keyboard.type("n")
    tab_to(page, f"{MEASURED} thead th:first-child button")
    head = page.locator(f"{MEASURED} thead th:first-child")
    for key, order in (("Enter", "ascending"), ("Space", "descending")):
        page.keyboard.press(key)
        assert head.get_attribute("aria-sort") == order
    for _ in range(2):
        tab_to(page, f"{MEASURED} input.pick")
        page.keyboard.press("Space")
    for _ in range(80):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "compare-link":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#view h2")
    assert page.evaluate("document.activeElement.tagName") == "H2", "a reader must hear the view"
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "← all models"
    page.keyboard.press("Enter")
    page.wait_for_selector("#board")


def test_every_model_has_a_page(look: Look, site: Site) -> None:
    """Each link of both tables leads to a page that names its model and its figures."""
    page = look.open(site.files.html)
    links = page.locator("#board table.board tbody .name > a").evaluate_all(
        "links => links.map(link => [link.getAttribute('href'), link.textContent])"
    )
    assert len(links) > len(MODELS)
    for address, name in links:
        page.evaluate("address => { location.hash = address; }", address)
        page.wait_for_function(
            "name => document.querySelector('#view h2')?.textContent === name", arg=name
        )
        assert page.locator("#view .value").count() >= 1


SORT = """column => { const start = performance.now();
document.querySelectorAll("#measured-table thead button")[column].click();
return new Promise(done => requestAnimationFrame(() =>
  setTimeout(() => done(performance.now() - start)))); }"""
USABLE = """() => new Promise(done => requestAnimationFrame(() =>
  setTimeout(() => done(performance.now()))))"""


def test_large_board_is_fast(look: Look, large: Path) -> None:
    """500 models x 10 tasks: usable and sorted in under a second each, frames painted."""
    loads, sorts = [float("inf")], [float("inf")]
    for column in range(1, TRIES + 1):
        page = look.open(large)
        loads.append(page.evaluate(USABLE))  # ms since the navigation began
        sorts.append(page.evaluate(SORT, column))
        assert page.locator(ROWS).count() == 500
        if max(min(loads), min(sorts)) < LIMIT:
            break
    print(f"500 x 10: usable {min(loads):.0f} ms, sorted {min(sorts):.0f} ms")  # noqa: T201
    # On a machine where several programs wait for each core, so does the page.
    waiting = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert min(loads) < LIMIT * waiting
    assert min(sorts) < LIMIT * waiting
