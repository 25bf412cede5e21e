"""What the board shows is in its address: it can be shared, and Back leads where one was."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest

from tests.leaderboard.browser.conftest import ARABIC, expect

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.leaderboard.browser.conftest import Look, Site

pytestmark = pytest.mark.browser

SHOWN = """() => { const visible = (e) => e.checkVisibility();
  const tables = [...document.querySelectorAll("#board table.board")].filter(visible);
  return JSON.stringify(tables.map((table) => [
    table.caption.innerText,
    [...table.tHead.rows[0].cells].filter(visible).map((head) => head.innerText),
    [...table.querySelectorAll("tbody .name")].filter(visible).map((name) => name.innerText),
    [...table.querySelectorAll(".interval")].filter(visible).length,
    [...table.querySelectorAll("[aria-sort]")].map((head) => head.ariaSort)])); }"""


def shown(page: Page) -> str:
    """Return the captions, heads, names and numbers of intervals that a reader sees, as JSON."""
    return str(page.evaluate(SHOWN))


def shows(page: Page, wanted: str) -> None:
    """Wait until a reader sees what was `shown` before."""
    page.wait_for_function(f"wanted => ({SHOWN})() === wanted", arg=wanted)


def state(page: Page) -> list[tuple[str, str]]:
    """Return what the address says of the board."""
    return parse_qsl(page.url.partition("#/?")[2], keep_blank_values=True)


def choose_all(page: Page) -> None:
    """Use every control of the board once."""
    page.locator("label[for=show-measured]").click()
    page.locator("label[for=rows-dense]").click()
    page.locator("#show-ranks").check()
    page.locator("input[name=leaking]").check()
    page.locator("input[name=size]").last.uncheck()
    page.locator("summary", has_text="Columns").click()
    page.locator("input[name=column]").first.uncheck()
    page.locator("#filter-name").press_sequentially("a")
    for _ in range(2):
        page.locator("#measured-table thead button").nth(-1).click()


def test_every_choice_is_in_the_address(look: Look, marked: Path) -> None:
    """A reader who follows the link sees the very same tables."""
    page = look.open(marked)
    before = shown(page)
    choose_all(page)
    found = shown(page)
    assert found != before
    names = [name for name, _ in state(page)]
    assert names == ["show", "rows", "ranks", "name", "no-size", "leaking", "no-column", "sort"]
    address = page.url.partition("#")[2]
    look.open(marked, "#/model/measured-leaky")
    look.open(marked, f"#{address}")
    assert shown(page) == found
    assert page.url.endswith(address), "to look at a state must not change its address"


def test_back_undoes_one_choice(look: Look, marked: Path) -> None:
    """Letters typed one after another are one choice; a model's page comes and goes between."""
    page = look.open(marked)
    steps = [shown(page)]
    page.locator("label[for=rows-dense]").click()
    steps.append(shown(page))
    page.locator("#filter-name").press_sequentially("leaky")
    steps.append(shown(page))
    page.locator("#measured-table thead button").nth(1).click()
    steps.append(shown(page))
    page.locator("#measured-table tbody .name > a:visible").first.click()
    page.wait_for_selector("#view h2")
    for step in reversed(steps):
        page.go_back()
        shows(page, step)
    page.go_forward()
    page.go_forward()
    shows(page, steps[2])
    assert page.locator("#filter-name").input_value() == "leaky"


def test_the_way_back_from_a_view_keeps_the_state(look: Look, marked: Path) -> None:
    """The link above a view leads to the board as it was; its title leads to the whole board."""
    page = look.open(marked, "#/?name=leaky&rows=dense")
    found = shown(page)
    for address in ("#/model/measured-leaky", "#/task/measured-did-ADI5-accuracy"):
        page.evaluate("address => { location.hash = address; }", address)
        page.get_by_text("← all models").click()
        shows(page, found)
    page.locator("#home").click()
    expect(page.locator("#filter-name")).to_have_value("")
    assert page.url.endswith("#/")
    assert len(json.loads(shown(page))[0][2]) > len(json.loads(found)[0][2])


@pytest.mark.parametrize("state", [
    "sort=__proto__&kind=constructor&rows=wide&show=all", "name=%3Cscript%3Ealert(1)%3C/script%3E",
    "%E0%A4%A&=&&name", "no-column=none&sort=-&sort=measured:no", "kind=&size=&column=",
])  # fmt: skip
def test_odd_addresses_do_no_harm(look: Look, marked: Path, state: str) -> None:
    """An address comes from anybody: what is unknown is passed over, and no fault is thrown."""
    page = look.open(marked, f"#/?{state}")
    assert page.locator("#board").is_visible()
    for name in ("rows", "show"):
        assert page.locator(f"input[name={name}]:checked").count() == 1
    if "size=&" not in state and "name=%" not in state:  # those two ask for nothing on purpose
        assert page.locator("#show-all").is_hidden()
    page.locator("#home").click()
    expect(page.locator("#measured-table tbody .name > a:visible")).to_have_count(4)


def test_captions_say_what_the_filters_leave(look: Look, marked: Path) -> None:
    """Models and columns are counted; ranks stay those of the whole board, and that is said."""
    page = look.open(marked, "#/?show=measured")
    caption, status = page.locator("#measured-table caption"), page.locator("#shown")
    assert caption.inner_text().startswith("4 models, 3 columns, best mean rank first.")
    assert status.inner_text() == ""
    page.fill("#filter-name", "leaky")
    page.locator("summary", has_text="Columns").click()
    page.locator("input[name=column]").first.uncheck()
    assert caption.inner_text().startswith("1 of 4 models, 2 of 3 columns")
    assert "whole board" in caption.inner_text()
    assert status.inner_text() == "1 of 4 models, 2 of 3 columns."
    page.locator("#measured-table th[data-key*=ADI5] button").click()
    assert "sorted by DID: ADI5 test" in caption.inner_text()
    page.locator("#show-all").click()
    assert caption.inner_text().startswith("4 models, 3 columns, sorted by")
    assert not page.locator("#show-all").is_visible()


def test_a_search_finds_a_name_in_any_spelling(look: Look, marked: Path) -> None:
    """Case, and letters in forms that look the same, do not matter."""
    page = look.open(marked)
    names = page.locator("#measured-table tbody .name > a:visible")
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "HuBERT")
    presented = unicodedata.lookup("ARABIC LETTER NOON INITIAL FORM") + ARABIC[1:4]
    for text in ("hubert-l", wide, presented):
        page.fill("#filter-name", text)
        assert names.count() == 1, text


def test_nothing_matches_is_said(look: Look, site: Site) -> None:
    """Of models, of columns, and of plots."""
    page = look.open(site.files.html, "#/?name=zzz")
    tables, plots = page.locator("#board section:has(table)"), page.locator("[data-plots]")
    said = page.locator(".empty:visible")
    assert said.count() == tables.count() == 2
    assert all("no model" in text for text in said.all_inner_texts())
    assert page.locator("#shown").inner_text() == "Nothing matches."
    look.open(site.files.html, "#/?column=")
    assert page.locator("#board table th[data-key]:not([data-label]):visible").count() == 0
    assert tables.locator(".empty:visible").count() == 2
    for section in plots.all():
        empty = section.locator(".plots:visible").count() == 0
        assert section.locator(".empty").is_visible() is empty
    page.locator("#show-all").click()
    assert said.count() == 0
