"""Which files of a dataset are which config, split and shard."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.corpora.base import AUDIO
from harness_bench.corpora.formats import unpack
from harness_bench.corpora.formats.hf_files import TableFile, find_shards, take_splits
from harness_bench.corpora.prepare import prepare
from tests.corpora.hf_datasets import files_of, read, write
from tests.corpora.layouts.hf import build as build_tree
from tests.corpora.layouts.hf import encoded

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data/train-00000-of-00001.parquet", ("", "train")),
        ("data/train-00000-of-00001-2b1ee1796e96279b.parquet", ("", "train")),
        ("data/train_clean-00000-of-00001.parquet", ("", "train_clean")),
        ("Egypt/validation-00000-of-00001.parquet", ("Egypt", "validation")),
        ("ar_eg/train/0000.parquet", ("ar_eg", "train")),
        ("default/partial-train/0000.parquet", ("", "train")),
        ("ar_eg/fleurs-train-00000-of-00001.parquet", ("ar_eg", "train")),
        ("parquet-data/ar_eg/dev-00000-of-00001.parquet", ("parquet-data/ar_eg", "dev")),
        ("rows.parquet", ("", "train")),
    ],
)
def test_configs_and_splits_by_names(name: str, expected: tuple[str, str]) -> None:
    """The names are those of datasets that are on the Hub."""
    (found,) = find_shards(
        [name, "index.duckdb", ".cache/x.parquet"], {}, configs=["all"], where="x"
    )
    assert (found.config, found.split) == expected


def test_a_card_says_which_files_are_a_split() -> None:
    """Its patterns count before names: `*` stays in a folder, `**` does not."""
    names = ["a/one.parquet", "a/b/two.parquet", "c/three.parquet"]
    card = {
        "configs": [
            {"config_name": "x", "data_files": [{"split": "test", "path": "a/*"}]},
            {"config_name": "y", "data_files": [{"split": "train", "path": ["a/**", "c/th?ee.*"]}]},
        ]
    }
    (one,) = find_shards(names, card, configs=["x"], where="w")
    assert (one.name, one.split) == ("a/one.parquet", "test")
    assert len(find_shards(names, card, configs=["y"], where="w")) == 3
    with pytest.raises(ValueError, match=r"w has 2 configs: x, y.*config=NAME"):
        find_shards(names, card, where="w")
    with pytest.raises(ValueError, match="no config 'z'"):
        find_shards(names, card, configs=["z"], where="w")
    forms = ("c/*", ["c/*"], {"train": "c/*"}, {"split": "train", "path": ["c/*"]})
    for form in forms:
        (one,) = find_shards(names, {"configs": [{"data_files": form}]}, where="w")
        assert one == TableFile("", "train", "c/three.parquet")
    odd: Any
    for odd in (3, "x", [[]], [{"data_files": 5}], [{"data_files": [{"path": {"a": 1}}]}]):
        assert len(find_shards(names, {"configs": odd}, configs=["all"], where="w")) == 3


@settings(max_examples=300, deadline=None)
@given(like=st.text("ab/*?", min_size=1, max_size=7), name=st.text("ab/", min_size=1, max_size=7))
def test_patterns_of_cards_fit_as_regular_expressions(like: str, name: str) -> None:
    signs = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", like)
    expression = "".join(signs.get(part) or re.escape(part) for part in parts)
    expected = re.fullmatch(f"{expression}x[.]parquet", f"{name}x.parquet") is not None
    with (
        contextlib.nullcontext() if expected else pytest.raises(ValueError, match="no file of rows")
    ):
        find_shards([f"{name}x.parquet"], {}, files=[f"{like}x.parquet"], where="w")


def test_no_card_takes_for_ever() -> None:
    """As a regular expression this one would take years."""
    card = {"configs": [{"config_name": "x", "data_files": "**a" * 12 + "b"}]}
    (found,) = find_shards(["data/" + "a" * 60 + ".parquet"], card, where="w")
    assert found.split == "train"


def test_what_is_missing_of_a_dataset_is_told() -> None:
    """4 of 5 shards are another corpus."""
    names = [f"data/train-{number:05d}-of-00005.parquet" for number in (0, 1, 3, 4)]
    with pytest.raises(ValueError, match=r"1 of 5 shards.*train-00002-of-00005"):
        find_shards(names, {}, where="w")
    found = find_shards(["data/train-0.parquet", "data/validation-0.parquet"], {}, where="w")
    assert take_splits(found, ["validation:test"], "w") == {"validation": "test"}
    both = [TableFile("", split, "x.parquet") for split in ("Dev", "validation")]
    with pytest.raises(ValueError, match=r"Dev and validation.*would be dev"):
        take_splits(both, [], "w")
    joined = take_splits(both, ["Dev:dev", "validation:dev"], "w")
    assert joined == {"Dev": "dev", "validation": "dev"}
    assert take_splits(found, [], "w") == {"train": "train", "validation": "dev"}
    with pytest.raises(ValueError, match=r"no split 'valid'; it has train, validation.*validation"):
        take_splits(found, ["valid"], "w")


def test_archives_are_refused_by_name(tmp_path: Path) -> None:
    """A loading script would be run, and is not."""
    (tmp_path / "MASC.py").write_text("", encoding="utf-8")
    (tmp_path / "train_01.tar.xz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"MASC\.py, train_01\.tar\.xz.*refs/convert/parquet"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["../../evil", "..", "", "a b", "x/../y", "-x"])
def test_names_of_splits_and_configs_are_no_paths(tmp_path: Path, name: str) -> None:
    """A card is somebody's, and what it calls a split becomes a folder."""
    build_tree(tmp_path / "in")
    part = {"split": name, "path": "data/train-*"}
    card = {"configs": [{"config_name": "default", "data_files": [part]}]}
    (tmp_path / "in/README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no folder's name"):
        prepare("hf", tmp_path / "in", tmp_path / "out", jobs=1)
    card = {"configs": [{"config_name": name, "data_files": "data/train-*"}]}
    (tmp_path / "in/README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")
    for config in ({}, {"config": "all"}):
        with contextlib.suppress(ValueError):  # of a name like ".." where one is asked for
            prepare("hf", tmp_path / "in", tmp_path / "out", options=config, jobs=1)
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out"}
    assert {path.name for path in (tmp_path / "out").glob(f"{AUDIO}/*")} <= {
        unpack.NOTE, "train",
    }  # fmt: skip


