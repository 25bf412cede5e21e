"""Classes: figures and calibration against other implementations, several heads, `score cls`."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
from sklearn.metrics import precision_recall_fscore_support

from harness_bench.cuts.store import cuts_path, write_cuts
from harness_bench.results.predictions import ClassPrediction
from harness_bench.scoring.classes import (
    calibration_error,
    confusion,
    confusion_table,
    join_truth,
    per_class,
    plot_confusion,
    read_table,
    score_classes,
)
from harness_bench.scoring.systems import compare_systems
from tests.scoring.conftest import class_rows, compare_pair

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ["EGY", "GLF", "LEV"]


def row(key: str, truth: str, pred: str, **probs: float) -> ClassPrediction:
    return ClassPrediction(id=key, truth=truth, pred=pred, probs=probs, group=key)


@given(pairs=st.lists(st.tuples(*[st.sampled_from(LABELS)] * 2), min_size=1, max_size=40))
@settings(deadline=None)
def test_per_class_equals_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    """Where scikit-learn divides by zero and says 0, ours says that there is nothing."""
    truth, pred = zip(*pairs, strict=True)
    found = per_class(confusion([row(str(n), *pair) for n, pair in enumerate(pairs)]))
    assert set(found) == {*truth, *pred}
    table = precision_recall_fscore_support(truth, pred, labels=sorted(found), zero_division=np.nan)
    for label, *rates, support in zip(sorted(found), *table, strict=True):
        ours = [found[label][name] for name in ("precision", "recall", "f1")]
        expected = [None if np.isnan(rate) else pytest.approx(100 * rate) for rate in rates]
        assert (ours, found[label]["support"]) == (expected, support)


@given(weights=st.lists(st.tuples(*[st.integers(1, 1000)] * 3, st.integers(0, 2)), min_size=1))
@settings(deadline=None, max_examples=40)
def test_calibration_error_equals_torchmetrics(weights: list[tuple[int, int, int, int]]) -> None:
    """An independent implementation of the same definition, 15 equally wide bins."""
    import torch  # noqa: PLC0415 - for the oracle alone
    from torchmetrics.functional import classification  # noqa: PLC0415

    table = np.array([counts for *counts, _ in weights], dtype=np.float64)
    probs = table / table.sum(axis=1, keepdims=True)
    if np.any(np.abs(15 * probs.max(axis=1) % 1 - 0.5) > 0.499):
        return  # on a bin's edge, where float32 decides
    truths = [truth for *_, truth in weights]
    rows = [
        row(str(n), LABELS[truth], LABELS[one.argmax()], **dict(zip(LABELS, one, strict=True)))
        for n, (truth, one) in enumerate(zip(truths, probs, strict=True))
    ]
    theirs = classification.multiclass_calibration_error(
        torch.tensor(probs), torch.tensor(truths), num_classes=3, n_bins=15
    )
    assert calibration_error(rows) == pytest.approx(100 * float(theirs), abs=1e-3)


def test_calibration_error_by_hand() -> None:
    """Two sure and right, two sure and wrong, of 0.9 each: accuracy 50 %, so 40 points off."""
    rows = [row(str(n), "a" if n < 2 else "b", "a", a=0.9, b=0.1) for n in range(4)]
    assert calibration_error(rows) == pytest.approx(40)
    assert calibration_error([row("x", "a", "a", a=1.0, b=0.0)]) == pytest.approx(0)
    assert calibration_error([row("x", "a", "a")]) is None


BAD_PROBS = {
    "in some rows": ([row("x", "a", "a", a=1.0), row("y", "a", "a")], "1 of 2 .* first 'y'"),
    "no distribution": ([row("x", "a", "a", a=0.9, b=0.9)], "of 'x' are .*add up to 1"),
    "negative": ([row("x", "a", "a", a=1.5, b=-0.5)], "from 0 to 1"),
    "class without": ([row("x", "a", "c", a=0.5, b=0.5)], "'x' is predicted as 'c'"),
}


@pytest.mark.parametrize("case", sorted(BAD_PROBS))
def test_broken_probabilities_are_named(case: str) -> None:
    rows, message = BAD_PROBS[case]
    with pytest.raises(ValueError, match=message):
        calibration_error(rows)


def test_picture(tmp_path: Path) -> None:
    """A picture is drawn for few classes and for many."""
    rows = class_rows(count=40, seed=1)
    many = [row(f"u{n}", f"c{n:02}", f"c{n % 7:02}") for n in range(35)]
    for name, drawn in (("few.png", rows), ("many.svg", many)):
        plot_confusion(confusion(drawn), tmp_path / name)
    assert (tmp_path / "few.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "many.svg").read_bytes()


TSV = "id\ttruth\tprediction\nu1\tEGY\tEGY\nu2\tGLF\tEGY\n"


def test_table(tmp_path: Path) -> None:
    """A header is optional, and a class may have spaces in its name."""
    path = tmp_path / "t.tsv"
    for text in (TSV, TSV.partition("\n")[2]):
        path.write_text(text.replace("GLF", "the Gulf"), encoding="utf-8")
        found = [(one.id, one.truth, one.pred) for one in read_table(path)]
        assert found == [("u1", "EGY", "EGY"), ("u2", "the Gulf", "EGY")]


BAD_TABLES = {
    "columns": (TSV + "u3\tEGY\n", r"t\.tsv:4: expected `id <tab> truth <tab> prediction`"),
    "empty field": (TSV + "u3\t\tEGY\n", ":4: .*3 fields, 2 of them filled"),
    "duplicate": (TSV + "u1\tEGY\tEGY\n", ":4 repeats id 'u1'"),
    "nothing": ("id\ttruth\tprediction\n", "holds no prediction"),
}


@pytest.mark.parametrize("case", sorted(BAD_TABLES))
def test_broken_tables_are_named(case: str, tmp_path: Path) -> None:
    text, message = BAD_TABLES[case]
    (tmp_path / "t.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "t.tsv")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Write three cuts with dialect, speaker and gender."""

    def cut(key: str, dialect: str, speaker: str) -> MonoCut:
        source = AudioSource("file", [0], f"/nowhere/{key}.wav")
        recording = Recording(key, [source], 16_000, 16_000, 1.0)
        fields = {"speaker": speaker, "gender": "female", "custom": {"dialect": dialect}}
        one = SupervisionSegment(key, key, 0.0, 1.0, **fields)
        return MonoCut(key, 0.0, 1.0, 0, supervisions=[one], recording=recording)

    rows = (("u1", "EGY", "s1"), ("u2", "GLF", "s1"), ("u3", "LEV", "s2"))
    write_cuts(tmp_path, "test", (cut(*one) for one in rows))
    return tmp_path


