"""Results in a model card: whose they are, and that their text cannot break the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.core.files import read_json
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.models.readme import head_of
from harness_bench.pretrain.family import export
from harness_bench.results.model_card import results_of, with_results
from harness_bench.results.record import load_result
from tests.results.conftest import metrics, put

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_export_writes_the_results_of_the_weights_it_was_given(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rounded, they have another digest; a folder without results of them says so."""
    results, out = tmp_path / "results", tmp_path / "small"
    digest = checkpoint_digest(tiny_checkpoint)
    put(results, checkpoint_digest=digest, metrics=metrics(81.5))
    export(tiny_checkpoint, out, results=results)
    text = (out / "README.md").read_text()
    assert "81.5 %" in text
    assert digest not in text
    export(tiny_checkpoint, out, dtype="float16", results=results)
    assert read_json(out / "harness.json")["parent"] == digest
    text = (out / "README.md").read_text()
    assert "81.5 %" in text
    assert f"(digest {digest}), not on these" in text
    (tmp_path / "none").mkdir()
    export(tiny_checkpoint, out, results=tmp_path / "none")
    assert "## Results" not in (out / "README.md").read_text()
    assert "No measured result" in capsys.readouterr().err


def test_reported_figures_and_other_weights_are_none_of_its(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """A name is no proof: anybody may have called a model so."""
    digest = checkpoint_digest(tiny_checkpoint)
    put(tmp_path, checkpoint_digest=digest, source="reported", citation="a paper", model="x")
    put(tmp_path, checkpoint_digest="e" * 32)
    put(tmp_path, checkpoint_digest=None, task="ser")
    assert results_of(tiny_checkpoint, tmp_path) == ([], "")


def test_foreign_text_stays_in_its_cell(tmp_path: Path) -> None:
    """Results come from anywhere: a bar or a line would make other columns and headings."""
    span = {"low": 1.0, "high": 99.0, "level": 0.9, "method": "bootstrap\n## Licence: none"}
    path = put(
        tmp_path, corpus="a | b", metrics=metrics(50.0, interval=span),
        leakage={"verdict": "shared", "detail": "x\n\n# Title"}, pretraining_data="p\n## q",
    )  # fmt: skip
    before = "# m\n\nWords.\n"
    text = with_results(before, [load_result(path)])
    body = text.partition("---\n\n")[2]
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert headings == ["# m", "## Results", "## Pretraining data"]
    rows = [line for line in body.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {8}
    assert "Intervals of 90 %" in text
    assert head_of(text)["model-index"][0]["results"][0]["dataset"]["name"] == "a | b"
