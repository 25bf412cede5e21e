"""Features on disk: one shard of the right audio, read in workers of both kinds."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.asr.features import read_utterances
from harness_bench.models.features import shards
from harness_bench.models.types.hubert import hubert_shape
from tests.asr.dumps import SMALL, job_of, write_audio, write_dump, written
from tests.models.conftest import small_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(4000), 8_000, "at 8000 Hz; expected"),
        (np.zeros(4000), 48_000, "at 48000 Hz; expected"),
        (np.zeros((4000, 2)), 16_000, "4000 samples of 2 channels"),
        (np.zeros(4001), 16_000, "expected 4000 samples"),
        (np.full(4000, np.nan), 16_000, "has NaN"),
        (None, 0, r"a.wav cannot be read"),
    ],
)
def test_audio_that_is_not_as_planned_is_named(
    tmp_path: Path, samples: Any, rate: int, message: str
) -> None:
    """One in 150,000 files, hours into the pass: its rows would be wrong, or the next one's."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF nonsense")
    if samples is not None:
        sf.write(path, samples, rate, subtype="FLOAT")
    write_audio(tmp_path / "b.wav", 4000, seed=0)
    batch = [shards.AudioUtterance(name, str(tmp_path / f"{name}.wav"), 4000, 12) for name in "ab"]
    ((heard, audio, unheard),) = shards.read_ahead([batch], threads=1)
    assert (heard, [len(wave) for wave, _ in audio], [*unheard]) == (batch[1:], [4000], ["a"])
    assert re.search(message, unheard["a"])


@pytest.mark.parametrize("threads", [1, 3])
def test_audio_comes_in_order_and_with_its_batch(tmp_path: Path, threads: int) -> None:
    """Threads must not mix up whose audio is whose."""
    found, _ = read_utterances(write_dump(tmp_path), hubert_shape(small_config()))
    batches = shards.batches_of(shards.divide(found, 32, 1.0)[0], SMALL.batch_seconds)
    assert sorted(each.id for batch in batches for each in batch) == [each.id for each in found][1:]
    got = list(shards.read_ahead(batches, threads))
    assert [batch for batch, _, _ in got] == batches
    for batch, audio, unheard in got:
        assert not unheard
        assert [len(wave) for wave, _ in audio] == [each.samples for each in batch]
        assert [row[0] for _, row in audio] == [each.id for each in batch]


