"""Labelled utterances: classes, unknown labels, order of the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.probing.head.config import DataConfig
from harness_bench.probing.head.data import (
    LabelledCuts,
    eval_loader,
    learn_classes,
    read_split,
    train_loader,
)

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ["high", "low", "middle"]


@pytest.fixture
def config(tone_corpus: Path) -> DataConfig:
    return DataConfig(cuts=tone_corpus, label_field="label")


@pytest.fixture
def odd_corpus(tone_corpus: Path, tmp_path: Path) -> Path:
    """Return a corpus whose dev split has a label that train lacks."""
    dev = read_cuts(tone_corpus, "dev")
    dev[3].supervisions[0].custom["label"] = "shrill"
    write_cuts(tmp_path, "train", read_cuts(tone_corpus, "train"))
    write_cuts(tmp_path, "dev", dev)
    return tmp_path


def test_classes_are_sorted_and_learned_from_train(tone_corpus: Path) -> None:
    """The order decides what the outputs mean, so it must not depend on the cuts' order."""
    assert learn_classes(tone_corpus, "label") == CLASSES


def test_a_single_class_is_refused(tone_corpus: Path, tmp_path: Path) -> None:
    """The usual cause is a wrong label_field; training would reach 100 % at once."""
    write_cuts(tmp_path, "train", read_cuts(tone_corpus, "train")[::3])
    with pytest.raises(ValueError, match="at least two"):
        learn_classes(tmp_path, "label")


def test_unknown_label_is_an_error_that_names_it(odd_corpus: Path, tmp_path: Path) -> None:
    """A silently dropped test label would raise the accuracy."""
    config = DataConfig(cuts=odd_corpus, label_field="label")
    with pytest.raises(ValueError, match=r"'shrill' \(1\).*'dev-03'.*unknown_labels=skip"):
        read_split("dev", config=config, classes=CLASSES, report_in=tmp_path)


def test_skipped_labels_are_listed(odd_corpus: Path, tmp_path: Path) -> None:
    """Skipping is the user's choice and leaves a trace."""
    config = DataConfig(cuts=odd_corpus, label_field="label", unknown_labels="skip")
    data = read_split("dev", config=config, classes=CLASSES, report_in=tmp_path)
    assert len(data) == 11
    assert (tmp_path / "skipped.dev.tsv").read_text().splitlines()[1].startswith("dev-03\t")


def ids(data: LabelledCuts, config: DataConfig, *, seed: int, epoch: int) -> list[str]:
    """Return the utterances of one epoch in order."""
    return [
        key for batch in train_loader(data, config, seed=seed, epoch=epoch) for key in batch.ids
    ]


def test_order_is_decided_by_seed_and_epoch(config: DataConfig, tmp_path: Path) -> None:
    """Equal seeds repeat a run; another epoch or seed shuffles anew; nothing is lost."""
    data = read_split("train", config=config, classes=CLASSES, report_in=tmp_path)
    first = ids(data, config, seed=1, epoch=0)
    assert first == ids(data, config, seed=1, epoch=0)
    assert first != ids(data, config, seed=1, epoch=1)
    assert first != ids(data, config, seed=5, epoch=0)
    assert sorted(first) == [cut.id for cut in data.cuts]


def test_spawned_workers_give_the_same_batches(config: DataConfig, tmp_path: Path) -> None:
    """Workers get the dataset by pickling; a dataset that cannot travel fails only there."""
    data = read_split("dev", config=config, classes=CLASSES, report_in=tmp_path)
    loader = eval_loader(data, DataConfig(cuts=config.cuts, label_field="label", num_workers=1))
    loader.multiprocessing_context = "spawn"
    assert [batch.ids for batch in loader] == [batch.ids for batch in eval_loader(data, config)]
