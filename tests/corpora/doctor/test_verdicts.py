"""Verdicts: equal to the last digit printed, by how much not, and when nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.config import build
from harness_bench.corpora.doctor.known import Known
from harness_bench.corpora.doctor.tally import Tally
from harness_bench.corpora.doctor.verdicts import Line, agreement, judge
from tests.cut_files import row


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
    """Judge one figure of a made corpus."""
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
