"""What a pass has to do: every utterance once, in shards of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.asr.features import read_utterances
from harness_bench.models.features.plan import Utterance, check_room, divide, estimate
from harness_bench.models.types.hubert import hubert_shape
from tests.asr.dumps import write_dump
from tests.models.conftest import small_config

if TYPE_CHECKING:
    from pathlib import Path

ROWS = st.lists(st.integers(0, 400), min_size=1, max_size=60)


def utterances(rows: list[int]) -> list[Utterance]:
    return [Utterance(f"u{n}", "x.flac", count * 320 + 80, count) for n, count in enumerate(rows)]


@given(rows=ROWS, dim=st.sampled_from([1, 32]), limit=st.integers(1, 1000))
def test_shards_hold_every_row_once_and_are_bounded(rows: list[int], dim: int, limit: int) -> None:
    """Rows of a shard follow each other without a gap; only one long utterance exceeds it."""
    shards = divide(utterances(rows), dim, limit * dim * 2 / 2**20)
    assert [each.id for shard in shards for each in shard.utterances] == [
        f"u{number}" for number in range(len(rows))
    ]
    for shard in shards:
        ends = [first + each.stored for each, first in shard.firsts()]
        assert [first for _, first in shard.firsts()] == [0, *ends[:-1]]
        assert shard.rows == ends[-1]
        assert shard.rows <= limit or len(shard.utterances) == 1


def test_the_size_is_that_of_the_design() -> None:
    """300 h of 512 numbers of 16 bits are 55 GB."""
    hour = Utterance("u", "x.flac", 3600 * 16_000, 3600 * 50)
    text = estimate(divide([hour] * 300, 512, 256))
    assert "300 utterances, 300.00 h: 55.3 GB" in text
    assert "184 MB per hour" in text


def test_lengths_come_from_the_table_or_the_files(tmp_path: Path) -> None:
    """asr.sh's dumps have the table as ours do; a hand-made folder need not."""
    folder = write_dump(tmp_path)
    by_table = read_utterances(folder, hubert_shape(small_config()))
    (folder / "utt2num_samples").unlink()
    assert read_utterances(folder, hubert_shape(small_config())) == by_table
    assert by_table[0].rows == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u00 sox a.wav -t wav - |", "names 'sox a.wav"),
        ("u00 data/format.1/data_wav.ark:55", "no audio file.*single WAV or FLAC"),
        ("", "has no utterances"),
    ],
)
def test_what_is_no_audio_file_is_explained(tmp_path: Path, line: str, message: str) -> None:
    """Kaldi's folders may name commands and archives."""
    (tmp_path / "wav.scp").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_utterances(tmp_path, hubert_shape(small_config()))


def test_an_utterance_without_length_is_an_error(tmp_path: Path) -> None:
    """Left out, it would be missing from the training without a word."""
    folder = write_dump(tmp_path)
    (folder / "utt2num_samples").write_text("u00 300\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks utterance 'u01'"):
        read_utterances(folder, hubert_shape(small_config()))


def test_room_counts_what_will_be_deleted_first(tmp_path: Path) -> None:
    """Features made anew take the place of the old ones."""
    shards = divide(utterances([10**9]), 512, 256)  # a terabyte
    with pytest.raises(ValueError, match=r"1024.1 GB more for features"):
        check_room(tmp_path, shards, 0)
    check_room(tmp_path, shards, 2 * 10**12)
    check_room(tmp_path, [], 0)
