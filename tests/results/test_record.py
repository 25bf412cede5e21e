"""Result files are untrusted: one bad file must never hide the others, nor pass for good."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.results.model_card import figure
from harness_bench.results.predictions import (
    ClassPrediction,
    TextPrediction,
    read_predictions,
    write_predictions,
)
from harness_bench.results.record import (
    SCHEMA_VERSION,
    Interval,
    Metric,
    Result,
    load_result,
    load_results,
    range_problems,
    save_result,
    schema_text,
)
from harness_bench.scoring.registry import get_metric, metric_names

if TYPE_CHECKING:
    from pathlib import Path


def make_result(**changes: Any) -> Result:
    values: dict[str, Any] = {
        "source": "measured", "model": "tiny", "model_kind": "pretrained", "task": "did",
        "corpus": "tones", "split": "test", "synthetic": True, "main_metric": "accuracy",
        "metrics": {"accuracy": Metric(value=50, higher_is_better=True)},
    }  # fmt: skip
    return Result.model_validate(values | changes)


def test_saved_result_comes_back(tmp_path: Path) -> None:
    """What is written is what is read."""
    span = Interval(low=40, high=60, method="bootstrap over 20 utterances")
    metric = Metric(value=50, higher_is_better=True, interval=span)
    result = make_result(
        metrics={"accuracy": metric}, parameters=12, seed=3, learning_rates={"1e-3": 1}
    )
    path = save_result(result, tmp_path)
    assert load_result(path) == result
    assert path.name == "tiny.did.tones.test.json"


def test_an_interval_without_width_is_not_written() -> None:
    """One utterance alone, or all alike: its bounds would look like certainty."""
    wide, none = (Interval(low=low, high=50, method="jackknife") for low in (40, 50))
    assert (wide.text(1), none.text(1)) == ("[40.0, 50.0]", "")
    shown = [Metric(value=50, higher_is_better=True, interval=span) for span in (wide, none, None)]
    assert [*map(figure, shown)] == ["50.0 [40.0, 50.0] %", "50.0 %", "50.0 %"]


BROKEN: dict[str, str | dict[str, Any]] = {
    "not json": "{oops",
    "not an object": "[1, 2]",
    "empty": "",
    "deep": "[" * 100_000,
    "not text": "\udcff",
    "lone surrogate": '{"model": "\\ud800"}',
    "unknown field": {"extra": 1},
    "nan": {"hours": float("nan")},
    "infinite figure": {"metrics": {"accuracy": {"value": 1e999, "higher_is_better": True}}},
    "huge figure": {"metrics": {"accuracy": {"value": 1e300, "higher_is_better": True}}},
    "huge count": {"parameters": 10**400},
    "negative count": {"parameters": -1},
    "long name": {"model": "x" * 10_000},
    "later schema": {"schema_version": 3},
    **{
        f"learning rate {rate!r}": {"learning_rates": {rate: 1}} for rate in ("0", "-1", "nan", "x")
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_told_and_hides_nothing(name: str, tmp_path: Path) -> None:
    """Every kind of broken file lands among the problems, with its name and a reason."""
    good = save_result(make_result(), tmp_path)
    bad = tmp_path / "bad.json"
    content = BROKEN[name]
    if isinstance(content, dict):
        content = json.dumps(json.loads(good.read_text()) | {"model": "bad"} | content)
    bad.write_text(content, encoding="utf-8", errors="surrogateescape")
    found, problems = load_results(tmp_path)
    assert list(found) == [good]
    assert list(problems) == [bad]
    assert str(bad) in problems[bad]


def test_the_first_schema_is_read_as_the_second(tmp_path: Path) -> None:
    """Older files stay good, and are the same results as if they were written today."""
    path = save_result(make_result(), tmp_path)
    new = json.loads(path.read_text())
    assert new["schema_version"] == SCHEMA_VERSION == 2
    old = {key: value for key, value in new.items() if key not in LATER} | {"schema_version": 1}
    path.write_text(json.dumps(old))
    assert load_result(path).model_dump(mode="json") == new


LATER = {"licence", "paper_url", "weights_url", "homepage_url"}
HREFS = {
    "https://arxiv.org/abs/2509.14689": True,
    "https://a.example:8443/x?y=1&z=(2)#part": True,
    "http://a.example/": False,
    "javascript:alert(1)": False,
    "https://user:pass@a.example/": False,
    "https://a.example/ b": False,
    'https://a.example/"onclick=': False,
    "https://a.example/<b>": False,
    "https://a.example/x\n": False,
    "https://a.example\\@b.example/": False,
    "https://\u0430.example/": False,
    "https://localhost": False,
    "https:a.example": False,
    "https://a.example/" + "x" * 500: False,
}


@pytest.mark.parametrize("href", HREFS)
def test_links_are_safe_to_follow(href: str) -> None:
    """A page puts them into `href`: https alone, nobody's password, nothing to escape."""
    if HREFS[href]:
        assert make_result(paper_url=href, weights_url=href).paper_url == href
        return
    with pytest.raises(ValueError, match="homepage_url") as told:
        make_result(homepage_url=href)
    assert "https address" in str(told.value) or len(href) > 500  # in words, and no pattern


