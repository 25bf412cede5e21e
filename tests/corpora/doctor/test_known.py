"""Known figures agree with themselves, and counts with them to the last digit printed."""

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench import corpora
from harness_bench.core.config import build
from harness_bench.corpora.doctor import known
from harness_bench.corpora.doctor.known import Known, Line, agreement, judge
from harness_bench.corpora.doctor.tally import Tally
from tests.cut_files import row

FILES = {path.stem for path in known.file_of("any").parent.glob("*.toml")} - {known.TABLE_1}


@pytest.mark.parametrize("name", sorted(FILES))
def test_figures_speak_of_their_corpus_and_classes_sum_up(name: str) -> None:
    """Under another name they would never be compared; a slip makes a sound corpus look broken."""
    found = known.of_corpus(name)
    assert found is not None
    kind = corpora.get(name)
    for figure in found.figures:
        corpus = build(kind, figure.options, source=f"{name}.toml")
        assert set(figure.splits) <= set(corpus.splits)
        if figure.field is not None:
            assert figure.field.partition("_")[0] in (inspect.getdoc(kind) or "")
    wholes = {
        (figure.splits, figure.what): figure.value for figure in found.figures if not figure.field
    }
    for figure in found.figures:
        # Of overlap only one of its two classes is known.
        if figure.values and figure.field != "overlap":
            total = sum(map(int, figure.values.values()))
            assert str(total) == wholes[figure.splits, figure.what]


def test_nothing_is_known_of_a_folder() -> None:
    assert known.of_corpus("folder") is None
    assert known.of_corpus(known.TABLE_1) is None
    assert {row.corpus for row in known.table_1().rows} <= set(corpora.available())


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to compare": ({}, "either value or values"),
    "two things": ({"value": "1", "field": "a", "values": {"b": "1"}}, "either value or values"),
    "no field": ({"values": {"b": "1"}}, "need the field"),
    "no classes": ({"value": "1", "field": "dialect"}, "'dialect' needs values"),
    "no number": ({"value": "many"}, "value = 'many'"),
    "one split": ({"what": "shared_clusters", "value": "1"}, "shared_clusters takes two"),
    "another word": ({"what": "minutes", "value": "1"}, "minutes"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_figure_that_is_none_is_refused(case: str) -> None:
    figure, message = WRONG[case]
    values = {"source": "x", "figures": [{"splits": ["train"], "what": "hours"} | figure]}
    with pytest.raises(ValueError, match=message):
        build(Known, values, source="mine.toml")


@given(hours=st.floats(0.1, 5000), places=st.integers(0, 4))
def test_what_is_rounded_is_equal(hours: float, places: int) -> None:
    """Whatever a paper prints of a length must agree with the length itself."""
    assert agreement(f"{hours:.{places}f}", hours)[0] == "equal"


@given(number=st.integers(0, 10**7), other=st.integers(0, 10**7))
def test_counts_agree_exactly(number: int, other: int) -> None:
    verdict, detail = agreement(str(number), other)
    assert (verdict == "equal") == (number == other)
    assert verdict == "equal" or f"{other - number:+,}" in detail


@pytest.mark.parametrize(
    ("known", "counted", "within", "said"),
    [
        ("10.01", 10.0149, 0, "equal"),
        ("10.01", 10.0151, 0, "differs"),
        ("9.57", 9.58, 0, "differs"),
        ("2000", 1900.0, 10, "equal"),
        ("2000", 1799.0, 10, "differs"),
        ("5", 5.13, 10, "equal"),
    ],
)
def test_hours(known: str, counted: float, within: float, said: str) -> None:
    assert agreement(known, counted, within)[0] == said


def lines(made_with: dict[str, Any] | None, **figure: Any) -> list[Line]:
    tallies = {
        "train": Tally(
            [row("a", 1800.0, speaker="s", dialect="EGY", cluster="v"),
             row("b", 1800.0, speaker="s", dialect="MSA", cluster="w", reference_Ali="x")],
            ("reference_Ali", "reference_Omar"),
        ),
        "dev": Tally([row("c", 360.0, cluster="w", dialect="EGY")]),
        "test": Tally([row("d", 36.0)]),
    }  # fmt: skip
    values = {"source": "here", "figures": [{"splits": ["train"], **figure}]}
    return judge(build(Known, values, source="test"), tallies, made_with)


COUNTED: dict[str, tuple[dict[str, Any], str]] = {
    "utterances": ({"what": "utterances", "value": "2"}, "2"),
    "hours": ({"what": "hours", "value": "1.00"}, "1.000"),
    "speakers once": ({"what": "speakers", "value": "1"}, "1"),
    "splits together": ({"what": "clusters", "splits": ["train", "dev"], "value": "2"}, "2"),
    "shared": ({"what": "shared_clusters", "splits": ["train", "dev"], "value": "1"}, "1"),
    "an annotator": ({"what": "utterances", "field": "reference_Ali", "value": "1"}, "1"),
    "no such annotator": ({"what": "utterances", "field": "reference_Omar", "value": "0"}, "0"),
    "a class": ({"what": "hours", "field": "dialect", "values": {"MSA": "0.5"}}, "0.50"),
    "a class of none": ({"what": "utterances", "field": "dialect", "values": {"GLF": "0"}}, "0"),
}


@pytest.mark.parametrize("case", sorted(COUNTED))
def test_what_can_be_counted(case: str) -> None:
    figure, counted = COUNTED[case]
    (line,) = lines({}, **figure)
    assert (line.counted, line.verdict) == (counted, "equal")


UNTOLD: dict[str, tuple[dict[str, Any] | None, dict[str, Any], str]] = {
    "no split": ({}, {"splits": ["eval"], "what": "hours", "value": "1"}, "no split eval"),
    "no speakers": ({}, {"splits": ["test"], "what": "speakers", "value": "1"}, "no speaker"),
    "no field": (
        {}, {"what": "hours", "field": "emotion", "values": {"anger": "1"}}, "no emotion"
    ),
    "no programmes": (
        {}, {"splits": ["train", "test"], "what": "shared_clusters", "value": "1"}, "no cluster"
    ),
    "another option": (
        {"ids": "common"}, {"what": "hours", "value": "9", "options": {"ids": "any"}},
        "holds with ids=any; prepared with common",
    ),
    "unknown options": (
        None, {"what": "hours", "value": "9", "options": {"ids": "any"}}, "does not say"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(UNTOLD))
def test_what_cannot_be_told(case: str) -> None:
    """Neither praise nor blame where there is nothing to go by."""
    options, figure, why = UNTOLD[case]
    (line,) = lines(options, **figure)
    assert (line.verdict, line.counted) == ("cannot tell", "")
    assert why in line.detail


def test_one_line_for_each_class() -> None:
    found = lines({}, what="utterances", field="dialect", values={"EGY": "1", "MSA": "3"})
    assert [(line.what, line.verdict, line.detail) for line in found] == [
        ("train: utterances, dialect EGY", "equal", ""),
        ("train: utterances, dialect MSA", "differs", "differs by -2 (-66.7 %)"),
    ]
