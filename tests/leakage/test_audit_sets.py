"""A set is named in one word on the command line; a wrong name must be one clear message."""

import gzip
import json
from pathlib import Path

import pytest

from harness_bench.cuts.shar import write_shards
from harness_bench.cuts.store import cuts_path, write_cuts
from harness_bench.leakage.audit_sets import open_sets
from tests.pretrain.labels.conftest import make_cuts


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with sets of every kind in it, made the working directory."""
    cuts = make_cuts(tmp_path / "audio", [16_000 + 800 * n for n in range(6)])
    for split, part in {"train": cuts[:3], "test": cuts[3:]}.items():
        write_cuts(tmp_path / "corpus", split, part)
    write_shards(cuts[:4], tmp_path / "shar", shard_cuts=2)
    (tmp_path / "some.txt").write_text("# two of train\nutt000\n\nutt002\nutt000\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


NAMED = {
    "corpus": ["corpus:train 3", "corpus:test 3"],
    "corpus:test": ["corpus:test 3"],
    "mine=corpus": ["mine:train 3", "mine:test 3"],
    "mine=corpus:test": ["mine 3"],
    "corpus:train@some.txt": ["corpus:train 2"],
    "mine=shar": ["mine 4"],
    "shar": ["shar 4"],
    "corpus/cuts.train.jsonl.gz": ["cuts.train.jsonl.gz 3"],
    "x=corpus/cuts.train.jsonl.gz@some.txt": ["x 2"],
    "some.txt": ["some.txt 2"],
    "shar shar": ["shar 4", "shar (2) 4"],
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("text", NAMED)
def test_names(text: str) -> None:
    found = open_sets(text.split())
    assert [f"{each.name} {len(each.table())}" for each in found] == NAMED[text]


@pytest.mark.usefixtures("place")
def test_audio_comes_in_the_order_of_the_rows() -> None:
    """What is heard is put to what was read by its number alone."""
    for each in open_sets(["corpus:train@some.txt", "shar"]):
        assert each.cuts is not None
        assert [cut.id for cut in each.cuts()] == list(each.table().ids())


@pytest.mark.usefixtures("place")
def test_shards_and_cuts_give_the_same_values() -> None:
    """A corpus must be known again in shards: lengths and speakers stay."""
    sharded, plain = (each.table() for each in open_sets(["shar", "corpus:train"]))
    assert {*plain.hashes("id")} < {*sharded.hashes("id")}
    assert {*plain.hashes("speaker")} == {*sharded.hashes("speaker")}


MISTAKES = {
    "absent": "no such folder or file",
    "corpus:dev": "no split 'dev'; it has train, test",
    "corpus:train@absent.txt": "absent.txt, a list of ids, cannot be read",
    "shar:train": "a Shar folder has no splits",
    "some.txt:train": "a list of ids has no splits",
    "audio": "holds no cuts",
    "audio/utt000.wav": "no list of ids in UTF-8",
    "empty.txt": "holds no ids",
    "broken.jsonl.gz": "broken.jsonl.gz:2 is not a cut",
    "torn.jsonl.gz": "torn.jsonl.gz cannot be read as cuts",
    "corpus:train@other.txt": "holds no utterances",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_explained(place: Path, text: str) -> None:
    (place / "empty.txt").write_text("\n# nothing\n")
    (place / "other.txt").write_text("an id of another corpus\n")
    whole = cuts_path(place / "corpus", "train").read_bytes()
    (place / "torn.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    first = gzip.decompress(whole).splitlines()[0]
    broken = first + b"\n" + json.dumps(["no", "cut"]).encode() + b"\n"
    (place / "broken.jsonl.gz").write_bytes(gzip.compress(broken))
    with pytest.raises(ValueError, match=MISTAKES[text]):
        [each.table() for each in open_sets([text])]
