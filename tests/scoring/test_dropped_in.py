"""A metric is one file: dropped into the folder it reaches every report, with no list edited."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.asr.score import as_markdown
from harness_bench.results.predictions import write_predictions
from harness_bench.scoring import metrics, registry
from harness_bench.scoring.publish import text_result
from harness_bench.scoring.systems import breakdown
from harness_bench.scoring.texts.score import score_rows
from tests.scoring.conftest import TEMPLATE, annotated, class_rows, text_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = '''"""The share of {what}."""
from harness_bench.scoring.statistics import ratio
NAME, KIND, HIGHER_IS_BETTER, UNIT = "{name}", "{kind}", True, "%"
def value(totals):
    return 100 * ratio(totals[..., 0, {first}], totals[..., 0, :].sum(axis=-1))
'''


@pytest.fixture
def dropped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look for metrics in a copy of the folder that has one more file of each kind of texts."""
    folder = tmp_path / "metrics"
    shutil.copytree(Path(metrics.__file__).parent, folder)
    for name, kind in (("hit_share", "text"), ("merged_share", "references"), ("odd", "class")):
        (folder / f"{name}.py").write_text(PLUGIN.format(name=name, kind=kind, what=name, first=0))
    monkeypatch.setattr(metrics, "__path__", [str(folder)])
    monkeypatch.setattr(metrics.__spec__, "submodule_search_locations", [str(folder)])
    registry._metrics.cache_clear()
    yield
    registry._metrics.cache_clear()
    for name in ("hit_share", "merged_share", "odd"):
        sys.modules.pop(f"{metrics.__name__}.{name}", None)


@pytest.mark.usefixtures("dropped_in")
def test_against_one_reference(tmp_path: Path, command: Any) -> None:
    """Recipe reports, results, `score asr --predictions` and breakdowns."""
    rows = text_rows(count=20, seed=0)
    found, _ = score_rows(rows)
    share = found["mgb2"]["hit_share"]
    assert found["mgb2"]["intervals"]["hit_share"]
    report = as_markdown("made", found, {})
    assert "| WER |" in report.replace("  ", "")
    assert "HIT-SHARE" in report
    assert "MERGED-SHARE" not in report
    assert text_result(rows, TEMPLATE, found).metrics["hit_share"].value == share
    write_predictions(tmp_path / "a.jsonl", rows)
    out = command("asr", "--predictions", tmp_path / "a.jsonl", "--json")[1]
    assert json.loads(out)["hit_share"]["value"] == share
    assert breakdown(rows, metric="hit_share")["group"]


@pytest.mark.usefixtures("dropped_in")
def test_against_several_references() -> None:
    """A metric of texts is told as the mean over annotators, one of references as itself."""
    rows = [annotated("u", "قال في بيت", "قال من باب", "قال في باب")]
    found, _ = score_rows(rows, "none", ["mgb2"])
    assert found["none"]["hit_share"] == pytest.approx(200 / 3)
    assert found["none"]["merged_share"] == 100
    report = as_markdown("made", found, {})
    assert "MERGED-SHARE" in report
    assert "AV-HIT-SHARE" in report
    made = text_result(rows, TEMPLATE, found).metrics
    assert {"merged_share", "merged_share_mgb2", "mr_wer"} < made.keys()
    assert "hit_share" not in made


@pytest.mark.usefixtures("dropped_in")
def test_of_classes(tmp_path: Path, command: Any) -> None:
    write_predictions(tmp_path / "a.jsonl", class_rows(count=20, seed=0))
    assert "odd" in json.loads(command("cls", "--predictions", tmp_path / "a.jsonl", "--json")[1])
