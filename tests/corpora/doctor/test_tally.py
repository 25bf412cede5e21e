"""Counting splits: right, and in memory that millions of cuts fit into."""

import statistics
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.corpora.doctor.tally import MOST_CLASSES, Tally
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts.store import cuts_path, read_rows
from tests.corpora import trees
from tests.cut_files import row


@pytest.mark.parametrize("name", ["adi5", "ksuemotions"])
def test_counts_are_those_of_prepare(name: str, tmp_path: Path) -> None:
    """`prepare` counts while it writes; counting what it wrote must give the same."""
    trees.build(name, tmp_path / "corpus")
    report = prepare(name, tmp_path / "corpus", tmp_path, PrepareConfig(jobs=1))
    for split, about in report.splits.items():
        found = Tally(read_rows(cuts_path(tmp_path, split))).to_dict()
        assert {key: found[key] for key in ("utterances", "hours", "speakers", "digest")} == {
            "utterances": about.utterances, "hours": about.hours, "speakers": about.speakers,
            "digest": about.digest,
        }  # fmt: skip
        field = "emotion" if name == "ksuemotions" else "dialect"
        assert {
            value: share["utterances"] for value, share in found["classes"][field].items()
        } == about.labels


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 3000), min_size=1))
def test_the_median_is_the_median(lengths: list[int]) -> None:
    tally = Tally(row(str(n), length / 100) for n, length in enumerate(lengths))
    assert tally.quantile(0.5) == pytest.approx(statistics.median_low(lengths) / 100)
    assert tally.quantile(0) == min(lengths) / 100
    assert tally.quantile(1) == max(lengths) / 100


def test_a_field_of_many_values_is_no_class() -> None:
    """Labels that are transcripts would make a table of a million rows."""
    few = Tally(row(str(n), label=f"v{n}") for n in range(MOST_CLASSES))
    assert len(few.classes["label"]) == MOST_CLASSES
    many = Tally(row(str(n), label=f"v{n}", gender="male") for n in range(MOST_CLASSES + 5))
    assert not many.classes["label"]
    assert many.to_dict()["fields_of_too_many_values"] == ["label"]
    assert many.classes["gender"]["male"].utterances == MOST_CLASSES + 5


def peak(cuts: int) -> int:
    rows = (
        row(f"u{n:07d}", 0.01 * (n % 900 + 1), speaker=f"s{n % 50}", cluster=f"p{n % 20}",
            text=f"text {n}", dialect="EGY")
        for n in range(cuts)
    )  # fmt: skip
    tracemalloc.start()
    kept = Tally(rows)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept.whole.utterances == cuts
    return found


def test_millions_fit_into_memory() -> None:
    """Some 100 bytes a cut: 1.6 million, QASR's size, are below 200 MB."""
    assert peak(20_000) - peak(2000) < 120 * 18_000
