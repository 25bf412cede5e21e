"""Files that hosts of repositories read have the form they ask for."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness_bench import __version__

ROOT = Path(__file__).parent.parent
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FIELDS = {"input", "textarea", "dropdown", "checkboxes"}  # "markdown" asks nothing


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("path", [path for path in FORMS if path.stem != "config"], ids=str)
def test_a_form_asks_for_something(path: Path) -> None:
    """A form with a wrong key is not offered to anybody, and nobody is told."""
    form = read(path)
    assert set(form) == {"name", "description", "labels", "body"}
    asked = [each for each in form["body"] if each["type"] != "markdown"]
    assert {each["type"] for each in asked} <= FIELDS
    names = [each["id"] for each in asked]
    assert len(set(names)) == len(names)
    assert all(each["attributes"]["label"] for each in asked)
    assert any(each.get("validations", {}).get("required") for each in asked)
    assert {key for each in asked for key in each} <= {"type", "id", "attributes", "validations"}


def test_the_citation_is_of_this_version() -> None:
    """GitHub shows no citation where one of the keys that the format requires is absent."""
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == __version__
    assert all(citation[key] for key in ("message", "title", "authors", "license"))
    assert citation["license"] == "Apache-2.0"