def test_a_shard_is_fresh_for_its_own_inputs_alone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Whatever says otherwise means: compute again."""
    data, out = write_dump(tmp_path / "data"), tmp_path / "out"
    written(job_of(tiny_checkpoint), data, out)
    found, _ = read_utterances(data, hubert_shape(small_config()))
    shard = shards.divide(found, 32, SMALL.shard_mb)[0]
    identity = '"identity": "'
    text = (out / "feats-00000.json").read_text(encoding="utf-8")
    made = text[text.index(identity) + len(identity) :].partition('"')[0]
    assert shards.is_fresh(out, shard, made)
    assert not shards.is_fresh(out, shard, "another")
    assert not shards.is_fresh(out, replace(shard, number=99), made)
    assert not shards.is_fresh(out, replace(shard, utterances=shard.utterances[:-1]), made)
    assert not shards.is_fresh(out, replace(shard, dim=16), made)
    os.utime(shard.utterances[1].path, (1, 1))
    assert shards.is_fresh(out, shard, made)
    write_audio(data / f"{shard.utterances[1].id}.flac", shard.utterances[1].samples, seed=7)
    assert not shards.is_fresh(out, shard, made)
    written(job_of(tiny_checkpoint), data, out)
    path = out / shard.name
    assert shards.is_fresh(out, shard, made)
    for broken in (path.read_bytes()[:-2], b""):
        path.write_bytes(broken)
        assert not shards.is_fresh(out, shard, made)


ROWS = st.lists(st.integers(0, 400), min_size=1, max_size=60)


def utterances(rows: list[int]) -> list[shards.AudioUtterance]:
    return [
        shards.AudioUtterance(f"u{n}", "x.flac", 320 * row + 80, row) for n, row in enumerate(rows)
    ]


@given(rows=ROWS, dim=st.sampled_from([1, 32]), limit=st.integers(1, 1000))
def test_shards_hold_every_row_once_and_are_bounded(rows: list[int], dim: int, limit: int) -> None:
    """Rows of a shard follow each other without a gap; only one long utterance exceeds it."""
    divided = shards.divide(utterances(rows), dim, limit * dim * 2 / 2**20)
    assert [each for shard in divided for each in shard.utterances] == utterances(rows)
    for shard in divided:
        ends = [first + each.stored for each, first in shard.firsts()]
        assert [first for _, first in shard.firsts()] == [0, *ends[:-1]]
        assert shard.rows == ends[-1]
        assert shard.rows <= limit or len(shard.utterances) == 1


def test_the_size_is_that_of_the_design() -> None:
    """300 h of 512 numbers of 16 bits are 55 GB."""
    hour = shards.AudioUtterance("u", "x.flac", 3600 * 16_000, 3600 * 50)
    text = shards.estimate(shards.divide([hour] * 300, 512, 256))
    assert "300 utterances, 300.00 h: 55.3 GB" in text
    assert "184 MB per hour" in text


def test_lengths_come_from_the_table_or_the_files(tmp_path: Path) -> None:
    """asr.sh's dumps have the table as ours do; a hand-made folder need not."""
    folder = write_dump(tmp_path)
    by_table = read_utterances(folder, hubert_shape(small_config()))
    (folder / "utt2num_samples").unlink()
    assert read_utterances(folder, hubert_shape(small_config())) == by_table
    assert by_table[0][0].rows == 0
    (folder / "u03.flac").write_bytes(b"")
    found, unheard = read_utterances(folder, hubert_shape(small_config()))
    assert len(found) == len(by_table[0]) - 1
    assert [*unheard] == ["u03"]


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("wav.scp", "u00 sox a.wav -t wav - |", "names 'sox a.wav"),
        ("wav.scp", "u00 data/format.1/data_wav.ark:55", "no audio file.*single WAV or FLAC"),
        ("wav.scp", "", "has no utterances"),
        ("utt2num_samples", "u00 300", "lacks utterance 'u01'"),
    ],
)
def test_unusable_tables_are_explained(tmp_path: Path, table: str, line: str, message: str) -> None:
    """Kaldi's folders may name commands and archives; no utterance gets lost without a word."""
    folder = write_dump(tmp_path)
    (folder / table).write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_utterances(folder, hubert_shape(small_config()))


def test_room_counts_what_will_be_deleted_first(tmp_path: Path) -> None:
    """Features made anew take the place of the old ones."""
    divided = shards.divide(utterances([10**9]), 512, 256)  # a terabyte
    with pytest.raises(ValueError, match=r"1.02 TB more for features"):
        shards.check_room(tmp_path, divided, 0)
    shards.check_room(tmp_path, divided, 2 * 10**12)
    shards.check_room(tmp_path, [], 0)


