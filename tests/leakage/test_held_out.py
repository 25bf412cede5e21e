"""No training may touch a dev or test set unnoticed, whatever brings it in."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lhotse.cut import Cut

from harness_bench.core.config import build
from harness_bench.cuts.fields import with_custom
from harness_bench.cuts.shar import write_shards
from harness_bench.cuts.store import write_cuts
from harness_bench.leakage.held_out import refuse_held_out
from harness_bench.pretrain.config import (
    FamilyConfig,
    TrainingDataConfig,
    load_preset,
    resolve_paths,
)
from harness_bench.pretrain.data.sources import open_data, open_training
from tests.pretrain.labels.conftest import make_cuts


@pytest.fixture
def cuts(tmp_path: Path) -> list[Cut]:
    return make_cuts(tmp_path / "audio", [16_000 + 800 * n for n in range(6)])


@pytest.fixture
def corpus(tmp_path: Path, cuts: list[Cut]) -> Path:
    """A prepared folder: two utterances to train on, two of dev, two of a test set."""
    for split, part in {"train": cuts[:2], "dev": cuts[2:4], "test_clean": cuts[4:]}.items():
        write_cuts(tmp_path / "corpus", split, part)
    return tmp_path / "corpus"


def opened(root: Path, *, allow: bool = False, **more: Any) -> Any:
    values = resolve_paths({"sources": [{"folder": "mine"}], **more}, root)
    config = build(TrainingDataConfig, values, source="family.toml")
    return open_data(config, root / "out", allow_test_data=allow)


def part(cut: Cut, start: float, seconds: float) -> Cut:
    return cut.truncate(offset=start, duration=seconds).with_id(f"from {start}")


def same_samples(cut: Cut) -> Cut:
    return with_custom(cut, audio_digest="d" * 32)


# Of two cuts, what is held out and what is trained on; whether that is refused.
TOUCHING: dict[str, tuple[Callable[[Cut, Cut], tuple[Cut, Cut]], bool]] = {
    "the same utterance": (lambda cut, _: (cut, cut), True),
    "another id, the same file": (lambda cut, _: (cut, cut.with_id("new")), True),
    "seconds of the same file": (lambda cut, _: (cut, part(cut, 0.3, 0.4)), True),
    "a copy under another name": (lambda a, b: (same_samples(a), same_samples(b)), True),
    # 001_01 is the first utterance of many corpora.
    "equal ids of two corpora": (lambda a, b: (a, b.with_id(a.id)), False),
    # Train and dev of one programme meet at a cut.
    "the segment behind": (lambda cut, _: (part(cut, 0, 0.5), part(cut, 0.45, 0.5)), False),
    "the segment before": (lambda cut, _: (part(cut, 0.45, 0.5), part(cut, 0, 0.5)), False),
}


@pytest.mark.parametrize("how", TOUCHING)
def test_what_touches_a_test_set_is_refused(how: str, tmp_path: Path, cuts: list[Cut]) -> None:
    make, refused = TOUCHING[how]
    held, trained = make(cuts[0], cuts[1])
    write_cuts(tmp_path / "corpus", "dev", [held])
    told = rf"mine would train on 1 utterances of .*, split dev \({trained.id}\)"
    with pytest.raises(ValueError, match=told) if refused else nullcontext():
        refuse_held_out([trained], [tmp_path / "corpus"], "mine")


def test_protected_sets_are_refused(tmp_path: Path, corpus: Path, cuts: list[Cut]) -> None:
    """The folder of a test set is named; whatever list holds its audio is refused."""
    write_cuts(tmp_path / "mine", "train", [*cuts[:2], cuts[5]])
    with pytest.raises(ValueError, match=r"would train on 1 utterances of .*split test_clean"):
        opened(tmp_path, protect=[corpus.name])
    assert opened(tmp_path, allow=True, protect=[corpus.name]).utterances == 3
    assert opened(tmp_path).utterances == 3, "not protected, not known"


@pytest.mark.parametrize("split", ["dev", "test_clean"])
def test_a_source_may_not_be_a_test_split(tmp_path: Path, corpus: Path, split: str) -> None:
    """The plainest mistake: the wrong split of the right folder, on the command line too."""
    source = [{"folder": corpus.name, "split": split}]
    with pytest.raises(ValueError, match="allow_test_data"):
        opened(tmp_path, sources=source)
    assert opened(tmp_path, sources=source, allow=True).utterances == 2
    assert opened(tmp_path, sources=[{"folder": corpus.name}]).utterances == 2
    with pytest.raises(ValueError, match=f"split {split} would train on 2 utterances"):
        open_training(corpus, split, allow_test_data=False)
    assert open_training(corpus, split, allow_test_data=True).utterances == 2
    assert open_training(corpus, "train", allow_test_data=False).utterances == 2


def test_excluded_utterances_do_not_count(tmp_path: Path, corpus: Path, cuts: list[Cut]) -> None:
    """The way out that the message names must work."""
    write_cuts(tmp_path / "mine", "train", [cuts[0], cuts[5]])
    (tmp_path / "no.txt").write_text(f"{cuts[5].id}\n")
    assert opened(tmp_path, protect=[corpus.name], exclude=["no.txt"]).utterances == 1


def test_shards_are_checked_too(tmp_path: Path, corpus: Path, cuts: list[Cut]) -> None:
    """Shards know their files no more; ids, lengths and digests stay."""
    write_shards([cuts[0], cuts[4]], tmp_path / "shar", shard_cuts=2)
    source = [{"folder": "shar", "corpus": "shar"}]
    with pytest.raises(ValueError, match="would train on 1 utterances"):
        opened(tmp_path, sources=source, protect=[corpus.name])
    assert opened(tmp_path, sources=source, protect=[corpus.name], allow=True).utterances == 2


def test_protecting_what_is_no_folder_is_a_mistake(tmp_path: Path, cuts: list[Cut]) -> None:
    with pytest.raises(ValueError, match="nowhere holds no cuts"):
        refuse_held_out(cuts, [tmp_path / "nowhere"], "mine")


def test_one_iteration_that_may_not_binds_the_family() -> None:
    """On the command line one folder serves all iterations."""
    free = load_preset("harness_l_it1")
    free = replace(free, pretrain=replace(free.pretrain, allow_test_data=True))
    bound = replace(load_preset("harness_l_it1"), name="other")
    assert FamilyConfig(name="f", iterations=(free,)).allow_test_data
    assert not FamilyConfig(name="f", iterations=(free, bound)).allow_test_data
