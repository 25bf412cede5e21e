"""Every view in a real browser: no error, no request, readable by all, on phones and on paper."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal

import pytest

from tests.leaderboard.browser.conftest import ARABIC, PHONE, VIEWS, Look, Site, expect
from tests.leaderboard.conftest import HOSTILE

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

DARK = {"color_scheme": "dark"}


def check_readable(page: Page, *, plots: bool = True) -> None:
    """Ask axe of names, roles, landmarks, headings and contrast, on a desk and on a phone.

    In the dark, contrast alone can differ, and on a phone, plots cannot.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for width, scheme in product((1180, 390), schemes):
        options = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        where = None if plots and width > 390 else {"exclude": [[".plots"]]}
        found = axe.Axe().run(page, context=where, options=options).response
        assert len(found["passes"]) >= (1 if options else 20), "axe did not look"
        assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]])
                for rule in found["violations"]] == [], (width, scheme)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_readable_by_all(look: Look, site: Site, view: str) -> None:
    check_readable(look.open(site.files.html, site.hashes[view]), plots=view != "dense")


@pytest.mark.slow
@pytest.mark.parametrize("address", ["", "#/?rows=dense&ranks=shown", "#/?name=zzz",
                                     "#/model/measured-HuBERT-L"])  # fmt: skip
def test_marks_are_readable_by_all(look: Look, marked: Path, address: str) -> None:
    """Leaks, better and worse, links and the word that nothing matches."""
    check_readable(look.open(marked, address))


@pytest.mark.parametrize("view", VIEWS)
def test_one_view_at_a_time(look: Look, site: Site, view: str) -> None:
    """An address opens its view at once, and the way back leads to the board."""
    page = look.open(site.files.html, site.hashes[view])
    assert page.locator("main:visible").count() == 1
    assert page.locator("#view").is_visible() is (view not in {"board", "dense"})
    assert page.locator("main:visible table.board").count() >= 1
    page.locator("#home").click()
    expect(page.locator("#board")).to_be_visible()


def test_unknown_addresses_are_told(look: Look, site: Site) -> None:
    """Links grow old; scripts and prototypes of objects must not answer either."""
    for address in "model/none", "task/constructor", "compare/a", "%E0%A4%A", "task/%E0%A4", "x/y":
        page = look.open(site.files.html, f"#/{address}")
        page.reload()
        assert "Nothing here" in page.locator("#view").inner_text()


def test_hostile_names_are_text(look: Look, site: Site) -> None:
    """A model's name is shown as it is; the page has no element made of it."""
    page = look.open(site.files.html)
    shown = HOSTILE.replace("\u202e", "")
    assert page.locator("h1").inner_text() == f"Board of {shown}"
    link = page.locator("table.board tbody .name > a", has_text="alert(1)").first
    assert link.inner_text() == shown
    link.click()
    assert page.locator("#view h2").inner_text() == shown
    assert "alert(1)" in page.title()
    page.go_back()
    expect(page.locator("#board")).to_be_visible()
    page.evaluate("""() => { const boxes = document.querySelectorAll("#measured-table input.pick");
        for (const box of boxes) if (box.ariaLabel.includes("script")) box.click();
        for (const box of boxes) if (box.ariaLabel.includes("student")) box.click(); }""")
    assert shown in page.locator("#compare-link").inner_text()
    page.locator("#compare-link").click()
    assert shown in page.locator("#view th", has_text="alert(1)").first.inner_text()
    assert page.evaluate("document.scripts.length") == 2  # the data and the page's own


def test_arabic_runs_right_to_left(look: Look, site: Site) -> None:
    page = look.open(site.files.html)
    link = page.locator("#measured-table tbody .name > a", has_text=ARABIC)
    assert link.evaluate("link => link.matches(':dir(rtl)')")
    link.click()
    assert page.locator("#view h2").evaluate("head => head.matches(':dir(rtl)')")
    page = look.open(site.files.html, site.hashes["task"])
    assert page.get_by_text("أخبار").first.evaluate("e => e.matches(':dir(rtl)')")


@pytest.mark.parametrize("look", [PHONE], ids=["390 px"], indirect=True)
@pytest.mark.parametrize("view", VIEWS)
def test_phone(look: Look, site: Site, view: str) -> None:
    """The page never scrolls sideways: wide tables scroll inside their own frames."""
    page = look.open(site.files.html, site.hashes[view])
    width, inside = page.evaluate(
        "[document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    )
    assert (width, inside) == (390, 390)
    for frame in page.locator("main:visible .scroll").all():
        assert frame.evaluate("f => f.getBoundingClientRect().right <= innerWidth")


@pytest.mark.parametrize("look", [DARK], ids=["from dark"], indirect=True)
@pytest.mark.parametrize("view", VIEWS)
def test_paper(look: Look, site: Site, view: str) -> None:
    """On paper: black on white, nothing to press, nothing cut off by a frame that scrolls."""
    page = look.open(site.files.html, site.hashes[view])
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for control in ("#filter-name", "input.pick", "#theme", "select", "footer"):
        assert page.locator(f"{control}:visible").count() == 0, control
    overflows = "fs => fs.map(f => getComputedStyle(f).overflowX)"
    found = page.locator("main:visible .scroll").evaluate_all(overflows)
    assert set(found) == {"visible"}
    heads = page.locator("main:visible thead").evaluate_all(
        "heads => heads.map(head => getComputedStyle(head).position)"
    )
    assert set(heads) == {"static"}, "a head that sticks would cover rows"
    assert page.pdf()[:5] == b"%PDF-"


def test_reduced_motion(look: Look, site: Site) -> None:
    """Whoever asks for less motion gets jumps instead of smooth scrolling."""
    page = look.open(site.files.html)
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert page.evaluate(behaviour) == "smooth"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(behaviour) == "auto"


@pytest.mark.parametrize("look", [{"java_script_enabled": False}], ids=["no script"], indirect=True)
def test_without_a_script(look: Look, marked: Path) -> None:
    """All rows, marks and the legend are there; what needs a script is not shown."""
    page = look.open(marked)
    for name in ("HuBERT-L", "leaky", "partial", ARABIC):
        assert page.locator("#measured-table").get_by_text(name, exact=True).is_visible()
    assert page.locator("#measured-table .leaks").first.is_visible()
    assert page.locator("noscript p").is_visible()
    for control in ("#filter-name", "#rows-dense", "#show-ranks", "input.pick", "#theme"):
        assert page.locator(f"{control}:visible").count() == 0, control


def test_the_look_sees_faults(look: Look) -> None:
    """A watch that never barks proves nothing: a request, an error and a dialog are each seen."""
    page = look.page
    page.set_content("<img src='https://example.org/x.png'><script>alert(2); nope()</script>")
    kinds = {fault.split(":")[0] for fault in look.faults}
    look.faults.clear()
    assert {"request", "script", "dialog"} <= kinds
