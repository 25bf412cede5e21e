"""What predictions add to figures: paired tests and breakdowns, and what broken ones cost.

They come from strangers: a small file must not cost minutes or all the memory.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness_bench.leaderboard import evidence
from harness_bench.leaderboard.board import Evidence
from harness_bench.leaderboard.build import make_board
from harness_bench.leaderboard.evidence import check_file, check_systems, gather_all
from harness_bench.leaderboard.ranking import by_column

from harness_bench.results.predictions import (
    ClassPrediction,
    TextPrediction,
    read_predictions,
    write_predictions,
)
from harness_bench.results.record import load_result, load_results
from harness_bench.scoring.texts import score
from tests.leaderboard.conftest import write_results
from tests.scoring.conftest import class_rows, compare_pair, text_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of four models with predictions, made once and only read."""
    return write_results(tmp_path_factory.mktemp("results"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The same to be changed."""
    return write_results(tmp_path)


def say(path: Path, metric: str, value: float) -> None:
    """Let a result say another figure than its predictions give."""
    said = json.loads(path.read_text())
    said["metrics"][metric] |= {"value": value, "interval": None, "other_intervals": []}
    path.write_text(json.dumps(said))


def evidence_of(folder: Path, task: str) -> Evidence:
    """Return what the predictions say of a task's column; all result files are valid."""
    found, problems = load_results(folder)
    assert not problems
    (each,) = (each for column, each in gather_all(found).items() if column.task == task)
    return each


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


def test_other_utterances_are_not_compared(own: Path) -> None:
    """Another utterance in one file: that model has no test, the others keep theirs."""
    path = own / "predictions" / "random.did.tones.test.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | {"id": "another"}), *others]) + "\n")
    each = evidence_of(own, "did")
    odd, *alike = sorted(own.glob("*.did.*"), key=lambda file: "random" not in file.name)
    assert all(each.pair(odd, other) is None for other in alike)
    assert each.pair(alike[0], alike[1]) is not None
    assert any("random.did" in note and "differ" in note for note in each.notes)


def test_results_without_predictions_have_no_evidence(own: Path) -> None:
    """Predictions may stay where they were made: figures and ranks by figure remain."""
    for path in (own / "predictions").iterdir():
        path.unlink()
    for each in gather_all(load_results(own)[0]).values():
        assert (each.tests, each.breakdowns, each.notes) == ([], {}, [])


def test_too_many_models_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs grow with the square: what is left out is the worst, and it is said."""
    monkeypatch.setattr(evidence, "MAX_SYSTEMS", 2)
    found, _ = load_results(folder)
    for column, each in gather_all(found).items():
        files = by_column(found, "measured")[column]
        best = (max if column.higher_is_better else min)(files, key=lambda f: found[f].main.value)
        assert len(each.breakdowns) == 2
        assert best in each.breakdowns
        assert any("best 2 models" in note for note in each.notes)


def test_a_note_names_the_column_of_another_head(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a column DID, "DID" would be taken for that."""
    for path in own.glob("*.json"):
        said = json.loads(path.read_text())
        if said["task"] == "did":
            path.write_text(json.dumps(said | {"head": "linear"}))
    few = SimpleNamespace(decidable=False, clusters=2, smallest_p=1.0)
    compare = evidence.compare_systems
    monkeypatch.setattr(
        evidence, "compare_systems",
        lambda rows, **more: SimpleNamespace(**vars(few), names=compare(rows, **more).names),
    )  # fmt: skip
    (note,) = evidence_of(own, "did (linear)").notes
    assert note.startswith("DID (LINEAR), ")


def test_another_version_of_the_profile_is_not_scored_anew(own: Path) -> None:
    """A test under other rules than the figures' would speak of other figures."""
    for path in own.glob("*.asr.*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"normaliser": "mgb2 v0"}))
    (note,) = evidence_of(own, "asr").notes
    assert "mgb2 v0" in note
    assert "score again" in note
    assert not evidence_of(own, "did").notes


def test_predictions_of_another_run_are_left_out(own: Path) -> None:
    """A result that says 99 % beside predictions of less must not win by the others' tests."""
    path = own / "random.did.tones.test.json"
    say(path, "accuracy", 99.0)
    each = evidence_of(own, "did")
    assert path not in each.breakdowns
    assert [len(files) for files, _ in each.tests] == [3]
    assert any(path not in files for files, _ in each.tests)
    assert each.notes[0].startswith(f"{path.name} could not be compared: it says accuracy 99.00")


def test_predictions_prove_a_fraction(own: Path) -> None:
    """0.2 where the predictions give 20 % would be the best error rate: it is not ranked at all."""
    path = own / "fbank.asr.tones.test.json"
    figure = load_result(path).main.value
    assert figure > 1
    say(path, "wer", figure / 100)
    board = make_board(own, title="t", include_reported=False)
    assert list(board.problems) == [path.name]
    assert f"give {figure:.2f}" in board.problems[path.name]
    column = next(each for each in board.measured.columns if each.task == "asr")
    assert all(row.model != "fbank" for row, _ in board.measured.entries(column))


@pytest.mark.parametrize("rows", [None, "{oops"])
def test_predictions_that_prove_nothing_are_no_excuse(rows: str | None, own: Path) -> None:
    """A result of 0.3 that only names predictions would be ranked first as 0.3 %."""
    path = own / "fbank.asr.tones.test.json"
    say(path, "wer", load_result(path).main.value / 100)
    predictions = own / str(load_result(path).predictions)
    if rows is None:
        predictions.unlink()
    else:
        predictions.write_text(rows)
    board = make_board(own, title="t", include_reported=False)
    assert list(board.problems) == [path.name]
    assert "may be a fraction" in board.problems[path.name]
    assert all(cell.file != path for cell in board.measured.cells)


def test_a_metric_with_an_invisible_character_costs_nobody_the_test(own: Path) -> None:
    """It stands in the same column, and its name is what the column shows."""
    path = own / "fbank.did.tones.test.json"
    path.write_text(path.read_text().replace('"accuracy"', '"accuracy\\u200b"'))
    each = evidence_of(own, "did")
    assert not each.notes
    assert [len(files) for files, _ in each.tests] == [4]


@pytest.mark.parametrize("said", [None, 99.0])
def test_every_text_is_aligned_once(
    said: float | None, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alignment is most of a build's time; breakdown, test and a second test can share it."""
    if said is not None:
        say(own / "student.asr.tones.test.json", "wer", said)
    aligned, real = [], score.row_statistics

    def counted(rows: list[TextPrediction], profile: str, *, several: bool) -> Any:
        aligned.append(profile)
        return real(rows, profile, several=several)

    monkeypatch.setattr(score, "row_statistics", counted)
    each = evidence_of(own, "asr")
    assert aligned == ["mgb2"] * 3
    assert [len(files) for files, _ in each.tests] == [3 if said is None else 2]


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


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        # Classes and lengths multiply: 8,000 utterances of as many classes took 4 GB and 31 s.
        (named(8000), r"8000 x 24003 counts"),
        ([TextPrediction(id="u", ref="r" * 300_000, hyp="h" * 300_000, group="g")],
         r"9.0e\+10 steps"),
        # Of several annotators each is aligned.
        ([TextPrediction(id="u", ref="r", hyp="h" * 100_000, group="g",
                         references={f"annotator {n}": "r" * 100_000 for n in range(6)})],
         r"6.0e\+10 steps"),
        ([row for n in range(3) for row in named(
            1, tags={f"name {20 * n + m}": "" for m in range(20)})], "tags of 60 names"),
    ],
    ids=["classes", "letters", "references", "tags"],
)  # fmt: skip
def test_too_much_is_refused_with_its_number(rows: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_file(rows)


def test_many_models_of_many_classes_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone would do; side by side they would not."""
    alike = {n: text_rows(count=30, seed=0) for n in range(3)}
    check_systems(alike)
    monkeypatch.setattr(evidence, "MAX_COUNTS", 30 * 8)
    check_file(alike[0])
    with pytest.raises(ValueError, match="too many classes or models"):
        check_systems({n: [row.model_copy(update={"group": row.id}) for row in rows]
                       for n, rows in alike.items()})  # fmt: skip


def test_one_such_file_costs_its_own_evidence_alone(own: Path) -> None:
    """The others keep their tests, and the reader is told, without anybody's folders."""
    odd = own / "random.did.tones.test.json"
    write_predictions(own / "predictions" / "random.did.tones.test.jsonl", named(8000))
    each = evidence_of(own, "did")
    assert len(each.breakdowns) == 3
    assert odd not in each.breakdowns
    assert [len(files) for files, _ in each.tests] == [3]
    (note,) = each.notes
    assert note.startswith(f"{odd.name} could not be compared")
    assert str(own) not in note
