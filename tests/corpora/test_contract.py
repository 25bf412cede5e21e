"""What every corpus found by discovery must do; a new corpus brings a layout of its own name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from harness_bench import corpora
from harness_bench.audio.io import load_waveform
from harness_bench.core.config import build
from harness_bench.corpora.base import Utterance
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts import store
from tests.corpora.trees import build as build_tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.parametrize("name", corpora.available())


def test_is_a_documented_config_with_defaults(name: str) -> None:
    """The command line builds a corpus from options, and shows its docstring as its help."""
    kind = corpora.get(name)
    assert (inspect.getdoc(kind) or "").splitlines()[0].endswith(".")
    assert build(kind, {}, source="test").splits
    with pytest.raises(ValueError, match="unknown key 'no_such_option'"):
        build(kind, {"no_such_option": 1}, source="test")


def test_yields_every_utterance_with_unique_ids(name: str, tmp_path: Path) -> None:
    """The id joins everything later, so reading must not lose, repeat or invent one."""
    expected = build_tree(name, tmp_path)
    corpus = build(corpora.get(name), {}, source="test")
    found = list(corpus.utterances(tmp_path))
    assert {item.id: item.split for item in found if isinstance(item, Utterance)} == expected
    rest = [item for item in found if not isinstance(item, Utterance)]
    assert len(found) - len(rest) == len(expected)
    assert not any(item.counts for item in rest)


def test_prepares_to_readable_cuts(name: str, tmp_path: Path) -> None:
    """Each step was right alone elsewhere and failed where two meet: so disk to waveform here."""
    expected = build_tree(name, tmp_path / "corpus")
    report = prepare(name, tmp_path / "corpus", tmp_path / "out", PrepareConfig(jobs=1))
    read = {
        cut.id: split
        for split in store.splits(tmp_path / "out")
        for cut in store.read_cuts(tmp_path / "out", split)
        if load_waveform(cut).shape == (8000,)
    }
    assert read == expected
    assert report.kept == len(expected)
    assert report.complete


def test_refuses_a_folder_of_another_layout(name: str, tmp_path: Path) -> None:
    """A wrong path must not look like an empty corpus."""
    with pytest.raises(ValueError, match=str(tmp_path)):
        list(build(corpora.get(name), {}, source="test").utterances(tmp_path))
