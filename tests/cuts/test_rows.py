"""Rows in place of lhotse's cuts: the same fields, and a broken file is named."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts import fields, store
from tests.corpora import trees
from tests.cut_files import row, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["adi5", "ksuemotions", "mgb3", "qasr"])
def test_rows_tell_what_lhotse_tells(name: str, tmp_path: Path) -> None:
    """Lhotse as the oracle: two ways of reading must not see two corpora."""
    trees.build(name, tmp_path / "corpus")
    prepare(name, tmp_path / "corpus", tmp_path, PrepareConfig(jobs=1, max_skipped=1))
    for split in store.splits(tmp_path):
        read = list(store.read_rows(store.cuts_path(tmp_path, split)))
        for one, cut in zip(read, store.read_cuts(tmp_path, split), strict=True):
            assert (one["id"], one["start"], one["duration"]) == (cut.id, cut.start, cut.duration)
            known = {key: str(value) for key, value in fields.fields_of(cut).items() if value != ""}
            assert store.fields(one) == known
            assert all(store.field(one, key) == value for key, value in known.items())
            assert store.field(one, "no_such_field") is None


BROKEN = {
    "no JSON": b"{",
    "a list": b"[]",
    "no supervision": json.dumps(row("a") | {"supervisions": []}).encode(),
    "no length": json.dumps(row("a") | {"duration": 0}).encode(),
    "an endless length": json.dumps(row("a") | {"duration": float("inf")}).encode(),
    "an id of no text": json.dumps(row("a") | {"id": 1}).encode(),
    "no bytes of text": b"\xff\xfe",
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_line_is_named(case: str, tmp_path: Path) -> None:
    good = json.dumps(row("a")).encode()
    path = tmp_path / "cuts.train.jsonl.gz"
    path.write_bytes(gzip.compress(good + b"\n" + BROKEN[case] + b"\n"))
    with pytest.raises(ValueError, match=f"{path}:2"):
        list(store.read_rows(path))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """A copy that was cut off must not look like a smaller corpus."""
    folder = write(tmp_path, "train", [row(f"{number}" * 50) for number in range(300)])
    path = store.cuts_path(folder, "train")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=str(path)):
        list(store.read_rows(path))
    path.write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=str(path)):
        list(store.read_rows(path))
    with pytest.raises(ValueError, match="no file of cuts"):
        list(store.read_rows(tmp_path / "absent"))