@pytest.mark.parametrize("field", ["dialect", None])
@pytest.mark.parametrize("as_folder", [True, False])
def test_truth_from_cuts(field: str | None, *, as_folder: bool, prepared: Path) -> None:
    """The field can be told by the labels predicted; the cluster is the speaker."""
    guesses = prepared / "pred"
    guesses.write_text('u3 LEV\nu2 EGY\n{"id": "u1", "pred": "EGY", "probs": {"EGY": 1}}\n')
    where = prepared if as_folder else cuts_path(prepared, "test")
    rows, counts = join_truth(guesses, where, field)
    found = [f"{one.id} {one.truth} {one.pred} {one.group}" for one in rows]
    assert found == ["u1 EGY EGY s1", "u2 GLF EGY s1", "u3 LEV LEV s2"]
    assert counts == {"missing": 0, "extra": 0}


BAD_PREDS = {
    "missing": ("u1 EGY\n", "dialect", r"2 missing from pred: u2, u3\."),
    "extra": ("u1 EGY\nu2 EGY\nu3 LEV\nu9 LEV\n", "dialect", "1 in pred but not in the truth: u9"),
    "duplicate": ("u1 EGY\nu1 GLF\n", "dialect", ":2 repeats id 'u1'"),
    "line": ("u1 EGY\nu2\n", "dialect", ":2: expected `id label`"),
    "deep": ('{"id":' * 100_000, "dialect", ":1: expected `id label`, or a JSON object"),
    "json": ('{"id": "u1"}\n', "dialect", ":1: expected `id label`, or a JSON object"),
    "field": ("u1 EGY\n", "emotion", "no field 'emotion'; it has dialect, gender, speaker"),
    "no field fits": ("u1 XXX\n", None, "0 fields .*: none; name the truth with `--field`"),
}


@pytest.mark.parametrize("case", sorted(BAD_PREDS))
def test_bad_predictions_are_named(case: str, prepared: Path) -> None:
    text, field, message = BAD_PREDS[case]
    (prepared / "pred").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        join_truth(prepared / "pred", cuts_path(prepared, "test"), field)


def test_command_on_a_table(command: Any, tmp_path: Path) -> None:
    """All figures in one object, confusions with the truth in rows, and a picture beside it."""
    path, picture = tmp_path / "t.tsv", tmp_path / "c.png"
    path.write_text(TSV, encoding="utf-8")
    code, out, _ = command("cls", "--tsv", path, "--json", "--plot", picture)
    found = json.loads(out)
    assert code == 0
    values = [found[name]["value"] for name in ("accuracy", "uar", "macro_f1")]
    assert values == [50, 50, pytest.approx(100 / 3)]
    f1 = pytest.approx(200 / 3)
    assert found["classes"]["EGY"] == {"precision": 50, "recall": 100, "f1": f1, "support": 1}
    assert found["confusion"] == {"labels": ["EGY", "GLF"], "counts": [[1, 0], [1, 0]]}
    assert (found["ece"], found["utterances"]) == (None, 2)
    assert picture.exists()


def test_command_with_cuts(command: Any, prepared: Path) -> None:
    """The text for people has the table, the matrix and how many did not join."""
    (prepared / "pred").write_text("u1 EGY\nu2 EGY\nu9 LEV\nu8 EGY", encoding="utf-8")
    how = ("--field", "dialect", "--ids", "common")
    code, out, _ = command("cls", "--pred", prepared / "pred", "--cuts", prepared, *how)
    assert code == 0
    assert "Left out: 1 missing, 2 extra." in out
    assert "GLF            -    0.00   0.00        1" in out
    assert "true \\ predicted  EGY  GLF" in out


