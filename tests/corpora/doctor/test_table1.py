"""Table 1 from prepared folders: the paper's rows, each figure beside what was counted."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from harness_bench.cli import app
from harness_bench.corpora.doctor.table1 import reproduce
from tests.corpora.doctor import official
from tests.cut_files import row, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """The five corpora as they should be after `prepare`, hours alone."""
    return [
        official.plain(tmp_path / "q", "qasr", {"train": 300.0, "dev": 6.0, "test": 9.6}),
        official.plain(tmp_path / "m2", "mgb2", {"test": 9.58, "test_overlap": 0.54}),
        official.plain(tmp_path / "m3", "mgb3", {"test": 5.78}),
        official.ksuemotions(tmp_path / "k"),
        official.adi5(tmp_path / "a"),
    ]


def test_it_is_the_papers_table(folders: list[Path]) -> None:
    """As PAPER prints it, row by row; what is counted of the official sets stands beside."""
    found = reproduce(folders)
    assert [re.split(r" {2,}", line) for line in found.render().splitlines()[:6]] == [
        ["data", "train h", "dev h", "test h", "task", "differences"],
        ["QASR", "300 / 300.00", "6.0 / 6.00", "- / 9.60", "ASR"],
        ["MGB2", "-", "-", "9.57 / 9.58", "ASR", "test differs by +0.010 (+0.1 %)"],
        ["MGB3", "-", "-", "5.78 / 5.78", "ASR"],
        ["KSUEmotions", "3.30 / 3.30", "0.83 / 0.83", "1.0 / 1.00", "SER"],
        ["ADI5", "42.90 / 42.90", "10.0 / 10.01", "10.0 / 10.12", "DID",
         "test differs by +0.12 (+1.2 %)"],
    ]  # fmt: skip
    assert found.sound


def test_what_is_not_given_is_no_difference(folders: list[Path]) -> None:
    found = reproduce(folders[1:2])
    assert found.sound
    assert {cell.detail for cell in found.cells if cell.data == "ADI5"} == {"not given"}


def test_other_hours_are_a_difference(tmp_path: Path) -> None:
    """All of QASR is not the paper's 300 h."""
    whole = official.plain(tmp_path / "q", "qasr", {"train": 1900.0, "dev": 6.0})
    done = CliRunner().invoke(app.app, ["corpora-doctor", "--table1", str(whole), "--json"])
    assert done.exit_code == 1
    cell = json.loads(done.stdout)["cells"][0]
    assert (cell["data"], cell["split"], cell["verdict"]) == ("QASR", "train", "differs")
    assert "QASR" in CliRunner().invoke(app.app, ["corpora-doctor", "--table1", str(whole)]).stdout


def test_a_folder_of_another_corpus_is_refused(folders: list[Path], tmp_path: Path) -> None:
    """It would be counted nowhere, and nobody would know."""
    with pytest.raises(ValueError, match="Table 1 is of qasr"):
        reproduce([write(tmp_path / "plain", "train", [row("a")])])
    with pytest.raises(ValueError, match="second folder of mgb3"):
        reproduce([folders[2], folders[2]])
