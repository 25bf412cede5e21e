"""The site in Chromium, opened from the disk: search, light and dark, phones, no request to a host.

Slow: a browser, which indexes the whole site for every search; `make test-browser` runs it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.conftest import BROWSER_PATIENCE
from tests.leaderboard.browser.conftest import PHONE, expect
from tests.site.conftest import ROOT, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOCAL = ("file:", "data:", "blob:", "about:")
ARABIC = re.findall(r"[\u0621-\u064a]{4,}", (ROOT / "docs/api.md").read_text("utf-8"))
DARK = {"color_scheme": "dark"}


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a tab; the test fails at its end if a script failed or a host was asked."""
    context = browser.new_context(**getattr(request, "param", {}))
    faults: list[str] = []
    opened = context.new_page()
    opened.set_default_timeout(BROWSER_PATIENCE)
    opened.on("pageerror", lambda error: faults.append(f"script: {error}"))
    opened.on(
        "request",
        lambda asked: None if asked.url.startswith(LOCAL) else faults.append(asked.url),
    )
    yield opened
    context.close()
    assert faults == []


@pytest.mark.parametrize(
    ("start", "word", "found"),
    [
        ("index.html", "jackknife", "scoring.html"),
        # From a folder below; a word of the examples as it is written, and its beginning.
        ("reference/cli.html", ARABIC[0], "api.html"),
        ("reference/cli.html", ARABIC[1][:3], "api.html"),
    ],
)
def test_search_finds_words_from_a_disk(
    page: Page, site: Site, start: str, word: str, found: str
) -> None:
    page.goto((site.folder / start).as_uri())
    page.locator("input[name=query]").fill(word)
    links = page.locator(f".md-search-result__item a[href*='/{found}']")
    expect(links.first).to_be_attached()


@pytest.mark.parametrize(("page", "first"), [({}, "default"), (DARK, "slate")], indirect=["page"])
def test_colours_follow_the_system_until_one_chooses(page: Page, site: Site, first: str) -> None:
    page.goto((site.folder / "index.html").as_uri())
    for scheme in (first, "default", "slate", first):
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", scheme)
        page.locator("label[for^=__palette]:visible").click()


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_pages_fit_a_phone_and_their_code_can_be_copied(page: Page, site: Site) -> None:
    """Wide tables and code scroll within their frames; the page itself does not."""
    for name in ("index", "scoring", "config", "status", "reference/cli", "reference/plugins"):
        page.goto((site.folder / f"{name}.html").as_uri())
        page.locator(".md-typeset__scrollwrap, [data-clipboard-target]").first.wait_for(
            state="attached"
        )
        assert page.evaluate("document.documentElement.scrollWidth") == 390, name
        blocks = page.locator(".highlight pre > code").count()
        expect(page.locator(".highlight button[data-clipboard-target]")).to_have_count(blocks)