def test_many_classes_are_told_by_their_confusions(command: Any, tmp_path: Path) -> None:
    """A matrix of forty columns fits no terminal."""
    lines = [f"u{n}\tc{n:02}\tc{max(n - 1, 0):02}" for n in range(20)]
    (tmp_path / "t.tsv").write_text("\n".join(lines), encoding="utf-8")
    out = command("cls", "--tsv", tmp_path / "t.tsv")[1]
    assert "most frequent confusions" in out
    assert "true \\ predicted" not in out


def test_thousands_of_classes_fit_into_memory() -> None:
    """Speakers as classes: counts in float64 would take 72 MB here, confusions as objects more."""
    draw = random.Random(0)
    rows = [
        row(f"u{n}", f"s{draw.randrange(1500):04}", f"s{draw.randrange(1500):04}")
        for n in range(2000)
    ]
    tracemalloc.start()
    found, lines = score_classes(rows), confusion_table(confusion(rows))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 70e6
    tracemalloc.start()
    compare_systems({"a": rows, "b": rows[::-1]}, metric="uar", resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 110e6, "in float64 the two take 144 MB, and each once more"
    right = sum(each.truth == each.pred for each in rows)
    assert found["accuracy"].value == pytest.approx(right / 20)
    wrong = Counter((each.truth, each.pred) for each in rows if each.truth != each.pred)
    most = sorted(wrong, key=lambda pair: (-wrong[pair], pair))[: len(lines) - 1]
    assert [tuple(line.split()) for line in lines[1:]] == [
        (*pair, str(wrong[pair])) for pair in most
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of --predictions, --tsv, or --pred with --cuts"),
        (("--tsv", "t", "--pred", "p"), "give one of"),
        (("--pred", "p"), "--pred needs --cuts"),
        (("--tsv", "t", "--ids", "common"), "--ids needs --pred"),
        (("--tsv", "t", "--plot", "c.bmp"), "must end in .png"),
        (("--tsv", "absent"), "absent"),
        (("--tsv", "/"), "is a folder"),
        (("--pred", "absent", "--cuts", "c"), "absent"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(
    arguments: tuple[str, ...], message: str, command: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in "tp":
        (tmp_path / name).touch()
    code, out, error = command("cls", *arguments)
    assert (code, out) == (2, "")
    assert message in error


def merged(heads: list[list[ClassPrediction]]) -> list[ClassPrediction]:
    """Put the answers of all heads into the rows of the first."""
    first, *others = heads
    return [
        row.model_copy(update={"others": tuple(head[number].pred for head in others)})
        for number, row in enumerate(first)
    ]


def heads(right: tuple[float, ...]) -> list[list[ClassPrediction]]:
    """Make the rows of heads of different quality on the same utterances."""
    made = [class_rows(count=90, seed=seed, groups=9, right=r) for seed, r in enumerate(right)]
    truths = [row.truth for row in made[0]]
    return [
        [row.model_copy(update={"truth": truth}) for row, truth in zip(rows, truths, strict=True)]
        for rows in made
    ]


@pytest.mark.parametrize("metric", ["accuracy", "uar"])
def test_value_and_spread(metric: str) -> None:
    """Accuracy and UAR of the merged rows are the heads' means; spread is theirs by numpy."""
    each = heads((0.4, 0.6, 0.9))
    singles = [score_classes(rows)[metric].value for rows in each]
    found = score_classes(merged(each))[metric]
    assert found.value == pytest.approx(np.mean(singles))
    assert found.spread == pytest.approx(np.std(singles, ddof=1))
    assert score_classes(each[0])[metric].spread is None


def test_equal_heads_change_nothing_but_the_spread() -> None:
    """Three times the same head is that head: value and intervals, spread 0."""
    (rows,) = heads((0.6,))
    one, three = (score_classes(made) for made in (rows, merged([rows] * 3)))
    for name, metric in one.items():
        assert three[name].value == pytest.approx(metric.value, abs=1e-9)
        assert three[name].figures == pytest.approx(metric.figures, abs=1e-9)
        assert three[name].spread == pytest.approx(0, abs=1e-9)


def test_systems_of_different_numbers_of_heads_are_compared() -> None:
    """Three seeds here and one there: utterances are the unit, not answers."""
    each = heads((0.4, 0.6, 0.9))
    found = compare_pair(merged(each), each[0], resamples=200, metric="accuracy")
    singles = [score_classes(rows)["accuracy"].value for rows in each]
    assert found.difference == pytest.approx(np.mean(singles) - singles[0])


def test_a_row_without_its_answers_is_refused() -> None:
    """A mean over fewer heads in some rows would be no head's figure."""
    rows = merged(heads((0.4, 0.6)))
    rows[5] = rows[5].model_copy(update={"others": ()})
    with pytest.raises(ValueError, match="another number of answers"):
        score_classes(rows)
