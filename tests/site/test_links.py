"""Links work in the repository and on the site, and a broken one ends the build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from markdown import Markdown
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File

from tests.site.conftest import ROOT
from tools.site.links import LinkExtension, RepositoryLinks

if TYPE_CHECKING:
    from pathlib import Path


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
        str(ROOT / "mkdocs.yml"), docs_dir=str(tmp_path / "docs"), site_dir=str(tmp_path / "out"),
        nav=None, theme="mkdocs", plugins=[], hooks=[], extra_css=[],
        markdown_extensions=["tables"],
    )  # fmt: skip
    with pytest.raises(Abort):
        build(config)