def test_schema_names_every_field() -> None:
    """Other tools write results by this schema."""
    schema = json.loads(schema_text())
    assert set(schema["properties"]) == set(Result.model_fields)
    assert schema["additionalProperties"] is False


def test_ranges() -> None:
    """Shares end at 100 %, error rates do not, and a profile's name changes nothing."""
    assert not range_problems("accuracy", {"value": 100.0}, higher_is_better=True)
    assert not range_problems("macro_f1", {"value": 100.00000000000001}, higher_is_better=True)
    assert not range_problems("wer_none", {"value": 340.0}, higher_is_better=False)
    assert not range_problems("my_score", {"value": -5.0}, higher_is_better=True)
    for name, value, higher in (
        ("accuracy", 100.1, True), ("uar", -0.1, True), ("wer", -1.0, False),
        ("cer_none", -1.0, False), ("calibration_error", 101.0, False),
        ("accuracy\u200b", 1e9, True),  # it is shown as `accuracy`
    ):  # fmt: skip
        (problem,) = range_problems(name, {"value": value}, higher_is_better=higher)
        assert problem.startswith(f"value is {value}, it must be")
    assert range_problems("wer", {}, higher_is_better=True) == ["higher_is_better must be false"]


def test_our_own_metrics_are_in_range() -> None:
    """A metric whose direction disagreed with this table could not be written at all."""
    for name in metric_names():
        higher = get_metric(name).higher_is_better
        assert not range_problems(name, {"value": 50.0}, higher_is_better=higher)


ROWS = [TextPrediction(id=key, ref="قال", hyp="", group="g") for key in ("b", "a")]


def test_written_sorted_and_read_back(tmp_path: Path) -> None:
    """The file's order is that of ids, equal for equal predictions; kinds are not mixed up."""
    path = tmp_path / "p.jsonl"
    assert write_predictions(path, ROWS) == 2
    assert read_predictions(path, TextPrediction) == ROWS[::-1]
    with pytest.raises(ValueError, match="field"):
        read_predictions(path, ClassPrediction)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a", "ref": "", "hyp": "", "group": ""}', "row 3 repeats id 'a'"),
        ('{"id": "c", "ref": ""}', "row 3, field 'hyp'"),
        ('{"id": "c", "ref": 1, "hyp": "", "group": ""}', "row 3, field 'ref'"),
        ("{oops", "p.jsonl:3 is not valid JSON"),
    ],
)
def test_bad_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    """A broken or repeated line would otherwise shift or double a score."""
    path = tmp_path / "p.jsonl"
    write_predictions(path, ROWS)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    with pytest.raises(ValueError, match=said):
        read_predictions(path, TextPrediction)
