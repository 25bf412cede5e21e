"""The paper's figures: typed once, complete, cited, and never among the measured ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness_bench.leaderboard.build import PAPER

from harness_bench.results import load_results

FACTS = Path(__file__).parents[3] / "shared" / "PAPER.md"
COLUMNS = ("MGB2", "MGB3", "KSUEmotions", "ADI5")


def test_every_file_is_a_valid_reported_result() -> None:
    """A typing error in one of them would silently drop a row."""
    found, problems = load_results(PAPER)
    assert not problems
    assert len(found) == 34
    for path, result in found.items():
        assert result.source == "reported"
        assert "arXiv" in result.citation
        assert not result.synthetic
        assert path.name == result.file_name
        assert result.main.interval is None


def test_figures_equal_table_2() -> None:
    """Every figure against the project's notes of the paper, where those are at hand."""
    if not FACTS.is_file():
        pytest.skip(f"{FACTS} is absent: the notes of the paper are not part of the repository")
    section = FACTS.read_text(encoding="utf-8").partition("## Results (Table 2)")[2]
    rows = re.findall(r"^\| (\S.*?) \|((?: [\d.]+ \|){4})$", section, re.MULTILINE)
    assert len(rows) == 7
    found, _ = load_results(PAPER)
    typed: dict[str, list[float]] = {}
    for result in found.values():
        if "Table 2" in result.citation:
            typed.setdefault(result.corpus, []).append(result.main.value)
    printed = [[float(value) for value in figures.split("|")[:4]] for _, figures in rows]
    for column, corpus in enumerate(COLUMNS):
        assert sorted(typed[corpus]) == sorted(row[column] for row in printed)


def test_printed_sizes() -> None:
    """Sizes as the paper prints them, not as anybody computed them."""
    found, _ = load_results(PAPER)
    sizes = {r.model: r.parameters for r in found.values()}
    assert sizes["HArnESS-L"] == sizes["HuBERT-L"] == 316_000_000
    assert (sizes["HArnESS-S"], sizes["HArnESS-ST"]) == (65_000_000, 28_000_000)
    assert sizes["HArnESS-ST (dim 256)"] is None
