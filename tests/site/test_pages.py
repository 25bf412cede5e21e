"""The documentation site: it holds everything, and asks no host for anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import typer

import harness_bench as hb
from harness_bench.cli.app import app
from tests.site.conftest import ROOT, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)
EXTERNAL = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?(?:/[^\s<>\"]*)?")


def test_each_document_is_a_page_that_others_lead_to(site: Site) -> None:
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    names = ("CONTRIBUTING", "CHANGELOG", "CODE_OF_CONDUCT", "SECURITY", "THIRD_PARTY")
    made = [Path(f"{name.lower()}.md") for name in names]
    expected = {site.folder / path.with_suffix(".html") for path in (*sources, *made)}
    assert site.pages.keys() - {site.folder / "404.html"} == expected
    led_to = {
        (page.parent / unquote(urlsplit(link).path)).resolve()
        for page, read in site.pages.items()
        for link in read.links
    }
    assert expected <= led_to | {site.folder / "index.html"}


def test_links_lead_to_what_is_there(site: Site) -> None:
    """Of the pages as built: also links in raw HTML and those that hooks and templates write."""
    lost = []
    for page, read in site.pages.items():
        for link in read.links:
            parts = urlsplit(link)
            if parts.scheme:
                lost += [] if EXTERNAL.fullmatch(link) else [f"{page.name}: {link}"]
                continue
            # The page of what is not found may be shown at any depth: its links begin with /.
            path = unquote(parts.path)
            start = site.folder if path.startswith("/") else page.parent
            target = (start / path.lstrip("/")).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            ids = site.pages[target].ids if target in site.pages else set()
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in ids):
                lost.append(f"{page.name}: {link}")
    assert not lost


def test_nothing_is_fetched_from_a_host(site: Site) -> None:
    """Scripts, styles, fonts and pictures lie beside the pages; a reader may be without network."""
    for page, read in site.pages.items():
        found = [one for one in read.fetched if ELSEWHERE.match(one)]
        # `link` also says where a page belongs: the address of a published site is no request.
        assert not found, f"{page.name} fetches {found}"
        assert "mermaid" not in read.ids
        assert 'class="mermaid"' not in page.read_text(encoding="utf-8")  # fetched by the theme
    for style in site.folder.rglob("*.css"):
        used = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')]+)", style.read_text("utf-8"))
        assert not [one for one in used if ELSEWHERE.match(one)], style.name


def verbs(group: Any, context: typer.Context) -> Iterator[tuple[str, list[str]]]:
    """Yield every verb of the command line with its flags."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = typer.Context(command, info_name=name, parent=context)
        flags = [flag for one in command.params for flag in (*one.opts, *one.secondary_opts)]
        yield inner.command_path.partition(" ")[2], flags
        if hasattr(command, "list_commands"):
            yield from verbs(command, inner)


def test_the_command_line_is_there_with_all_options(site: Site) -> None:
    page = site.text("reference/cli.html")
    sections = dict(
        re.findall(r'<h[2-4] id="([\w-]+)">(.*?)(?=<h[2-4] id=|</article>)', page, re.DOTALL)
    )
    command = typer.main.get_command(app)
    found = dict(verbs(command, typer.Context(command, info_name="harness-bench")))
    verbs_told = {name for name in sections if not name.startswith("group-")}
    assert verbs_told == {name.replace(" ", "-") for name in found}
    for name, flags in found.items():
        lost = [flag for flag in flags if flag not in sections[name.replace(" ", "-")]]
        assert not lost, name
    assert not re.findall(r"list\[\w+\]| range&gt;", page), "values read otherwise than in --help"


def test_the_public_api_is_there(site: Site) -> None:
    headings = re.findall(r"<h3 .*?</h3>", site.text("reference/python.html"), re.DOTALL)
    names = {word for heading in headings for word in re.sub("<.*?>", " ", heading).split()}
    assert {*hb.__all__} - {"__version__"} <= names
