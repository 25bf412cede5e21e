"""Known figures: files that can be read, speak of what corpora have, and agree with themselves."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from harness_bench import corpora
from harness_bench.core.config import build, load
from harness_bench.corpora.doctor import known

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(path.stem for path in known.file_of("any").parent.glob("*.toml"))


@pytest.mark.parametrize("name", [name for name in FILES if name != known.TABLE_1])
def test_figures_speak_of_their_corpus(name: str) -> None:
    """A split or option that the corpus has under another name would never be compared."""
    found = known.of_corpus(name)
    assert found is not None
    kind = corpora.get(name)
    for figure in found.figures:
        corpus = build(kind, figure.options, source=f"{name}.toml")
        assert set(figure.splits) <= set(corpus.splits)
        if figure.field is not None:
            field = figure.field.partition("_")[0]
            assert field in (inspect.getdoc(kind) or "")


@pytest.mark.parametrize("name", [name for name in FILES if name != known.TABLE_1])
def test_classes_sum_up_to_their_split(name: str) -> None:
    """A slip of the pen in one class would make a sound corpus look broken."""
    found = known.of_corpus(name)
    assert found is not None
    wholes = {
        (figure.splits, figure.what): figure.value for figure in found.figures if not figure.field
    }
    for figure in found.figures:
        # Of overlap only one of its two classes is known.
        if figure.values and figure.field != "overlap":
            total = sum(map(int, figure.values.values()))
            assert str(total) == wholes[figure.splits, figure.what]


def test_the_papers_table_is_of_corpora_there_are() -> None:
    rows = known.table_1().rows
    assert [row.data for row in rows] == ["QASR", "MGB2", "MGB3", "KSUEmotions", "ADI5"]
    assert {row.corpus for row in rows} <= set(corpora.available())


def test_nothing_is_known_of_a_folder() -> None:
    assert known.of_corpus("folder") is None
    assert known.of_corpus(known.TABLE_1) is None


HEAD = 'source = "x"\n[[figures]]\nsplits = ["train"]\nwhat = "hours"\n'
WRONG = {
    "nothing to compare": (HEAD, "either value or values"),
    "two things": (HEAD + 'value = "1"\nfield = "a"\nvalues = { b = "1" }', "either value or"),
    "no field": (HEAD + 'values = { b = "1" }', "need the field"),
    "no classes": (HEAD + 'value = "1"\nfield = "dialect"', "needs values"),
    "no number": (HEAD + 'value = "many"', "value"),
    "one split": (
        HEAD.replace("hours", "shared_clusters") + 'value = "1"', "shared_clusters takes two"
    ),
    "another word": (HEAD.replace("hours", "minutes") + 'value = "1"', "minutes"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_figure_that_is_none_is_refused(case: str, tmp_path: Path) -> None:
    """Users write such files too."""
    text, message = WRONG[case]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load(known.Known, path)
