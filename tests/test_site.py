"""The documentation site: it builds strictly, holds everything, and asks no host for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, override
from urllib.parse import unquote, urlsplit

import pytest
import typer
from markdown import Markdown
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File

import harness_bench as hb
from harness_bench.cli.app import app
from tools.site.links import LinkExtension, RepositoryLinks

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "mkdocs.yml"
# Attributes that browsers follow by themselves.
FETCHED = {
    ("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"),
    ("video", "src"), ("audio", "src"), ("object", "data"), ("use", "href"),
}  # fmt: skip
ELSEWHERE = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)
EXTERNAL = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?(?:/[^\s<>\"]*)?")


class Reader(HTMLParser):
    """Collects ids, links and what is fetched of one page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(html)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name"):
                self.ids.add(value or "")
            if (tag, name) == ("a", "href"):
                self.links.append(value or "")
            if (tag, name) in FETCHED:
                self.fetched.append(value or "")


class Site(NamedTuple):
    """The built site, and its pages as they were read."""

    folder: Path
    pages: dict[Path, Reader]

    def text(self, name: str) -> str:
        """Return the source of a page."""
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Build the site as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(  # noqa: PLW1510 - what it said is shown
        command, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    pages = {path: Reader(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    return Site(folder, pages)


def test_each_document_is_a_page_that_others_lead_to(site: Site) -> None:
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    made = [Path("contributing.md"), Path("changelog.md")]
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
    assert sections.keys() == {name.replace(" ", "-") for name in found}
    for name, flags in found.items():
        lost = [flag for flag in flags if flag not in sections[name.replace(" ", "-")]]
        assert not lost, name


def test_the_public_api_is_there(site: Site) -> None:
    headings = re.findall(r"<h3 .*?</h3>", site.text("reference/python.html"), re.DOTALL)
    names = {word for heading in headings for word in re.sub("<.*?>", " ", heading).split()}
    assert {*hb.__all__} - {"__version__"} <= names


def rendered(text: str, repo_url: str = "") -> str:
    """Render Markdown of docs/study.md with the site's treatment of links."""
    links = RepositoryLinks(ROOT, repo_url)
    for source, target in {"CONTRIBUTING.md": "contributing.md", "docs/api.md": "api.md"}.items():
        links.held[ROOT / source] = File(target, str(ROOT), "site", use_directory_urls=False)
    links.page = File("study.md", str(ROOT / "docs"), "site", use_directory_urls=False)
    return Markdown(extensions=[LinkExtension(links)]).convert(text)


STUDY = "../egs/demo/study.toml"
AS_CODE = "<code>egs/demo/study.toml</code>"
HOST = "https://host.org/o/r"


@pytest.mark.parametrize(
    ("text", "repo_url", "expected"),
    [
        # Pages of the site.
        ("[a](../CONTRIBUTING.md#b)", "", '<a href="contributing.md#b">a</a>'),
        ("[a](api.md)", "", '<a href="api.md">a</a>'),
        # Other files of the repository: their path as code, or their address.
        (f"[study.toml]({STUDY})", "", AS_CODE),
        (f"[a *file*]({STUDY})", "", f"<span>a <em>file</em> ({AS_CODE})</span>"),
        ("[a](../egs/demo)", HOST, f'<a href="{HOST}/tree/HEAD/egs/demo">a</a>'),
        ("[a](../Makefile)", HOST, f'<a href="{HOST}/blob/HEAD/Makefile">a</a>'),
        # Left to MkDocs, which refuses it; nothing leads out of the repository.
        ("[a](../no_such_file)", "", '<a href="../no_such_file">a</a>'),
        ("[a](../../../../../../etc)", "", '<a href="../../../../../../etc">a</a>'),
        # Not ours.
        (f"[a]({HOST}) [b](#c)", "", f'<a href="{HOST}">a</a> <a href="#c">b</a>'),
    ],
)
def test_links_work_in_the_repository_and_on_the_site(
    text: str, repo_url: str, expected: str
) -> None:
    assert rendered(text, repo_url) == f"<p>{expected}</p>"


@pytest.mark.parametrize("text", ["[a](b.md)", "[a](#b)", "[a](index.md#b)", "[a](../no_such)"])
def test_a_broken_link_ends_the_build(tmp_path: Path, text: str) -> None:
    """By the site's own settings: a page, an anchor here or elsewhere, a file of the repository."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A\n\n{text}\n")
    config = load_config(
        str(CONFIG), docs_dir=str(tmp_path / "docs"), site_dir=str(tmp_path / "site"), nav=None,
        theme="mkdocs", plugins=[], hooks=[], extra_css=[], markdown_extensions=["tables"],
    )  # fmt: skip
    with pytest.raises(Abort):
        build(config)
