"""The paper's figures: typed once, complete, cited, and never among the measured ones."""

import re
from pathlib import Path

import pytest
from harness_bench.leaderboard.build import PAPER, make_board
from harness_bench.leaderboard.tables import figure

from harness_bench.results.record import load_results

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


def notes() -> str:
    """Return the project's notes of the paper, where those are at hand."""
    if not FACTS.is_file():
        pytest.skip(f"{FACTS} is absent: the notes of the paper are not part of the repository")
    return FACTS.read_text(encoding="utf-8")


def shown(tmp_path: Path) -> dict[tuple[str, str], str]:
    """Return (model, corpus) -> figure, digit by digit as the leaderboard writes it."""
    table = make_board(tmp_path, title="t").reported
    return {
        (row.model, column.corpus): figure(cell.metric, table.decimals)
        for row in table.rows
        for column, cell in row.cells.items()
    }


def test_table_2_as_printed(tmp_path: Path) -> None:
    """Every figure of every row, to the digit, in the row and column where the paper has it."""
    section = notes().partition("## Results (Table 2)")[2]
    rows = re.findall(r"^\| (\S.*?) \|((?: [\d.]+ \|){4})$", section, re.MULTILINE)
    names = {
        "SOTA* (large, task-specific, full data)": "SOTA (large, task-specific, full data)",
        "HuBERT-L (English)": "HuBERT-L",
        "XLS-R (multilingual)": "XLS-R",
        "HArnESS-L": "HArnESS-L",
        "HArnESS-S (79.4 %)": "HArnESS-S",
        "HArnESS-ST (93.7 %)": "HArnESS-ST",
        "HArnESS-ST, PCA supervision (93.7 %)": "HArnESS-ST (PCA supervision)",
    }
    assert [label for label, _ in rows] == list(names)
    found = shown(tmp_path)
    for label, figures in rows:
        printed = [value.strip() for value in figures.split("|")[:4]]
        assert [found[names[label], corpus] for corpus in COLUMNS] == printed
    typed = [result for result in load_results(PAPER)[0].values() if "Table 2" in result.citation]
    assert len(typed) == len(names) * len(COLUMNS)


def test_table_4_as_printed(tmp_path: Path) -> None:
    """Dimensions 1024 and 512 are rows of Table 2 again; 256 stands here alone."""
    line = next(line for line in notes().splitlines() if "Table 4 and text" in line)
    models = ("HArnESS-S", "HArnESS-ST", "HArnESS-ST (dim 256)")
    found = shown(tmp_path)
    labels = {"MGB2": "WER on MGB2", "KSUEmotions": "KSUE", "ADI5": "ADI5"}
    for corpus, label in labels.items():
        printed = _three(line, label)
        assert [float(found[model, corpus]) for model in models] == [float(x) for x in printed]
        assert found[models[-1], corpus] == printed[-1]
    for model, compression in zip(models, _three(line, "compression"), strict=True):
        results = [r for r in load_results(PAPER)[0].values() if r.model == model]
        assert len(results) >= len(labels)
        assert all(f"{compression} %" in result.citation for result in results)


def _three(line: str, label: str) -> list[str]:
    """Return the figures that stand behind a label: `label 1 / 2 / 3`."""
    ((*found,),) = re.findall(rf"{label} ([\d.]+) / ([\d.]+) / ([\d.]+)", line)
    return list(map(str, found))


def test_printed_sizes() -> None:
    """Sizes as the paper prints them, not as anybody computed them."""
    sizes = {result.model: result.parameters for result in load_results(PAPER)[0].values()}
    assert sizes["HArnESS-L"] == sizes["HuBERT-L"] == 316_000_000
    assert (sizes["HArnESS-S"], sizes["HArnESS-ST"]) == (65_000_000, 28_000_000)
    assert sizes["HArnESS-ST (dim 256)"] is None