@pytest.fixture(scope="module")
def table(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    data = write_dump(folder / "data")
    written(job_of(tiny_checkpoint), data, folder / "train")
    return folder / "train" / "feats.scp"


def test_rows_are_read_where_the_table_says(table: Path) -> None:
    """Against numpy's own reading of the shards."""
    reader = shards.FeatureReader(table)
    for line in table.read_text(encoding="utf-8").splitlines():
        name, shard, first, rows = line.split()
        whole = np.load(table.parent / shard)
        if int(rows):
            expected = shards.unpack(whole[int(first) : int(first) + shards.HEAD_ROWS + int(rows)])
            np.testing.assert_array_equal(reader[name], expected)
        assert reader[name].shape == (int(rows), 32)


def test_a_pickled_reader_carries_no_features(table: Path) -> None:
    """A spawned worker gets a pickle: 55 GB of maps would be written into it."""
    reader = shards.FeatureReader(table)
    for name in reader:
        reader[name].sum()
    data = ForkingPickler.dumps(reader)
    assert len(data) < 3000
    again = ForkingPickler.loads(data)
    np.testing.assert_array_equal(again["u05"], reader["u05"])


@pytest.mark.espnet
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_espnets_dataset_gives_them_in_workers(table: Path, method: str) -> None:
    """Linux forks workers, other systems and some launchers spawn them."""
    from espnet2.train.dataset import ESPnetDataset  # noqa: PLC0415 - heavy

    from harness_bench.asr.espnet.register import register  # noqa: PLC0415

    register()
    dataset = ESPnetDataset([(str(table), "speech", "harness_features")])
    loader: Any = torch.utils.data.DataLoader(
        dataset, sampler=["u03", "u07", "u09"], batch_size=None, num_workers=1,
        multiprocessing_context=multiprocessing.get_context(method),
    )  # fmt: skip
    reader = shards.FeatureReader(table)
    found = {name: values["speech"] for name, values in loader}
    assert list(found) == ["u03", "u07", "u09"]
    for name, values in found.items():
        assert values.dtype == torch.float32
        np.testing.assert_array_equal(values.numpy(), reader[name])


def test_features_of_another_model_are_refused(table: Path) -> None:
    """Of another checkpoint or choice of layers, whether training or development data."""
    gc.collect()  # readers of other tests
    reader = shards.FeatureReader(table)
    shards.check_sources(reader.made)
    for other in (shards.Made("0" * 32, "mean"), shards.Made(reader.made.checkpoint, 1)):
        with pytest.raises(ValueError, match=r"feats.scp were made of layers = 'mean'"):
            shards.check_sources(other)
    cycle: dict[str, Any] = {"reader": reader}
    cycle["self"] = cycle
    del reader, cycle
    # A chain of programs in one process may train on two checkpoints in turn.
    shards.check_sources(shards.Made("0" * 32, "mean"))


def test_unfinished_and_foreign_tables_are_explained(table: Path, tmp_path: Path) -> None:
    """feats.scp is also the name of Kaldi's own tables."""
    with pytest.raises(ValueError, match="has no finished features"):
        shards.FeatureReader(tmp_path / "feats.scp")
    (tmp_path / "features.json").write_bytes((table.parent / "features.json").read_bytes())
    (tmp_path / "feats.scp").write_text("u00 raw_mfcc.1.ark:12\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"feats.scp:1: .*is not `utterance shard"):
        shards.FeatureReader(tmp_path / "feats.scp")
    (tmp_path / "feats.scp").write_text("u00 feats-00000.npy 0 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"There is no .*feats-00000.npy"):
        shards.FeatureReader(tmp_path / "feats.scp")["u00"]


SCALES = st.sampled_from([1e-6, 1e-3, 1.0, 300.0, 1e6])


@given(frames=st.integers(1, 30), scale=SCALES, offset=SCALES, seed=st.integers(0, 99))
def test_a_feature_is_within_half_a_step(
    frames: int, scale: float, offset: float, seed: int
) -> None:
    """A step is a 65534th of the dimension's own range, whatever the others' are."""
    noise = torch.randn(frames, 8, generator=torch.Generator().manual_seed(seed))
    features = noise * scale * torch.logspace(-2, 2, 8) + offset
    packed = shards.pack(features)
    assert packed.shape == (shards.HEAD_ROWS + frames, 8)
    assert packed.dtype == np.int16
    error = np.abs(shards.unpack(packed) - features.numpy())
    reach = (features.amax(0) - features.amin(0)).numpy()
    assert (error <= 0.51 * reach / 65_534 + 4e-7 * features.abs().amax(0).numpy()).all()


def test_what_never_moves_is_kept_exactly() -> None:
    """One frame, or a dimension that the checkpoint does not use: no division by zero."""
    for features in (torch.tensor([[0.1, -3.0, 0.0]]), torch.full((5, 3), 0.3)):
        np.testing.assert_array_equal(shards.unpack(shards.pack(features)), features.numpy())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    """It would make every loss NaN, epochs later."""
    with pytest.raises(ValueError, match="infinite or NaN"):
        shards.pack(torch.tensor([[1.0, value], [2.0, 3.0]]))
