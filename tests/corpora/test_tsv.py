"""Reading manifests: nothing of a row may be lost, moved to another column or invented."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.corpora.base import Skipped, Utterance, utterance_id
from harness_bench.corpora.layouts.tsv import ABSENT, Corpus

# All of Unicode that can stand in a line, U+2028, vowel signs and direction marks included.
CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\t\n\r\0"), min_size=1, max_size=12
).filter(lambda text: text.strip() == text and text not in ABSENT and "\ufeff" not in text)
ROW = st.fixed_dictionaries(
    {"path": CELL, "transcript": CELL | st.just("-"), "accent": CELL | st.just("")}
)


def read(root: Path, text: str | bytes) -> list[Utterance | Skipped]:
    data = text.encode() if isinstance(text, str) else text
    (root / "manifest.tsv").write_bytes(data)
    return list(Corpus().utterances(root))


@given(rows=st.lists(ROW, max_size=6), end=st.sampled_from(["\n", "\r\n"]))
def test_cells_survive_as_written(rows: list[dict[str, str]], end: str) -> None:
    """Quotes, exotic spaces and line separators in transcripts once glued or split rows."""
    columns = ["transcript", "path", "accent"]
    lines = ["\t".join(columns), *("\t".join(row[name] for name in columns) for row in rows)]
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), end.join(lines) + end)
    for item, row in zip(found, rows, strict=True):
        assert isinstance(item, Utterance)
        assert item.audio == Path(folder) / row["path"]
        assert item.text == (None if row["transcript"] == "-" else row["transcript"])
        assert item.custom == ({"accent": row["accent"]} if row["accent"] else {})


@given(relative=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_ids_have_no_space_and_no_slash(relative: str) -> None:
    """Other tools write one id and its text on a line, and files named by id."""
    found = utterance_id(relative)
    assert "/" not in found
    assert not any(sign.isspace() for sign in found)


@pytest.mark.parametrize(
    ("manifest", "split"),
    [
        ("\ufeffpath\tsplit\na.wav\ttest\n", "test"),  # spreadsheet programs write the mark
        ("path\na.wav\n", "train"),
        ("path\tsplit\na.wav\t-\n", ""),  # a row whose split was forgotten is not for training
    ],
)
def test_without_a_split_column_all_is_train(manifest: str, split: str, tmp_path: Path) -> None:
    """A byte order mark is no part of the first column."""
    (item,) = read(tmp_path, manifest)
    assert isinstance(item, Utterance)
    assert (item.id, item.split) == ("a", split)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("file\tsplit\na.wav\ttrain\n", "lacks path"),
        ("path\tsplit\tsplit\n", "repeats names"),
        ("path,split\na.wav,train\n", "lacks path"),
        ("path\tسؤال\n".encode("windows-1256"), "not UTF-8.*iconv"),
    ],
)
def test_an_unusable_manifest_says_why(text: str | bytes, message: str, tmp_path: Path) -> None:
    """The file, what stands there and the way out."""
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "manifest.tsv") in str(caught.value)
