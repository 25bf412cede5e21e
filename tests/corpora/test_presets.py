"""Every preset that lies in the folder: it parses, and a dataset of its columns prepares under it.

The datasets are made by `datasets` itself.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import datasets
import pytest

from harness_bench.core.config import build
from harness_bench.corpora import presets
from harness_bench.corpora.formats.hf_columns import PATH, groups_of
from harness_bench.corpora.formats.hf_files import our_split
from harness_bench.corpora.layouts.hf import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import store
from harness_bench.cuts.fields import fields_of
from tests.corpora.layouts.hf import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.parametrize("name", presets.available())
FACTS = {"licence", "revision", "files", "columns", "splits", "values"}
COLUMNS = ("id", "text", "speaker", "gender", "language", "label", "dialect", "emotion", "cluster")
ROWS = 4


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def test_says_where_it_is_from_and_what_was_seen(name: str) -> None:
    """A reader must know what to trust, and under which terms the data come."""
    preset = presets.get(name)
    assert re.fullmatch("[a-z][a-z0-9_]*", name)
    assert preset.homepage.startswith("https://") or not preset.homepage
    assert len(preset.licence) > 2
    assert preset.seen.keys() <= FACTS
    assert {"licence", "files", "columns", "splits"} <= preset.seen.keys()
    corpus = build(Corpus, preset.options, source=name)
    assert {*preset.values} <= {each.name for each in fields(Corpus)}
    ours = [each.rpartition(":")[2] or each for each in corpus.splits]
    assert {our_split(each) for each in ours} <= {"train", "dev", "test", "all"}
    assert preset.hub or preset.homepage
    assert len({*preset.examples}) == (ROWS if corpus.pattern else 0)
    for figure in preset.known.figures if preset.known else ():
        assert {*figure.splits} <= {"train", "dev", "test"}


def test_a_dataset_of_its_columns_prepares(name: str, tmp_path: Path) -> None:
    """Its options name the columns, configs and splits that it has, and nothing else."""
    preset = presets.get(name)
    corpus = build(Corpus, preset.options, source=name)
    chosen = {field: getattr(corpus, field) for field in COLUMNS}
    files = places(corpus)
    for number, file in enumerate(files):
        make(tmp_path / "in" / file, corpus, chosen, preset, number)
    report = prepare("hf", tmp_path / "in", tmp_path / "out", options={"preset": name}, jobs=1)
    assert report.kept == report.found == ROWS * len(files)
    wanted = {each.rpartition(":")[2] or each for each in corpus.splits}
    if wanted != {"all"} and not corpus.disjoint:
        assert {*report.splits} == wanted
    for split in store.splits(tmp_path / "out"):
        for cut in store.read_cuts(tmp_path / "out", split):
            said = fields_of(cut)
            for field, column in chosen.items():
                if field != "id" and column not in ("", "-"):
                    assert said[field], (field, said)
            if field_values := preset.values.get("dialect"):
                assert said["dialect"] in field_values.values()


def places(corpus: Corpus) -> list[str]:
    """Return the names of files for one config or two and every split."""
    if corpus.files:
        return [like.replace("*", "clean") for like in corpus.files]
    configs = ["Egypt", "Jordan"] if corpus.config == ("all",) else list(corpus.config) or ["data"]
    theirs = [each.partition(":")[0] for each in corpus.splits if each != "all"] or ["train"]
    return [f"{config}/{split}-00000-of-00001.parquet" for config in configs for split in theirs]


def make(
    path: Path, corpus: Corpus, chosen: dict[str, str], preset: presets.Preset, seed: int
) -> None:
    """Write a parquet file with the columns that a preset names."""
    groups = groups_of(corpus.pattern)
    table: dict[str, list[Any]] = {}
    for field, column in chosen.items():
        made_up = [f"{field}{seed}-{row}" for row in range(ROWS)]
        known = [*preset.values.get(field, {})] or made_up
        if column not in ("", "-", "config", PATH, *groups) and not column.startswith("="):
            table[column] = [known[(seed + row) % len(known)] for row in range(ROWS)]
    names = list(preset.examples) if groups else [f"{seed}_{row}.wav" for row in range(ROWS)]
    files = [
        {"bytes": encoded(10 * seed + row, kind="WAV"), "path": n} for row, n in enumerate(names)
    ]
    audio = corpus.audio or "audio"
    kinds = {column: datasets.Value("string") for column in table}
    features = datasets.Features({audio: datasets.Audio(sampling_rate=16_000), **kinds})
    made = datasets.Dataset.from_dict({audio: files, **table}).cast(features)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.to_parquet(path)
