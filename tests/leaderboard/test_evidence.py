"""What predictions add to figures: paired tests and breakdowns, and what broken ones cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from harness_bench.leaderboard import evidence
from harness_bench.leaderboard.board import by_column
from harness_bench.leaderboard.evidence import gather_all

from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.results.record import load_results
from harness_bench.scoring.texts import score
from tests.leaderboard.conftest import write_results
from tests.scoring.conftest import compare_pair

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of four models with predictions, made once and only read."""
    made = tmp_path_factory.mktemp("results")
    write_results(made)
    return made


def test_every_pair_is_the_paired_bootstrap(folder: Path) -> None:
    """The board must say of two models what `score compare` says of their files."""
    found, _ = load_results(folder)
    for column, each in gather_all(found).items():
        files = by_column(found, "measured")[column]
        assert not each.notes
        first, second = files[0], files[-1]
        pair, back = each.pair(first, second), each.pair(second, first)
        paths = [file.parent / str(found[file].predictions) for file in (first, second)]
        if column.task == "did":
            classes = [read_predictions(path, ClassPrediction) for path in paths]
            expected = compare_pair(*classes, metric="accuracy")
        else:
            texts = [read_predictions(path, TextPrediction) for path in paths]
            expected = compare_pair(*texts, profile="mgb2", metric="wer")
        assert pair is not None
        assert back is not None
        assert pair.p_value == back.p_value == expected.p_value
        assert pair.difference == pytest.approx(expected.difference)
        assert back.difference == pytest.approx(-expected.difference)
        assert (pair.low, pair.high) == pytest.approx(
            (expected.interval.low, expected.interval.high)
        )
        assert each.breakdowns.keys() == set(files)


def test_other_utterances_are_not_compared(folder: Path, tmp_path: Path) -> None:
    """One utterance less in one file: that model has no test, the others keep theirs."""
    write_results(tmp_path)
    path = tmp_path / "predictions" / "random.did.tones.test.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    found, _ = load_results(tmp_path)
    ((column, each),) = ((c, e) for c, e in gather_all(found).items() if c.task == "did")
    files = by_column(found, "measured")[column]
    odd = tmp_path / "random.did.tones.test.json"
    others = [file for file in files if file != odd]
    assert all(each.pair(odd, other) is None for other in others)
    assert each.pair(others[0], others[1]) is not None
    assert any("random.did" in note and "differ" in note for note in each.notes)
    assert folder != tmp_path


def test_results_without_predictions_have_no_evidence(tmp_path: Path) -> None:
    """Predictions may stay where they were made: figures and ranks by figure remain."""
    write_results(tmp_path)
    for path in (tmp_path / "predictions").iterdir():
        path.unlink()
    for each in gather_all(load_results(tmp_path)[0]).values():
        assert (each.tests, each.breakdowns, each.notes) == ([], {}, [])


def test_too_many_models_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs grow with the square: what is left out is the worst, and it is said."""
    monkeypatch.setattr(evidence, "MAX_SYSTEMS", 2)
    found, _ = load_results(folder)
    for column, each in gather_all(found).items():
        best = sorted(
            by_column(found, "measured")[column],
            key=lambda file: (-1 if column.higher_is_better else 1) * found[file].main.value,
        )
        assert len(each.breakdowns) == 2
        assert best[0] in each.breakdowns
        assert any("best 2 models" in note for note in each.notes)


def test_another_version_of_the_profile_is_not_scored_anew(tmp_path: Path) -> None:
    """A test under other rules than the figures' would speak of other figures."""
    write_results(tmp_path)
    for path in tmp_path.glob("*.asr.*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"normaliser": "mgb2 v0"}))
    found, _ = load_results(tmp_path)
    notes = [note for each in gather_all(found).values() for note in each.notes]
    assert len(notes) == 1
    assert "mgb2 v0" in notes[0]
    assert "score again" in notes[0]


def test_predictions_of_another_run_are_left_out(tmp_path: Path) -> None:
    """A result that says 99 % beside predictions of less must not win by the others' tests."""
    write_results(tmp_path)
    path = tmp_path / "random.did.tones.test.json"
    said = json.loads(path.read_text())
    said["metrics"]["accuracy"] |= {"value": 99.0, "interval": None, "other_intervals": []}
    path.write_text(json.dumps(said))
    found, _ = load_results(tmp_path)
    (each,) = (e for column, e in gather_all(found).items() if column.task == "did")
    assert path not in each.breakdowns
    assert [len(files) for files, _ in each.tests] == [3]
    assert any(path not in files for files, _ in each.tests)
    assert each.notes[0].startswith(f"{path.name} could not be compared: it says accuracy 99.00")


def test_a_metric_with_an_invisible_character_costs_nobody_the_test(tmp_path: Path) -> None:
    """It stands in the same column, and its name is what the column shows."""
    write_results(tmp_path)
    path = tmp_path / "fbank.did.tones.test.json"
    path.write_text(path.read_text().replace('"accuracy"', '"accuracy\\u200b"'))
    found, problems = load_results(tmp_path)
    assert not problems
    (each,) = (e for column, e in gather_all(found).items() if column.task == "did")
    assert not each.notes
    assert [len(files) for files, _ in each.tests] == [4]


@pytest.mark.parametrize("said", [None, 99.0])
def test_every_text_is_aligned_once(
    said: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alignment is most of a build's time; breakdown, test and a second test can share it."""
    write_results(tmp_path)
    path = tmp_path / "student.asr.tones.test.json"
    result = json.loads(path.read_text())
    if said is not None:
        result["metrics"]["wer"] |= {"value": said, "interval": None, "other_intervals": []}
        path.write_text(json.dumps(result))
    aligned = []

    real = score.row_statistics

    def counted(rows: list[TextPrediction], profile: str, *, several: bool) -> Any:
        aligned.append(profile)
        return real(rows, profile, several=several)

    monkeypatch.setattr(score, "row_statistics", counted)
    found, _ = load_results(tmp_path)
    (each,) = (e for column, e in gather_all(found).items() if column.task == "asr")
    assert aligned == ["mgb2"] * 3
    assert [len(files) for files, _ in each.tests] == [3 if said is None else 2]
