"""MkDocs hook: tutorials stand in the navigation behind the start, as soon as they are files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

FOLDER = "tutorials"
FIRST = ("checkpoint", "corpus", "hypotheses", "cluster")  # the others follow by name


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put them behind the first section of mkdocs.yml."""
    names = {path.stem for path in (Path(config.docs_dir) / FOLDER).glob("*.md")}
    ordered = [name for name in FIRST if name in names] + sorted(names - {*FIRST})
    if ordered and config.nav:
        config.nav.insert(1, {"Tutorials": [f"{FOLDER}/{name}.md" for name in ordered]})
    return config
