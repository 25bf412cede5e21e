"""The cuts of a running `prepare` against lhotse's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.corpora.base import Utterance
from harness_bench.corpora.check import Checked
from harness_bench.corpora.writer import PreparedSplits, row_of
from harness_bench.cuts import store
from harness_bench.cuts.table import Table
from harness_bench.leakage.compare import Pair, between

FEW = st.sampled_from([None, "a", "b", "ب"])
UTTERANCES = st.builds(
    Utterance,
    id=st.uuids().map(str),
    audio=st.sampled_from(["/x/a.wav", "/x/../y/b.flac"]).map(Path),
    split=st.sampled_from(["train", "dev", "test"]),
    start=st.floats(0, 1000),
    text=FEW,
    speaker=FEW,
    language=FEW,
    gender=FEW,
    custom=st.dictionaries(st.sampled_from(["cluster", "label", "z"]), st.sampled_from("ab")),
)
CHECKED = st.builds(
    Checked,
    utterance=UTTERANCES,
    file_samples=st.just(10**8),
    samples=st.integers(1, 10**6),
    sampling_rate=st.sampled_from([8000, 16_000, 44_100]),
    channels=st.integers(1, 3),
    digest=st.sampled_from(["", "0" * 31 + "1", "f" * 32]),
)


def plain(pair: Pair) -> Pair:
    """Leave out the hours, whose last digit depends on the order of sums, names and examples."""
    bare: dict[str, Any] = {"first_hours": 0, "second_hours": 0, "names": (), "examples": ()}
    return replace(pair, findings=tuple(replace(each, **bare) for each in pair.findings))


@settings(deadline=None, max_examples=50)
@given(item=CHECKED)
def test_a_row_is_what_lhotse_writes_of_its_cut(item: Checked) -> None:
    """Rows are made by hand for speed; every byte must be lhotse's own."""
    from lhotse.serialization import deserialize_item  # noqa: PLC0415 - imports torch

    row = row_of(item)
    cut = deserialize_item(json.loads(store.to_line(row)))
    assert store.to_line(cut) == store.to_line(row)
    assert cut.recording_id == cut.supervisions[0].recording_id == item.utterance.id


@settings(deadline=None, max_examples=20)
@given(items=st.lists(CHECKED, max_size=30, unique_by=lambda item: item.utterance.id))
def test_leakage_as_written(items: list[Checked], tmp_path_factory: pytest.TempPathFactory) -> None:
    """While cuts are still on their way to disk, the answer must be that of what is written."""
    out = tmp_path_factory.mktemp("rows")
    with PreparedSplits(out, ("train", "dev", "test")) as kept:
        for item in items:
            kept.add(item)
        found, splits = list(kept.leakage()), [split.table.name for split in kept.filled()]
        for filled in kept.filled():
            filled.write(out)
    read = {split: store.read_cuts(out, split) for split in splits}
    expected = between([Table(split).extend(cuts) for split, cuts in read.items()])
    assert [plain(pair) for pair in found] == [plain(pair) for pair in expected]
    for one, other in zip(found, expected, strict=True):
        hours = [each.second_hours for each in other.findings]
        assert [each.second_hours for each in one.findings] == pytest.approx(hours, abs=1e-4)
    assert [cut.id for split in splits for cut in read[split]] == [
        item.utterance.id
        for split in splits
        for item in sorted(items, key=lambda item: item.utterance.id)
        if item.utterance.split == split
    ]


@pytest.mark.parametrize("name", ["x/../../../../evil", "", "a\x1b[31m", "..\\up"])
def test_an_annotator_is_no_path(name: str, tmp_path: Path) -> None:
    """Fields of any corpus become names of files, and come from its strangers."""
    custom = {f"reference_{name}": "نعم"}
    item = Checked(Utterance("a", Path("/a.wav"), custom=custom), 8, 8, 16_000, 1, "")
    with PreparedSplits(tmp_path, ("train",)) as kept, pytest.raises(ValueError, match="reference"):
        kept.add(item)
    assert not list(tmp_path.iterdir())
