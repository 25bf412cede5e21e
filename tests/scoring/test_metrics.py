"""Metrics against independent implementations; one dropped into the folder reaches all reports."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from harness_bench.asr.score import as_markdown
from harness_bench.results.predictions import TextPrediction, write_predictions
from harness_bench.scoring import metrics, registry
from harness_bench.scoring.classes import score_classes
from harness_bench.scoring.publish import text_result
from harness_bench.scoring.registry import get_metric, metric_names
from harness_bench.scoring.statistics import Array, class_statistics, text_statistics
from harness_bench.scoring.systems import breakdown
from harness_bench.scoring.texts.score import row_statistics, score_rows, score_texts
from tests.scoring.conftest import TEMPLATE, annotated, class_rows, naive_alignment, text_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

ORACLES = {
    "accuracy": accuracy_score,
    "uar": balanced_accuracy_score,
    "macro_f1": lambda truth, pred: f1_score(truth, pred, average="macro"),
    "wer": jiwer.wer,
    "cer": jiwer.cer,
    "av_wer": lambda refs, hyps: np.mean([jiwer.wer(each, hyps) for each in refs]),
    "av_cer": lambda refs, hyps: np.mean([jiwer.cer(each, hyps) for each in refs]),
    # Of equal annotators MR-WER is the WER of the authors' costs; test_multiref.py has the rest.
    "mr_wer": lambda refs, hyps: authors_wer(refs[0], hyps),
}
SHAPES = {"class": (3, 4), "text": (2, 4), "references": (1 + 2 * 3, 4)}
LABELS = st.sampled_from(["EGY", "GLF", "LEV"])
TEXTS = st.lists(st.sampled_from(["كتاب", "بيت", "في", "قال"]), max_size=6).map(" ".join)


def authors_wer(refs: list[str], hyps: list[str]) -> float:
    """WER of alignments with substitution cost 2."""
    pairs = [(ref.split(), hyp.split()) for ref, hyp in zip(refs, hyps, strict=True)]
    paths = [naive_alignment(*pair) for pair in pairs]
    return sum(len(path) - path.count("c") for path in paths) / sum(len(ref) for ref, _ in pairs)


def counted(rows: list[TextPrediction]) -> Array:
    return row_statistics(rows, "none", several=True)


@pytest.mark.parametrize("name", metric_names())
def test_contract(name: str) -> None:
    """A metric dropped into the folder must work on one sum, on many at once, and on nothing."""
    plugin = get_metric(name)
    assert (plugin.name, bool(plugin.unit)) == (name, True)
    assert name in ORACLES, "give the new metric an oracle here"
    draw = np.random.default_rng(0)
    counts = draw.integers(1, 9, size=(5, 7, *SHAPES[plugin.kind])).astype(np.float64)
    many = plugin.value(counts)
    assert many.shape == (5, 7)
    assert np.allclose(many[2, 3], plugin.value(counts[2, 3]))
    assert np.isnan(plugin.value(np.zeros(SHAPES[plugin.kind])))


@given(pairs=st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=40))
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_class_metrics_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    """A missing class is where definitions differ: ours must be scikit-learn's."""
    truth, pred = zip(*pairs, strict=True)
    totals = class_statistics(truth, pred, ["EGY", "GLF", "LEV", "never seen"]).sum(axis=0)
    for name in metric_names("class"):
        assert float(get_metric(name).value(totals)) == pytest.approx(
            100 * ORACLES[name](truth, pred)
        )


@given(pairs=st.lists(st.tuples(TEXTS.filter(bool), TEXTS), min_size=1, max_size=20))
@settings(deadline=None)
def test_text_metrics_equal_jiwer(pairs: list[tuple[str, str]]) -> None:
    """Summing per-utterance counts must give jiwer's corpus-level rates."""
    refs, hyps = map(list, zip(*pairs, strict=True))
    totals = text_statistics(refs, hyps).sum(axis=0)
    for name in metric_names("text"):
        expected = 100 * ORACLES[name](refs, hyps)
        assert float(get_metric(name).value(totals)) == pytest.approx(expected)


@given(
    rows=st.lists(st.tuples(TEXTS.filter(bool), TEXTS.filter(bool), TEXTS), min_size=1, max_size=9)
)
@settings(deadline=None, max_examples=50)
def test_means_over_annotators_equal_jiwer(rows: list[tuple[str, str, str]]) -> None:
    """AV-WER and AV-CER are means of rates; a rate of summed counts would be another figure."""
    totals = counted([annotated(f"u{n}", *row) for n, row in enumerate(rows)])
    *refs, hyps = (list(texts) for texts in zip(*rows, strict=True))
    for name in ("av_wer", "av_cer"):
        found = float(get_metric(name).value(totals.sum(axis=0)))
        assert found == pytest.approx(100 * ORACLES[name](refs, hyps))


@given(pairs=st.lists(st.tuples(TEXTS.filter(bool), TEXTS), min_size=1, max_size=9))
@settings(deadline=None, max_examples=50)
def test_equal_annotators_are_one(pairs: list[tuple[str, str]]) -> None:
    """Two who wrote the same forgive nothing."""
    rows = [annotated(f"u{n}", ref, ref, hyp) for n, (ref, hyp) in enumerate(pairs)]
    found = float(get_metric("mr_wer").value(counted(rows).sum(axis=0)))
    refs, hyps = map(list, zip(*pairs, strict=True))
    assert found == pytest.approx(100 * ORACLES["mr_wer"]([refs, refs], hyps))


def test_empty_reference_counts_insertions() -> None:
    """Jiwer refuses an empty reference; a silent utterance with words recognised is an error."""
    texts = {"a": ("قال في", "قال في"), "b": ("؟", "بيت")}
    rows = [TextPrediction(id=key, ref=r, hyp=h, group="g") for key, (r, h) in texts.items()]
    assert score_texts(rows, profile="mgb2")["wer"].value == pytest.approx(50)


def test_nothing_to_score_is_an_error() -> None:
    """An empty prediction file, or a transcript column that was not filled, is no score."""
    with pytest.raises(ValueError, match="in all 1 utterances"):
        score_texts([TextPrediction(id="a", ref="", hyp="بيت", group="g")])
    with pytest.raises(ValueError, match="no prediction"):
        score_classes([])


def test_further_profiles_have_their_own_names() -> None:
    """One hypothesis file gives WER under every profile in one run; only the first is `wer`."""
    rows = [TextPrediction(id="a", ref="مدرسة أحمد", hyp="مدرسه احمد", group="g")]
    found = score_texts(rows, profile="mgb2", also=("none", "mgb2"))
    assert set(found) == {"wer", "cer", "wer_none", "cer_none"}
    assert (found["wer"].value, found["wer_none"].value) == (0, 100)


def test_unknown_names_list_the_known() -> None:
    """A typing error in a profile or metric must teach the right name."""
    with pytest.raises(ValueError, match=r"'mgb4'.*mgb2, mgb3"):
        score_texts(text_rows(count=1, seed=0), profile="mgb4")
    with pytest.raises(ValueError, match=r"'f1'.*macro_f1"):
        get_metric("f1")


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
