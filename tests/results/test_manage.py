"""Every problem is told by file and field; listing, comparing and adding hide and lose nothing."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.files import write_jsonl
from harness_bench.results.manage import (
    OF_THE_MEASUREMENT,
    OF_THE_RUN,
    SEVERAL,
    Difference,
    add,
    check,
    diff,
    list_results,
    load_folder,
    render,
)
from harness_bench.results.record import (
    MAX_BYTES,
    MAX_PROBLEMS,
    Costs,
    Result,
    load_result,
    load_results,
)
from harness_bench.scoring.registry import metric_names
from tests.results.conftest import edit, metrics, predictions_of, put
from tests.results.test_record import make_result

if TYPE_CHECKING:
    from collections.abc import Callable

WER = {"value": 250.0, "higher_is_better": False}
SPAN = {"method": "bootstrap", "low": 40.0, "high": 60.0}


def accuracy(value: object, **more: Any) -> dict[str, Any]:
    return {"metrics": metrics(value, **more)}


def spanned(value: float, **ends: float) -> dict[str, Any]:
    return accuracy(value, interval=SPAN | ends)


def wer(**changes: object) -> dict[str, Any]:
    return {"main_metric": "wer", "metrics": {"wer": WER | changes}}


def test_good_files_have_no_problem(tmp_path: Path) -> None:
    """A folder, one of its files again, and an error rate above 100 %, which insertions make."""
    path = put(tmp_path)
    put(tmp_path, model="other", main_metric="wer", metrics={"wer": WER})
    assert check([tmp_path, path]) == (2, [])


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy above 100 %": ("metrics", accuracy(100.5)),
    "negative error rate": ("metrics", wer(value=-1.0)),
    "wrong direction": ("metrics", wer(higher_is_better=True)),
    "interval above 100 %": ("metrics", spanned(50.0, high=101.0)),
    "interval beside its value": ("metrics.accuracy.interval", spanned(70.0)),
    "other beside": ("metrics.accuracy.other_intervals", accuracy(70.0, other_intervals=[SPAN])),
    "interval upside down": ("metrics.accuracy.interval", spanned(50.0, low=61.0)),
    "not a number": ("metrics.accuracy.value", accuracy(float("nan"))),
    "infinite": ("metrics.accuracy.interval.low", spanned(50.0, low=float("-inf"))),
    "a number as text": ("metrics.accuracy.value", accuracy("50")),
    "other digits printed": ("metrics.accuracy.printed", accuracy(50.0, printed="51")),
    "printed but measured": ("metrics", accuracy(50.0, printed="50")),
    "too many metrics": ("metrics", {"metrics": {f"m{i}": WER for i in range(60)}}),
    "no metric": ("metrics", {"metrics": {}}),
    "invisible name": ("model", {"model": "\u200b\u202e"}),
    "long command": ("command", {"command": "x" * 20_001}),
    "negative duration": ("seconds", {"seconds": -1.0}),
    "negative stage": ("stage_seconds.training", {"stage_seconds": {"training": -1.0}}),
    "negative hours": ("hours", {"hours": -0.1}),
    "no learning rate": ("learning_rates", {"learning_rates": {"-1e-3": 50.0}}),
    "endless grid": ("learning_rates", {"learning_rates": {f"{i}.5": 1.0 for i in range(201)}}),
    "seed of no run": ("seed", {"seed": 3, "seeds": [1, 2]}),
    "profile without version": ("normaliser", {"normaliser": "mgb2"}),
    "unknown verdict": ("leakage.verdict", {"leakage": {"verdict": "fine"}}),
    "main metric absent": ("main_metric", {"main_metric": "uar"}),
    "no citation": ("citation", {"source": "reported"}),
    "path upwards": ("predictions", {"predictions": "predictions/../../x"}),
    "absolute path": ("predictions", {"predictions": "/etc/passwd"}),
    "path of another system": ("predictions", {"predictions": "C:\\x"}),
    "path with a null byte": ("predictions", {"predictions": "a\0b"}),
    "endless path": ("predictions", {"predictions": "a" * 300}),
    "predictions absent": ("predictions", {"predictions": "predictions/none.jsonl"}),
    "predictions of others": ("predictions", {"utterances": 3}),
    "nested": ("command", {"command": [[[[]]]]}),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_told_by_their_field(case: str, tmp_path: Path) -> None:
    """And the good file beside stays good."""
    field, changes = BAD[case]
    put(tmp_path)
    path = edit(put(tmp_path, model="bad"), **changes)
    count, problems = check([tmp_path])
    assert count == 2
    assert [(problem.file, problem.field) for problem in problems] == [(str(path), field)]
    assert problems[0].message


def test_all_problems_of_a_file_at_once(tmp_path: Path) -> None:
    """Nobody wants to correct ten fields in ten runs; a hostile million is cut short."""
    path = edit(put(tmp_path), model="", seconds=-1, hours="x", task=None)
    assert {problem.field for problem in check([path])[1]} == {"model", "seconds", "hours", "task"}
    edit(path, **{f"x{number}": 0 for number in range(1000)})
    assert len(check([path])[1]) == MAX_PROBLEMS


NO_FILES = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "dangling link": partial(os.symlink, "nowhere"),
    "endless device": partial(os.symlink, "/dev/zero"),
    "too large": lambda path: path.write_bytes(b" " * (MAX_BYTES + 1)),
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_told_at_once(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A pipe would block and a device never end; neither may be read, nor hide the others."""
    good, bad = put(tmp_path), tmp_path / "bad.json"
    make(bad)
    count, problems = check([tmp_path])
    assert count == 2
    assert [(problem.file, problem.field) for problem in problems] == [(str(bad), "file")]
    assert [list(found) for found in load_results(tmp_path)] == [[good], [bad]]


