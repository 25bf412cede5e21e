"""`score compare`: the table, the answer in words, the object for programs, and bad input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.results.predictions import write_predictions
from harness_bench.scoring.systems import compare_systems
from tests.scoring.conftest import class_rows, text_rows

if TYPE_CHECKING:
    from pathlib import Path

GOOD = class_rows(count=200, seed=1, groups=20, right=0.8)
LIKE = [GOOD[0].model_copy(update={"pred": "never heard"}), *GOOD[1:]]
POOR = class_rows(count=200, seed=1, groups=20, right=0.2)
TEXTS = text_rows(count=40, seed=2, groups=20)
PERFECT = [row.model_copy(update={"hyp": row.ref}) for row in TEXTS]
FILES: dict[str, list[Any]] = {
    "good": GOOD, "like": LIKE, "poor": POOR, "heard": TEXTS, "perfect": PERFECT,
}  # fmt: skip


@pytest.fixture
def compare(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the verb where FILES lie as runs/NAME/predictions.test.jsonl."""
    monkeypatch.chdir(tmp_path)
    for name, rows in FILES.items():
        write_predictions(tmp_path / "runs" / name / "predictions.test.jsonl", rows)

    def run(*arguments: str) -> Any:
        known = (f"runs/{one}/predictions.test.jsonl" if one in FILES else one for one in arguments)
        return command("compare", *known)

    return run


def test_table(compare: Any) -> None:
    """Best first, ranks by significance, names from what the paths do not share."""
    code, out, _ = compare("poor", "like", "good", "--metric", "accuracy")
    rows = [line.split() for line in out.splitlines()[3:6]]
    assert code == 0
    assert [row[:2] for row in rows] == [["good", "1-2"], ["like", "1-2"], ["poor", "3"]]
    assert rows[1][3] == "-0.50"
    assert "200 utterances" in out
    assert "over 20 clusters" in out
    assert "Holm for 3 pairs" in out
    assert "better than" not in out, "three systems have no single answer"


def test_two_systems_get_an_answer_in_words(compare: Any) -> None:
    """A reader who knows no statistics must learn which one to take, or that nobody knows."""
    surely = compare("poor", "good")[1].splitlines()[-1]
    assert surely.startswith("good is better than poor: accuracy of good minus accuracy of poor is")
    unsure = compare("good", "like")[1].splitlines()[-1]
    assert unsure.startswith("good and like do not differ significantly:")
    wer = compare("heard", "perfect")[1]
    assert "perfect is better than heard: wer of perfect minus wer of heard is -" in wer
    assert "wer in %, lower is better, text profile mgb2 v3-430356f; 40 utterances." in wer


def test_json_is_what_the_library_finds(compare: Any) -> None:
    """Programs get every pair, not only those with the best."""
    names = ("--name", "A", "--name", "B", "--name", "أحمد")
    code, out, _ = compare("poor", "good", "like", *names, "--metric", "uar", "--json")
    found = json.loads(out)
    expected = compare_systems({"A": POOR, "B": GOOD, "أحمد": LIKE}, metric="uar")
    assert code == 0
    assert tuple(one["name"] for one in found["systems"]) == expected.names
    assert tuple(one["rank"] for one in found["systems"]) == expected.ranks
    assert found["systems"][0]["file"] == "runs/good/predictions.test.jsonl"
    for name, table in found["pairs"].items():
        assert table == getattr(expected, name).tolist()
        to_best = found["systems"][2]["to_best"]
        assert to_best[name.rstrip("s")] == table[2][0]
    keys = ("metric", "unit", "higher_is_better", "profile", "utterances", "method")
    assert [found[key] for key in keys] == ["uar", "%", True, None, 200, expected.method]


def test_profile_and_metric_are_used(compare: Any) -> None:
    found = json.loads(
        compare("heard", "perfect", "--metric", "cer", "--profile", "mgb3", "--json")[1]
    )
    expected = compare_systems({"heard": TEXTS, "perfect": PERFECT}, metric="cer", profile="mgb3")
    assert [one["value"] for one in found["systems"]] == expected.values.tolist()
    assert found["profile"] == "mgb3 v1"


BAD = {
    "one file": (("good",), "1 system to compare"),
    "the same file": (("good", "good"), "Two systems are called"),
    "the same name": (("good", "poor", "--name", "A", "--name", "A"), "Two systems are called 'A'"),
    "names that look the same": (
        ("good", "poor", "--name", "\u00e9", "--name", "e\u0301"),
        "Two systems are called",
    ),
    "too few names": (("good", "poor", "--name", "A"), "--name is given 1 times for 2 files"),
    "absent": (("absent.jsonl", "good"), "absent.jsonl"),
    "folder": (("good", "runs"), "runs is a folder"),
    "no predictions": (("other.jsonl", "good"), "other.jsonl holds no predictions"),
    "empty": (("empty.jsonl", "good"), "empty.jsonl holds no predictions"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_one_message(case: str, compare: Any, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    (tmp_path / "other.jsonl").write_text("[1]\n", encoding="utf-8")
    (tmp_path / "empty.jsonl").touch()
    code, out, error = compare(*arguments)
    assert (code, out) == (2, "")
    assert message in error
