"""Predictions come from strangers: a small file must not cost minutes or all the memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_bench.leaderboard import evidence
from harness_bench.leaderboard.evidence import check_file, check_systems, gather_all

from harness_bench.results.predictions import ClassPrediction, TextPrediction, write_predictions
from harness_bench.results.record import load_results
from tests.leaderboard.conftest import write_results
from tests.scoring.conftest import class_rows, text_rows


def named(count: int, **more: object) -> list[ClassPrediction]:
    """Make rows of as many classes as rows."""
    fields = {"pred": "a", "probs": {}, "group": "g"} | more
    return [
        ClassPrediction.model_validate({"id": f"u{n}", "truth": f"class {n}"} | fields)
        for n in range(count)
    ]


def test_what_labs_have_passes() -> None:
    """A test set of speaker identification and half-hour texts are large, and real."""
    voices = [row.model_copy(update={"truth": f"class {n % 1251}"}) for n, row in
              enumerate(named(8251))]  # fmt: skip
    check_file(voices)
    check_file([TextPrediction(id=str(n), ref="r" * 27_000, hyp="h" * 27_000, group="g")
                for n in range(20)])  # fmt: skip
    check_systems(dict.fromkeys(map(Path, map(str, range(60))), class_rows(count=5000, seed=0)))


def test_too_much_is_refused_with_its_number() -> None:
    """Classes and lengths multiply: 8,000 utterances of as many classes took 4 GB and 31 s."""
    with pytest.raises(ValueError, match=r"8000 x 24003 counts"):
        check_file(named(8000))
    with pytest.raises(ValueError, match=r"9.0e\+10 steps"):
        check_file([TextPrediction(id="u", ref="r" * 300_000, hyp="h" * 300_000, group="g")])
    tags = [{"tags": {f"name {20 * n + m}": "" for m in range(20)}} for n in range(3)]
    with pytest.raises(ValueError, match="tags of 60 names"):
        check_file([row for each in tags for row in named(1, **each)])


def test_many_models_of_many_classes_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone would do; side by side they would not."""
    alike = {n: text_rows(count=30, seed=0) for n in range(3)}
    check_systems(alike)
    monkeypatch.setattr(evidence, "MAX_COUNTS", 30 * 8)
    check_file(alike[0])
    with pytest.raises(ValueError, match="too many classes or models"):
        check_systems({n: [row.model_copy(update={"group": row.id}) for row in rows]
                       for n, rows in alike.items()})  # fmt: skip


def test_one_such_file_costs_its_own_evidence_alone(tmp_path: Path) -> None:
    """The others keep their tests, and the reader is told, without anybody's folders."""
    write_results(tmp_path)
    odd = tmp_path / "random.did.tones.test.json"
    write_predictions(tmp_path / "predictions" / "random.did.tones.test.jsonl", named(8000))
    found, _ = load_results(tmp_path)
    (each,) = (e for column, e in gather_all(found).items() if column.task == "did")
    assert len(each.breakdowns) == 3
    assert odd not in each.breakdowns
    assert [len(files) for files, _ in each.tests] == [3]
    (note,) = each.notes
    assert note.startswith(f"{odd.name} could not be compared")
    assert str(tmp_path) not in note


def test_every_reference_is_work() -> None:
    """Of several annotators each is aligned, and each has counts."""
    names = {f"annotator {n}": "r" * 100_000 for n in range(6)}
    row = TextPrediction(id="u", ref="r", hyp="h" * 100_000, references=names, group="g")
    with pytest.raises(ValueError, match=r"6.0e\+10 steps"):
        check_file([row])