def test_one_file_is_a_dataset_and_audio_alone_is_none(tmp_path: Path) -> None:
    """What people try first."""
    write(tmp_path / "a.parquet", files_of(range(2)))
    write(tmp_path / "b.parquet", files_of(range(3)))
    assert (len(read(tmp_path / "a.parquet")), len(read(tmp_path))) == (2, 5)
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound/a.flac").write_bytes(encoded(1))
    with pytest.raises(ValueError, match=r"It holds a\.flac\..*option pattern"):
        read(tmp_path / "sound")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
        (b"", "cannot be read as parquet"),
        (b"PAR1" + bytes(400) + b"PAR1", "cannot be read as parquet"),
    ],
)
def test_a_broken_shard_is_named_before_work(tmp_path: Path, data: bytes, reason: str) -> None:
    """Footers of all shards are read before the first row is."""
    build_tree(tmp_path / "in")
    (tmp_path / "in/data/validation-00000-of-00001.parquet").write_bytes(data)
    with pytest.raises(ValueError, match=f"validation-00000-of-00001.*{reason}"):
        prepare("hf", tmp_path / "in", tmp_path / "out", jobs=1)
    assert not (tmp_path / "out" / AUDIO).exists()


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "train.parquet", files_of(range(1)))
    (tmp_path / "data").symlink_to("data")  # leads in a circle
    assert len(read(tmp_path)) == 1
    assert f"{tmp_path}: not read: {tmp_path / 'data'}" in capsys.readouterr().err
