"""Check that a tag, the version of the package and the changelog name the same release.

`python tools/release.py v1.2.3` ends with an error unless `harness_bench.core.version` has 1.2.3
and CHANGELOG.md a dated section for it that is not empty. It imports nothing of the package.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def check(tag: str, root: Path = ROOT) -> str:
    """Return the notes of the release that a tag names; what does not fit is a `ValueError`."""
    source = (root / "harness_bench/core/version.py").read_text(encoding="utf-8")
    version = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)[0]
    if tag != f"v{version}":
        raise ValueError(f"Tag {tag!r}, but harness_bench/core/version.py has {version!r}.")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    head = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    section = re.search(rf"{head}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        raise ValueError(
            f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD' with text: give "
            "[Unreleased] this name and today's date."
        )
    return section[1].strip()


if __name__ == "__main__":
    try:
        print(check(sys.argv[1]))
    except (IndexError, ValueError) as error:
        sys.exit(f"error: {error}")