def test_absent_and_empty_paths_are_problems(tmp_path: Path) -> None:
    """A check of nothing must not pass for a check."""
    count, problems = check([tmp_path, tmp_path / "absent.json"])
    assert count == 1
    assert ["no *.json" in problems[0].message, "no file" in problems[1].message] == [True, True]


def test_second_file_of_one_identity(tmp_path: Path) -> None:
    """Names that look the same are the same: an invisible letter makes no second model."""
    first = put(tmp_path)
    second = tmp_path / "z.json"
    second.write_bytes(first.read_bytes())
    edit(second, model="ti\u200bny", metrics=metrics(60))
    (problem,) = check([tmp_path])[1]
    assert problem.file == str(second)
    assert first.name in problem.message
    found, problems = load_folder(tmp_path)
    assert list(found) == [first]
    assert [(each.file, "repeats" in each.message) for each in problems] == [(str(second), True)]


@pytest.mark.parametrize("through", ["file", "folder"])
def test_predictions_cannot_leave_by_a_link(through: str, tmp_path: Path) -> None:
    """A path without `..` may still lead out, by a symbolic link."""
    outside = tmp_path / "outside"
    put(outside)
    inside = tmp_path / "inside"
    path = put(inside)
    predictions = predictions_of(path)
    if through == "file":
        predictions.unlink()
        predictions.symlink_to(outside / "predictions" / predictions.name)
    else:
        predictions.parent.rename(tmp_path / "moved")
        predictions.parent.symlink_to(outside / "predictions")
    (problem,) = check([path])[1]
    assert problem.field == "predictions"
    assert "symbolic link" in problem.message
    with pytest.raises(ValueError, match="symbolic link"):
        load_result(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a"}\n{"id": "a"}\n', "row 2 repeats the id 'a'"),
        ('{"id": 1}\n', "row 1 is no JSON object with a string `id`"),
        ("[]\n", "row 1 is no JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ("{oops\n", "is not valid JSON"),
    ],
)
def test_broken_predictions(content: str, message: str, tmp_path: Path) -> None:
    path = put(tmp_path)
    predictions_of(path).write_text(content)
    (problem,) = check([path])[1]
    assert problem.field == "predictions"
    assert message in problem.message


def test_the_metrics_of_several_annotators_are_those() -> None:
    """A new one would not be checked, and this module cannot ask the metric files."""
    assert sorted(SEVERAL) == metric_names("references")


TWO, OTHERS = {"Ali": "x", "Omar": "y"}, {"Ali": "x", "Alaa": "y"}


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ([TWO, TWO], ""),
        ([{}, {}], "there are: none"),
        ([TWO, {}], "there are: Ali, Omar; none"),
        ([TWO, OTHERS], "there are: Alaa, Ali; Ali, Omar"),
        ([{"Ali": "x"}, TWO], "row 1, field 'references': Value error, there is only one"),
    ],
)
def test_predictions_of_one_annotator_give_no_mr_wer(
    references: list[dict[str, str]], message: str, tmp_path: Path
) -> None:
    """The WER against one annotator must not stand as MR-WER by a file written by hand."""
    path = put(tmp_path, main_metric="mr_wer", metrics={"mr_wer": WER})
    rows = [
        {"id": uid, "ref": "x", "hyp": "x", "group": "g", "references": each}
        for uid, each in zip("ab", references, strict=True)
    ]
    write_jsonl(predictions_of(path), rows)
    problems = check([path])[1]
    assert [problem.field for problem in problems] == ["predictions"] * bool(message)
    assert all(message in problem.message for problem in problems)
    edit(path, main_metric="wer", metrics={"wer": WER})
    assert check([path])[1] == []


