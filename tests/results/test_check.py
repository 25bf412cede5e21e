"""Every problem is told with its file and field, whatever the file holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.files import write_jsonl
from harness_bench.results.check import SEVERAL, check, load_folder
from harness_bench.results.record import MAX_BYTES, MAX_PROBLEMS, Result, load_result, load_results
from harness_bench.scoring.registry import metric_names
from tests.results.conftest import edit, metrics, put
from tests.results.test_record import make_result

if TYPE_CHECKING:
    from collections.abc import Callable

WER = {"value": 250.0, "higher_is_better": False}
SPAN = {"method": "bootstrap", "low": 40.0, "high": 60.0}


def accuracy(value: object, **more: Any) -> dict[str, Any]:
    """Change the figure of the result."""
    return {"metrics": metrics(value, **more)}


def spanned(value: float, **ends: float) -> dict[str, Any]:
    """Change the figure and its interval."""
    return accuracy(value, interval=SPAN | ends)


def wer(**changes: object) -> dict[str, Any]:
    """Make it an error rate's result."""
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


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _large(path: Path) -> None:
    path.write_bytes(b" " * (MAX_BYTES + 1))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, _link, _endless, _large])
def test_what_is_no_file_is_told_at_once(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A pipe would block and a device never end; neither may be read."""
    put(tmp_path)
    bad = tmp_path / "bad.json"
    make(bad)
    count, problems = check([tmp_path])
    assert count == 2
    assert [(problem.file, problem.field) for problem in problems] == [(str(bad), "file")]


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
    edit(second, model="ti\u200bny")
    (problem,) = check([tmp_path])[1]
    assert problem.file == str(second)
    assert first.name in problem.message
    found, problems = load_folder(tmp_path)
    assert list(found) == [first]
    assert [each.file for each in problems] == [str(second)]


@pytest.mark.parametrize("through", ["file", "folder"])
def test_predictions_cannot_leave_by_a_link(through: str, tmp_path: Path) -> None:
    """A path without `..` may still lead out, by a symbolic link."""
    outside = tmp_path / "outside"
    put(outside)
    inside = tmp_path / "inside"
    path = put(inside)
    predictions = inside / str(load_result(path).predictions)
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
    (tmp_path / str(load_result(path).predictions)).write_text(content)
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
        ([{"Ali": "x"}, TWO], "row 1, field 'references': Value error, there is one alone"),
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
    write_jsonl(tmp_path / str(load_result(path).predictions), rows)
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
