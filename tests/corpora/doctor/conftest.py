"""What tests of the doctor share: no plots, and the findings that were written."""

import csv
from pathlib import Path

import pytest

from harness_bench.corpora.doctor import examine as examining


@pytest.fixture(autouse=True)
def plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw in one test of whole examinations alone: plots have tests of their own and take long."""
    if request.node.name != "test_a_sound_folder_is_sound":
        monkeypatch.setattr(examining, "draw", lambda *_: None)


def kinds(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    with (folder / "findings.tsv").open(encoding="utf-8") as stream:
        for each in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            found.setdefault(each["id"], set()).add(each["kind"])
    return found