def test_messages_can_be_printed(tmp_path: Path) -> None:
    """Names of files and fields come from strangers: no escape codes on the terminal."""
    path = tmp_path / "\x1b[31mred\udcff.json"
    path.write_text(json.dumps({"\x1b[2J\u202e" * 50: 1, "model": "\x1b[2J"}))
    text = "\n".join(map(str, check([path])[1]))
    assert "red" in text
    assert not set(text) & set("\x1b\u202e\udcff")
    text.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
FIELDS = st.sampled_from(sorted(Result.model_fields))


@given(changes=st.dictionaries(FIELDS, JSON, min_size=1, max_size=4))
def test_any_json_is_a_result_or_told(
    changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Random JSON in the fields of a good result: what is accepted is bounded and comes back."""
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / "fuzz.json"
    path.write_text(json.dumps(json.loads(make_result().model_dump_json()) | changes))
    _, problems = check([path])
    assert all(problem.field and problem.message for problem in problems)
    found, reasons = load_results(folder)
    assert bool(problems) is bool(reasons)
    for result in found.values():
        assert Result.model_validate_json(result.model_dump_json(), strict=True) == result


@given(content=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_told(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing but the teaching error comes out, and never a result."""
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a result"):
        load_result(path)
    assert check([path])[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, model="b", **spanned(50.0, low=40.25))
    put(tmp_path, model="a", task="ser")
    shown = metrics(22.6, printed="22.6")
    put(tmp_path, model="\x1b[31mمتعلم", source="reported", citation="c", metrics=shown)
    (tmp_path / "bad.json").write_text("{oops")
    return tmp_path


def test_rows_and_problems(folder: Path) -> None:
    """Measured before reported, by task, corpus, split, model; a mistyped one is told."""
    rows, problems = list_results(folder)
    found = [f"{row['source']} {row['task']} {row['model']}" for row in rows]
    assert found == ["measured did b", "measured ser a", "reported did [31mمتعلم"]
    assert [problem.file for problem in problems] == [str(folder / "bad.json")]
    assert (rows[0]["value"], rows[0]["low"], rows[0]["metrics"]) == (50, 40.25, {"accuracy": 50})
    assert [row["model"] for row in list_results(folder, task="ser")[0]] == ["a"]
    assert [row["task"] for row in list_results(folder, model="b")[0]] == ["did"]
    assert not list_results(folder, model="b", task="ser")[0]
    with pytest.raises(ValueError, match="there are: did, ser"):
        list_results(folder, task="asr")


def test_table(folder: Path) -> None:
    """Aligned, intervals beside values, reported figures as printed, no escape codes."""
    text = render(list_results(folder)[0])
    head, first, second, third = text.splitlines()
    assert head.split() == ["model", "task", "corpus/split", "metric", "value", "kind"]
    cells = "b did tones/test accuracy 50.00 [40.25, 60.00] % measured, synthetic"
    assert first.split() == cells.split()
    assert third.split()[-4:] == ["22.6", "%", "reported,", "synthetic"]
    assert "\x1b" not in text
    assert len({line.index("accuracy") for line in (first, second, third)}) == 1


def test_changed_appeared_vanished(tmp_path: Path) -> None:
    """Each kind once, values before and after."""
    first, second = tmp_path / "first", tmp_path / "second"
    put(first, model="same")
    put(second, model="same", seconds=5.0, command="other", hardware="other")
    put(first, model="moved", metrics=metrics(50.0))
    put(second, model="moved", metrics=metrics(60.0), seed=1)
    put(first, model="gone")
    put(second, model="new")
    place = "did tones/test (measured)"
    found, problems = diff(first, second)
    assert not problems
    assert found == [
        Difference("vanished", f"gone {place}"),
        Difference("changed", f"moved {place}", "metrics.accuracy.value", 50.0, 60.0),
        Difference("changed", f"moved {place}", "seed", None, 1),
        Difference("appeared", f"new {place}"),
    ]
    assert str(found[2]) == f"changed  moved {place}  seed: nothing -> 1"
    back, _ = diff(second, first)
    assert [each.kind for each in back] == ["appeared", "changed", "changed", "vanished"]
    assert diff(first, first) == ([], [])


def test_two_files_are_compared_whatever_they_are_of(tmp_path: Path) -> None:
    """Two models' results side by side: their names are a difference like any other."""
    first, second = put(tmp_path, model="a"), put(tmp_path, model="b")
    (found,), _ = diff(first, second)
    assert (found.field, found.first, found.second) == ("model", "a", "b")
    with pytest.raises(ValueError, match="two folders or two files"):
        diff(tmp_path, first)


def test_a_broken_file_is_told_and_the_rest_compared(tmp_path: Path) -> None:
    """Were it only skipped, it would look as if it had vanished."""
    first, second = tmp_path / "first", tmp_path / "second"
    put(first)
    put(second)
    bad = edit(put(second, model="bad"), seconds=-1)
    found, problems = diff(first, second)
    assert not found
    assert [(each.file, each.field) for each in problems] == [(str(bad), "seconds")]


def test_fields_left_out_exist() -> None:
    """A renamed field would otherwise make every two runs differ."""
    assert set(Result.model_fields) >= OF_THE_RUN
    assert set(Costs.model_fields) >= OF_THE_MEASUREMENT


def test_costs_differ_by_what_is_the_models(tmp_path: Path) -> None:
    """Times scatter from one measurement to the next; operations change with the model alone."""
    costs = {"real_time_factor": 0.1, "peak_bytes": 5, "macs_per_second": 1e9, "hardware": "a"}
    first = put(tmp_path / "first", costs=costs)
    second = put(tmp_path / "second", costs={**costs, "real_time_factor": 0.2, "hardware": "b"})
    assert diff(first, second) == ([], [])
    third = put(tmp_path / "third", costs={**costs, "macs_per_second": 2e9})
    (found,), _ = diff(first, third)
    assert (found.field, found.first, found.second) == ("costs.macs_per_second", 1e9, 2e9)
    without = put(tmp_path / "without")
    assert [each.field for each in diff(without, first)[0]] == ["costs.macs_per_second"]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_added_result_is_whole_and_adding_twice_is_no_change(tmp_path: Path) -> None:
    """Predictions come along; the second time says that nothing was written."""
    file, folder = put(tmp_path / "new"), tmp_path / "results"
    path, written = add(file, folder)
    assert written
    assert load_result(path) == load_result(file)
    assert check([folder]) == (1, [])
    before = snapshot(folder)
    assert add(file, folder) == (path, False)
    assert add(path, folder) == (path, False), "a file of the folder itself is there already"
    assert snapshot(folder) == before


def test_a_different_result_is_kept_unless_told(tmp_path: Path) -> None:
    """The refusal says what differs; --replace overwrites result and predictions."""
    folder = tmp_path / "results"
    path, _ = add(put(tmp_path / "old"), folder)
    file = put(tmp_path / "new", metrics=metrics(75.0))
    predictions_of(file).write_text('{"id":"c"}\n{"id":"d"}\n')
    before = snapshot(folder)
    with pytest.raises(ValueError, match=r"(?s)--replace.*accuracy.value: 50.0 -> 75.0"):
        add(file, folder)
    assert snapshot(folder) == before
    assert add(file, folder, replace=True) == (path, True)
    assert load_result(path).main.value == 75
    assert '"c"' in predictions_of(path).read_text()
    predictions_of(file).write_text('{"id":"a"}\n{"id":"b"}\n')
    with pytest.raises(ValueError, match="--replace"):  # the same figures over other predictions
        add(file, folder)


def test_a_bad_result_is_not_added(tmp_path: Path) -> None:
    """Every problem is named, and the folder is not even made."""
    file = edit(put(tmp_path / "new"), seconds=-1, hours=-1)
    with pytest.raises(ValueError, match=r"(?s)Nothing was added.*hours.*seconds"):
        add(file, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_names_written_alike_are_kept_apart(tmp_path: Path) -> None:
    """`a b` and `a-b` make one file name: the second must not overwrite the first."""
    folder = tmp_path / "results"
    for model in ("a b", "a-b"):
        add(put(tmp_path / model, model=model), folder)
    found, problems = load_results(folder)
    assert not problems
    assert {result.model for result in found.values()} == {"a b", "a-b"}
    assert check([folder]) == (2, [])


def test_the_longest_names_fit_the_file_system(tmp_path: Path) -> None:
    """Four names of 120 Arabic letters are more bytes than a file name may have."""
    long = {name: "ن" * 119 + name[0] for name in ("model", "task", "corpus", "split")}
    path, _ = add(put(tmp_path / "new", **long), tmp_path / "results")
    other = put(tmp_path / "new", **(long | {"split": "ن" * 120}))
    second, _ = add(other, tmp_path / "results")
    assert path != second
    assert check([tmp_path / "results"]) == (2, [])


def test_a_broken_file_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    """It may be somebody's result with a typing error."""
    file, folder = put(tmp_path / "new"), tmp_path / "results"
    folder.mkdir()
    (folder / file.name).write_text("{oops")
    (folder / "other.json").write_text("{oops")
    with pytest.raises(ValueError, match="no valid result; delete it or give --replace"):
        add(file, folder)
    assert add(file, folder, replace=True) == (folder / file.name, True)
    assert (folder / "other.json").read_text() == "{oops"


def test_predictions_are_not_written_through_a_link(tmp_path: Path) -> None:
    """A folder of results from a stranger could hold a link to somewhere else."""
    file, folder, outside = put(tmp_path / "new"), tmp_path / "results", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "predictions").symlink_to(outside)
    with pytest.raises(ValueError, match="symbolic link"):
        add(file, folder)
    assert not list(outside.iterdir())
