"""A tag that does not fit version and changelog stops the release before anything is built."""

from pathlib import Path

import pytest

from tools.release import check

CHANGELOG = (
    "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n- New.\n\n"
    "## [1.1.0] - 2026-11-01\n\n- Old.\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "harness_bench" / "core").mkdir(parents=True)
    (tmp_path / "harness_bench/core/version.py").write_text('__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_the_notes_are_the_changelogs_section(root: Path) -> None:
    assert check("v1.2.0", root) == "- New."


@pytest.mark.parametrize(
    ("tag", "changelog", "told"),
    [
        ("v1.1.0", CHANGELOG, "1.2.0"),
        ("1.2.0", CHANGELOG, "1.2.0"),
        ("v1.2.0", CHANGELOG.replace("- New.", ""), "CHANGELOG"),
        ("v1.2.0", CHANGELOG.replace("[1.2.0] - 2026-12-01", "[1.2.0]"), "CHANGELOG"),
    ],
)
def test_what_does_not_fit_is_told(root: Path, tag: str, changelog: str, told: str) -> None:
    (root / "CHANGELOG.md").write_text(changelog)
    with pytest.raises(ValueError, match=told):
        check(tag, root)
