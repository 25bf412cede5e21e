"""Broken shards: each ends in an error that names the folder, or is read whole."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from harness_bench.cuts.shar import INDEX, open_shards, read_metadata, read_shards, write_shards
from harness_bench.cuts.store import read_cuts, write_cuts
from tests.corpora.test_fuzz import change_bytes, limited, rename
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LENGTHS = [3_000 + 200 * number for number in range(8)]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write_shards(make_cuts(folder / "audio", LENGTHS), folder / "shar", shard_cuts=3)
    return folder / "shar"


def test_damage_ends_in_a_named_error_or_in_all_cuts(good: Path, tmp_path: Path) -> None:
    """No cut is lost in silence, and lhotse's own errors tell no user which file is broken."""
    read = 0
    for seed in range(150):
        rng, root = random.Random(seed), tmp_path / "shar"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(good, root)
        for _ in range(rng.randint(1, 3)):
            rng.choice((change_bytes, change_bytes, rename))(root, rng)
        with limited():
            try:
                shards = open_shards(root)
                expected = sum(shard.utterances for shard in shards)
                assert len(list(read_shards(shards))) == expected, seed
                assert len(list(read_metadata(shards))) == expected, seed
                read += 1
            except ValueError as error:
                assert type(error) is ValueError, (seed, error)  # noqa: PT017 - not all are errors
                assert str(root) in str(error), (seed, error)  # noqa: PT017 - as above
    assert 0 < read < 150


@pytest.mark.parametrize("index", [{}, [1], [{}], None, [{"number": 0, "utterances": "3"}]])
def test_an_index_of_another_shape_is_named(good: Path, tmp_path: Path, index: object) -> None:
    shutil.copytree(good, tmp_path / "shar")
    (tmp_path / "shar" / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=INDEX):
        open_shards(tmp_path / "shar")


def test_an_index_of_other_types_is_named(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "shar")
    index = json.loads((good / INDEX).read_text())
    index[0]["utterances"] = "3"
    (tmp_path / "shar" / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match="is no index of shards"):
        open_shards(tmp_path / "shar")


def shorten(root: Path) -> None:
    tar = root / "recording.000001.tar"
    tar.write_bytes(tar.read_bytes()[:900])


BREAKS: dict[str, Callable[[Path], object]] = {
    "torn audio": shorten,
    "no audio": lambda root: (root / "recording.000001.tar").unlink(),
    "torn cuts": lambda root: (root / "cuts.000001.jsonl.gz").write_bytes(b"\x1f\x8b"),
    "fewer shards": lambda root: (root / "cuts.000002.jsonl.gz").unlink(),
    "another index": lambda root: (root / INDEX).write_text("{}"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_sharding_again_mends(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what every message about broken shards advises."""
    cuts = make_cuts(tmp_path / "audio", LENGTHS)
    write_shards(cuts, tmp_path / "shar", shard_cuts=3)
    BREAKS[how](tmp_path / "shar")
    found = write_shards(cuts, tmp_path / "shar", shard_cuts=3)
    assert "is broken and is written anew" in capsys.readouterr().err
    assert {cut.id for cut in read_shards(found)} == {cut.id for cut in cuts}


def test_prepared_cuts_stay(tmp_path: Path) -> None:
    """`harness-bench shard cuts/x cuts/x` must not cost a corpus that took a day to prepare."""
    cuts = make_cuts(tmp_path / "audio", LENGTHS)
    write_cuts(tmp_path / "both", "train", cuts)
    with pytest.raises(ValueError, match=r"both holds cuts\.train\.jsonl\.gz"):
        write_shards(cuts, tmp_path / "both")
    assert len(read_cuts(tmp_path / "both", "train")) == len(cuts)
