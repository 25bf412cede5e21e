"""GigaSpeech: one huge JSON file, read item by item, held to lhotse's recipe."""

from __future__ import annotations

import io
import json
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.corpora.formats import raw_files
from harness_bench.corpora.layouts.gigaspeech import Corpus
from tests.corpora.trees import kept, left_out, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@contextmanager
def changed(root: Path) -> Iterator[list[Any]]:
    """Give out the list of recordings, and write it back."""
    path = root / "GigaSpeech.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    yield whole["audios"]
    path.write_text(json.dumps(whole), encoding="utf-8")


def test_reads_what_lhotse_reads(root: Path) -> None:
    """The recipe's parser is the oracle for ids, times, texts and files."""
    from lhotse.recipes.gigaspeech import parse_utterance  # noqa: PLC0415 - heavy

    whole = json.loads((root / "GigaSpeech.json").read_text(encoding="utf-8"))
    seen = {}
    for entry in whole["audios"]:
        parsed = parse_utterance(entry, root)
        assert parsed is not None
        recording, segments = parsed
        for each in segments:
            source = recording.sources[0].source
            seen[each.id] = (source, recording.id, each.start, each.duration, each.text)
    found = kept(Corpus().utterances(root))
    assert seen == {
        uid: (str(item.audio), item.custom["cluster"], item.start, item.duration, item.text)
        for uid, item in found.items()
    }


def test_fields_and_subsets(root: Path) -> None:
    """A smaller subset takes fewer training segments, and always DEV and TEST."""
    item = kept(Corpus().utterances(root))["POD0000000001_S0000000"]
    said = {"cluster": "POD0000000001", "genre": "podcast", "category": "People and Blogs"}
    assert item.custom == said
    assert item.speaker is None  # N/A is nobody
    splits = [item.split for item in kept(Corpus(subset="M").utterances(root)).values()]
    assert splits == ["train", "dev", "test"]


ODD_SEGMENTS: tuple[dict[str, Any], ...] = (
    {"sid": 7}, {"sid": "../x"}, {"text_tn": None},
    {"text_tn": "\ud800"},  # JSON can escape it, UTF-8 cannot hold it
    {"begin_time": -1}, {"end_time": 1e999}, {"end_time": True}, {"end_time": 0.0},
)  # fmt: skip
ODD_RECORDINGS: tuple[dict[str, Any], ...] = (
    {"aid": None}, {"path": "../../../etc/passwd"}, {"path": "/etc/passwd"}, {"path": "a\0b"},
    {"segments": {}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "reason", "left"),
    [
        *((fields, "bad row", 3) for fields in ODD_SEGMENTS),
        *((fields, "bad row", 2) for fields in ODD_RECORDINGS),
        ({"text_tn": "<MUSIC>  <NOISE>"}, "left out by the corpus's rule", 3),
    ],
)
def test_odd_entries_are_listed(fields: dict[str, Any], reason: str, left: int, root: Path) -> None:
    """One bad entry must not end the reading of ten thousand hours, nor lead out of the corpus."""
    with changed(root) as audios:
        (audios[0]["segments"][0] if left == 3 else audios[0]).update(fields)
    found = list(Corpus().utterances(root))
    assert list(left_out(found).values()) == [reason]
    assert len(kept(found)) == left
    assert all(item.audio.is_relative_to(root) for item in kept(found).values())


def test_without_subsets_a_segment_is_of_no_split(root: Path) -> None:
    """Training on what may be a test segment is worse than leaving it out."""
    with changed(root) as audios:
        audios[2].pop("subsets")
        audios[2]["segments"][0]["subsets"] = "{TEST}"
    assert left_out(Corpus().utterances(root)) == {"POD1000000004_S0000000": "bad row"}


@settings(max_examples=60)
@given(
    items=st.lists(JSON, max_size=8),
    before=st.dictionaries(st.text().filter(lambda key: key != "audios"), JSON, max_size=3),
    indent=st.sampled_from([None, 1]),
    chunk=st.integers(1, 40),
)
def test_a_list_is_read_as_the_whole_file_would_be(
    items: list[Any], before: dict[str, Any], indent: int | None, chunk: int
) -> None:
    """Python's own reader is the oracle, wherever the file is cut into pieces."""
    assert read(json.dumps({**before, "audios": items, "after": 1}, indent=indent), chunk) == items


def read(text: str, chunk: int) -> list[Any]:
    """Read a list from text, in pieces of at least `chunk` characters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_files, "_CHUNK", chunk)
        return list(raw_files._JsonText(io.StringIO(text), Path("test.json")).items("audios"))


@given(text=st.text('{}[]":, \n0aé\\', max_size=40), cut=st.integers(0, 60))
def test_broken_json_is_a_named_error(text: str, cut: int) -> None:
    """Whatever stands there, the outcome is the list or one message with the file's name."""
    whole = '{"a": [1, {"b": "c"}], "audios": [{"sid": "x"}, 2.5, "é"]}'
    for broken in (whole[:cut] + text, whole[:cut] + text + whole[cut:], text):
        try:
            read(broken, 7)
        except ValueError as error:
            assert "test.json: expected" in str(error)  # noqa: PT017 - both outcomes are right


def test_a_long_file_is_not_held_in_memory(tmp_path: Path) -> None:
    """The published file has gigabytes; 60 MB must pass in a few."""
    path = tmp_path / "GigaSpeech.json"
    entry = json.dumps({"filler": "x" * 3000})
    path.write_text('{"audios": [' + entry + 20_000 * f",{entry}" + "]}")
    tracemalloc.start()
    count = sum(1 for _ in raw_files.json_list(path, "audios"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_001
    assert peak < 20e6


def test_nesting_without_end_is_a_named_error(tmp_path: Path) -> None:
    """Deep nesting exhausts Python's stack; that too is the file's fault, not a crash."""
    (tmp_path / "GigaSpeech.json").write_text('{"audios": ' + "[" * 200_000)
    refused(Corpus(), tmp_path, r"GigaSpeech\.json: expected")
