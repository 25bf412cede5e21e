"""MkDocs hook: pages of the site whose sources stand at the top of the repository.

They stay where people and code hosts look for them; the site reads them from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

NAMES = ("CONTRIBUTING", "CHANGELOG", "CODE_OF_CONDUCT", "SECURITY", "THIRD_PARTY")
PAGES = {f"{name}.md": f"{name.lower()}.md" for name in NAMES}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of `PAGES` to what MkDocs found in docs/."""
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(root / source)))
    return files
