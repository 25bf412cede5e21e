"""From predictions to a result file and back; no figure of several references passes for one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from harness_bench.results.predictions import (
    ClassPrediction,
    TextPrediction,
    read_predictions,
    write_predictions,
)
from harness_bench.results.record import load_results
from harness_bench.scoring.publish import class_result, publish, split_digest, text_result
from harness_bench.scoring.registry import profile_names
from harness_bench.scoring.systems import breakdown, compare_systems
from harness_bench.scoring.texts.joining import joined_rows
from harness_bench.scoring.texts.score import Grouping, all_metrics, score_rows, score_texts
from tests.scoring.conftest import TEMPLATE, annotated, class_rows, text_rows

if TYPE_CHECKING:
    from pathlib import Path


def test_published_result_comes_back(tmp_path: Path) -> None:
    """The leaderboard reads what scoring wrote, predictions beside it under a relative name."""
    rows = class_rows(count=30, seed=0)
    result = class_result(rows, TEMPLATE, main_metric="uar")
    assert list(result.metrics) == ["accuracy", "macro_f1", "uar"]
    path = publish(result, rows, tmp_path)
    found, problems = load_results(tmp_path)
    assert not problems
    loaded = found[path]
    assert loaded.main == result.metrics["uar"]
    assert loaded.utterances == 30
    assert loaded.learning_rates == {"1e-3": 61.5}
    assert loaded.versions["python"]
    assert loaded.predictions
    assert read_predictions(tmp_path / loaded.predictions, ClassPrediction) == rows


def test_split_digest_ignores_order() -> None:
    """Two systems scored the same split when the ids are the same, in whatever order."""
    assert split_digest(["b", "a"]) == split_digest(["a", "b"]) != split_digest(["ab"])


def test_text_result_names_its_profile() -> None:
    """A WER without its text profile cannot be compared; the CSV lists what ranks first."""
    rows = text_rows(count=9, seed=0)
    result = text_result(rows, TEMPLATE, score_rows(rows, "mgb3", ["none"])[0])
    assert (result.normaliser, result.main_metric) == ("mgb3 v1", "wer")
    assert list(result.metrics) == ["wer", "cer", "wer_none", "cer_none"]


def test_main_metric_of_the_wrong_kind() -> None:
    """Ranking dialects by WER is a mistake in a config."""
    with pytest.raises(ValueError, match="'wer'"):
        class_result(class_rows(count=3, seed=0), TEMPLATE, main_metric="wer")


# Of u1 each annotator forgives what the other does not; u2 is wrong for both.
ROWS = [
    annotated("u1", "قال في بيت", "قال من باب", "قال في باب", group="a", genre="comedy"),
    annotated("u2", "نعم", "نعم", "لا", group="b", genre="sports"),
]
SINGLE = TextPrediction(id="u1", ref="قال في", hyp="قال", group="g")


def scored(rows: list[TextPrediction], *profiles: str) -> dict[str, Any]:
    main, *others = profiles
    return score_rows(rows, main, others, Grouping(groups=("group",)))[0]


def test_figures_by_hand() -> None:
    """WER 2/4 and 2/4; of MR-WER's words one alone is wrong for both, of four."""
    found = scored(ROWS, "none")["none"]
    assert (found["wer"], found["av_wer"], found["mr_wer"]) == ([50, 50], 50, 25)
    assert found["groups"]["group"]["a"]["mr_wer"] == 0
    assert found["groups"]["group"]["b"]["mr_wer"] == 100


def test_a_result_of_several_references_names_every_measure() -> None:
    """`wer` alone would not say of whom; further profiles have their own names."""
    made = text_result(ROWS, TEMPLATE, scored(ROWS, "mgb3", "none"))
    assert (made.normaliser, made.main_metric) == ("mgb3 v1", "mr_wer")
    values = {name: metric.value for name, metric in made.metrics.items() if "cer" not in name}
    assert values == {
        "mr_wer": 25, "av_wer": 50, "wer_against_Ali": 50, "wer_against_Omar": 50,
        "mr_wer_none": 25, "av_wer_none": 50,
    }  # fmt: skip
    assert made.metrics.keys() - values.keys() == {"av_cer", "av_cer_none"}
    assert list(made.metrics)[:3] == ["mr_wer", "av_wer", "av_cer"], "what ranks is listed first"
    assert text_result(ROWS, TEMPLATE, scored(ROWS, "mgb3"), main_metric="av_wer").main.value == 50


def test_one_annotator_is_no_multi_reference_figure() -> None:
    """The WER against one annotator must not be published as MR-WER, by no way in."""
    with pytest.raises(ValidationError, match="only one, 'Ali'"):
        annotated("u1", "قال", "قال")
    with pytest.raises(ValueError, match=r"'mr_wer' is not a metric .* 1 reference"):
        text_result([SINGLE], TEMPLATE, scored([SINGLE], "none"), main_metric="mr_wer")
    with pytest.raises(ValueError, match=r"'wer' is not a metric .* 2 reference"):
        text_result(ROWS, TEMPLATE, scored(ROWS, "none"), main_metric="wer")
    for metric in ("mr_wer", "av_wer"):
        with pytest.raises(ValueError, match="one reference; MR-WER and AV-WER need"):
            breakdown([SINGLE], metric=metric)
    assert not score_texts(ROWS).keys() & {"wer", "cer"}
    with pytest.raises(ValueError, match="'u1' has 2 references"):
        compare_systems({"a": ROWS, "b": ROWS}, metric="wer")


