"""MkDocs hook: relative links work in the repository and on the site.

A link to a file that the site holds becomes a link to its page. A link to another file of the
repository leads to `repo_url`; where mkdocs.yml names none, the file's path stands there as code.
What does not exist is left to MkDocs, whose strict mode refuses it.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, override
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element, SubElement

from markdown import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

if TYPE_CHECKING:
    from markdown import Markdown
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import File, Files
    from mkdocs.structure.pages import Page

# Behind the links themselves (20) and headings (5), before MkDocs checks and resolves them (0).
PRIORITY = 3


class RepositoryLinks(Treeprocessor):
    """Rewrites the links and images of one page after another."""

    def __init__(self, root: Path, repo_url: str) -> None:
        super().__init__()
        self.root = root
        self.repo_url = repo_url.rstrip("/")
        self.held: dict[Path, File] = {}  # source -> what the site makes of it
        self.page: File | None = None

    @override
    def run(self, root: Element) -> None:
        for element in root.iter():
            attribute = {"a": "href", "img": "src"}.get(element.tag)
            if attribute and self.page is not None and self.page.abs_src_path:
                self._treat(element, attribute, self.page)

    def _treat(self, element: Element, attribute: str, page: File) -> None:
        parts = urlsplit(element.get(attribute, ""))
        if parts.scheme or parts.netloc or not parts.path:
            return
        target = (Path(page.abs_src_path or "").parent / unquote(parts.path)).resolve()
        if target in self.held:
            path = posixpath.relpath(self.held[target].src_uri, posixpath.dirname(page.src_uri))
            element.set(attribute, parts._replace(path=path).geturl())
        elif target.exists() and target.is_relative_to(self.root) and element.tag == "a":
            self._leave_site(element, target)

    def _leave_site(self, link: Element, target: Path) -> None:
        path = target.relative_to(self.root).as_posix()
        if self.repo_url:
            kind = "tree" if target.is_dir() else "blob"
            link.set("href", f"{self.repo_url}/{kind}/HEAD/{path}")
            return
        said = "".join(link.itertext())
        link.attrib.clear()
        if path.endswith(said.removeprefix("../")):
            for child in list(link):
                link.remove(child)
            link.tag, link.text = "code", AtomicString(path)
            return
        link.tag = "span"
        last = list(link)[-1] if len(link) else None
        if last is None:
            link.text = f"{link.text or ''} ("
        else:
            last.tail = f"{last.tail or ''} ("
        code = SubElement(link, "code")
        code.text, code.tail = AtomicString(path), ")"


class LinkExtension(Extension):
    """Puts the tree processor into every Markdown that MkDocs makes."""

    def __init__(self, links: RepositoryLinks) -> None:
        super().__init__()
        self.links = links

    @override
    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(self.links, "repository-links", PRIORITY)


_links: RepositoryLinks | None = None


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Register the extension, with the folder that links may lead into."""
    global _links  # noqa: PLW0603 - MkDocs' hooks are functions; they share what they know here
    root = Path(config.config_file_path).parent.resolve()
    _links = RepositoryLinks(root, config.repo_url or "")
    config.markdown_extensions.append(LinkExtension(_links))  # type: ignore[arg-type]  # instances are taken
    return config


def on_files(files: Files, **_: object) -> None:
    """Note which sources the site holds; runs behind the hooks that add pages."""
    assert _links is not None
    _links.held = {Path(file.abs_src_path).resolve(): file for file in files if file.abs_src_path}


def on_page_markdown(_markdown: str, *, page: Page, **_: object) -> None:
    """Note which page is being rendered."""
    assert _links is not None
    _links.page = page.file
