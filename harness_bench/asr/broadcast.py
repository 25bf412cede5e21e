"""QASR, MGB-2 and MGB-3 in the ASR recipe: from the corpora as they came to data folders.

Sets are called CORPUS_SPLIT; without a corpus, QASR's are meant.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.asr import stages
from harness_bench.asr.data.sets import prepare_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness_bench.asr.config import BroadcastConfig

CORPORA = ("mgb3", "mgb2", "qasr")  # the one that takes hours comes last


def corpus_of(name: str) -> str:
    """Return the corpus of a set: what stands before `_`, or qasr."""
    before, divided, _ = name.partition("_")
    return before if divided and before in CORPORA else "qasr"


def split_of(name: str) -> str:
    """Return the split of its corpus that a set is."""
    return name.removeprefix(f"{corpus_of(name)}_")


def splits_of(corpus: str, train_hours: str) -> tuple[str, ...]:
    """Return the splits of a corpus as stage 1 prepares it."""
    if corpus == "mgb2":
        return ("train", "dev", "test", "dev_overlap", "test_overlap")
    if corpus == "mgb3":
        return ("adapt", "dev", "test")
    return ("train", "dev", "test", *(("dev_official",) if float(train_hours) else ()))


def complete(config: BroadcastConfig) -> BroadcastConfig:
    """Fill in where the cuts are and which sets `auto` means; check the sets' names and folders.

    Raises:
        ValueError: no test set, a set that no corpus has, or no folder of a corpus to prepare.
    """
    cuts, tests = config.cuts or f"{config.expdir}/cuts", config.test_sets
    if tests == ("auto",):
        both = ("mgb2", "mgb3")
        given = [name for name in both if getattr(config, name) or Path(cuts, name).is_dir()]
        tests = tuple(f"{name}_test" for name in given)
        if not tests:
            raise ValueError(
                "--mgb2 DIR or --mgb3 DIR is missing; or name --test_sets, such as qasr_test"
            )
    names = (config.train_set, config.valid_set, *tests)
    if odd := [name for name in names if not re.fullmatch(r"[A-Za-z0-9_]+", name)]:
        raise ValueError(f"set {odd[0]!r}: expected CORPUS_SPLIT, or a split of QASR")
    for name in names if config.runs(1) else ():
        _check_set(name, config)
    return replace(config, cuts=cuts, test_sets=tests)


def _check_set(name: str, config: BroadcastConfig) -> None:
    corpus, split = corpus_of(name), split_of(name)
    if split not in (known := splits_of(corpus, config.train_hours)):
        raise ValueError(
            f"set {name!r}: {corpus} has no split {split!r}; it has: {' '.join(known)}"
        )
    folder = getattr(config, corpus)
    if not folder:
        raise ValueError(f"--{corpus} DIR is missing; --stage 2 goes on with prepared data")
    if not Path(folder).is_dir():
        raise ValueError(f"--{corpus} {folder}: there is no such folder")


def prepare(
    names: Sequence[str], config: BroadcastConfig, data: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the steps of stage 1: each corpus that some set is of, then the data folders.

    Args:
        names: of the sets.
        config: says where the corpora are.
        data: gets the data folders.
    """
    cuts = Path(config.cuts).resolve()
    wanted = {corpus_of(name) for name in names}
    options = {
        "qasr": {
            "train_hours": config.train_hours,
            "dev_hours": config.dev_hours,
            "seed": str(config.split_seed),
        },
        # 1,200 h that most runs do not need
        "mgb2": {"train": str("mgb2_train" in names).lower()},
        "mgb3": {},
    }
    for corpus in CORPORA:
        if corpus in wanted:
            yield corpus, partial(
                prepare_once, corpus, Path(getattr(config, corpus)).resolve(), cuts / corpus,
                options[corpus], max_skipped=config.max_skipped, jobs=config.nj,
                audio=config.audio_check,
            )  # fmt: skip
    specs = [f"{name}={cuts / corpus_of(name)}:{split_of(name)}" for name in names]
    yield "data folders", partial(stages.data_folders, specs, data, config.text_profile)