def test_annotators_must_be_the_same_everywhere() -> None:
    """Else the mean over annotators would be over other utterances for each."""
    odd = annotated("u3", "نعم", "نعم", "نعم", "نعم")
    with pytest.raises(ValueError, match=r"1 others do not: 'u3' has Alaa, Ali, Omar"):
        joined_rows([*ROWS, odd])
    with pytest.raises(ValueError, match="given twice"):
        joined_rows([*ROWS, ROWS[0]])
    with pytest.raises(ValueError, match="no prediction"):
        joined_rows([])


def test_two_systems_are_compared_by_mr_wer() -> None:
    """The paired test must rest on the same rule as the figure."""
    better = [row.model_copy(update={"hyp": row.ref}) for row in ROWS]
    found = compare_systems({"a": ROWS, "b": better}, metric="mr_wer", profile="none", resamples=50)
    assert found.names == ("b", "a")
    assert found.values.tolist() == [0, 25]
    other = [row.model_copy(update={"references": {"Ali": "x", "Omar": "y"}}) for row in ROWS]
    with pytest.raises(ValueError, match="differ in 2 "):
        compare_systems({"a": ROWS, "b": other}, metric="mr_wer")


def test_breakdown_by_mr_wer() -> None:
    """Latin letters of any annotator make an utterance code-switched."""
    rows = [*ROWS, annotated("u3", "او كي", "OK", "OK", group="b", genre="sports")]
    found = breakdown(rows, metric="mr_wer", profile="none")
    assert {one.value: one.utterances for one in found["code-switched"]} == {"no": 2, "yes": 1}
    assert {one.value: one.figure for one in found["genre"]}["comedy"] == 0


def test_predictions_keep_references_and_the_command_scores_them(
    tmp_path: Path, command: Any
) -> None:
    """`score asr --predictions` must not fall back on one annotator."""
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, [*ROWS])
    assert read_predictions(path, TextPrediction) == ROWS
    code, out, _ = command("asr", "--predictions", path, "--profile", "none", "--json")
    assert code == 0
    assert json.loads(out)["mr_wer"] == 25
    assert "MR-WER" in command("asr", "--predictions", path)[1]


def test_transcripts_of_a_recogniser_become_a_result(command: Any, tmp_path: Path) -> None:
    """Who has files only needs no Python to come onto a board; the figures are the report's."""
    texts = {
        "hyp": "a_1 قال احمد\na_2 نعم\nb_1 لا\n",
        "Ali": "a_1 قال أحمد\na_2 نعم\nb_1 كلا\n",
        "Omar": "a_1 قال أحمد\na_2 اجل\nb_1 كلا\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = [f"--{'hyp' if name == 'hyp' else 'ref'}={tmp_path / name}" for name in texts]
    named = [f"--results={tmp_path / 'results'}", "--model=ours", "--corpus=mgb3", "--split=dev"]
    code, out, problem = command("asr", *files, "--group=letter:1", "--cluster=letter:1", *named)
    assert not code, problem
    found, problems = load_results(tmp_path / "results")
    assert not problems
    ((path, result),) = found.items()
    assert out.splitlines()[-1] == f"Result: {path}"
    assert (result.model, result.corpus, result.split) == ("ours", "mgb3", "dev")
    assert (result.main_metric, result.main.value) == ("mr_wer", 25.0)
    assert result.metrics["wer_against_Omar"].value == 50.0
    assert result.predictions
    rows = read_predictions(path.parent / result.predictions, TextPrediction)
    assert [(row.id, row.group, row.tags) for row in rows] == [
        ("a_1", "a", {"letter": "a"}), ("a_2", "a", {"letter": "a"}), ("b_1", "b", {"letter": "b"}),
    ]  # fmt: skip
    assert rows[1].references == {"Ali": "نعم", "Omar": "اجل"}
    for profile, further in (("mgb2", ()), ("all", profile_names())):
        code, _, problem = command("asr", *files, "--cluster=letter:1", f"--profile={profile}",
                                   "--unscorable=none", *named)  # fmt: skip
        assert not code, problem
        (result,) = load_results(tmp_path / "results")[0].values()
        assert result.metrics == all_metrics(score_rows(rows, "mgb2", further)[0]), profile


def test_a_result_is_named_and_keeps_plain_texts(command: Any, tmp_path: Path) -> None:
    """A row without a name cannot be shown; alternatives would be scored as words by the board."""
    (tmp_path / "hyp.trn").write_text("نعم (a)\n", encoding="utf-8")
    (tmp_path / "ref.trn").write_text("{ نعم / اجل } (a)\n", encoding="utf-8")
    files = [f"--hyp={tmp_path / 'hyp.trn'}", f"--ref={tmp_path / 'ref.trn'}"]
    results = tmp_path / "results"
    code, _, problem = command("asr", *files, f"--results={results}")
    assert code
    assert "--model" in problem
    code, _, problem = command("asr", *files, f"--results={results}", "--model=m", "--corpus=c")
    assert code
    assert "alternatives" in problem
    assert not results.exists()
