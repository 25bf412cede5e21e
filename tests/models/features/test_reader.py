"""ESPnet's data type for cached features: in workers of both kinds, of no foreign model."""

from __future__ import annotations

import gc
import multiprocessing
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.models.features.reader import (
    HEAD_ROWS,
    FeatureReader,
    Made,
    check_sources,
    pack,
    unpack,
)
from tests.asr.dumps import job_of, write_dump, written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def table(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    data = write_dump(folder / "data")
    written(job_of(tiny_checkpoint), data, folder / "train")
    return folder / "train" / "feats.scp"


@pytest.fixture(autouse=True)
def no_others() -> None:
    """Readers of other tests would be taken for those of this training."""
    gc.collect()


def test_rows_are_read_where_the_table_says(table: Path) -> None:
    """Against numpy's own reading of the shards."""
    reader = FeatureReader(table)
    for line in table.read_text(encoding="utf-8").splitlines():
        name, shard, first, rows = line.split()
        whole = np.load(table.parent / shard)
        if int(rows):
            expected = unpack(whole[int(first) : int(first) + HEAD_ROWS + int(rows)])
            np.testing.assert_array_equal(reader[name], expected)
        assert reader[name].shape == (int(rows), 32)


def test_a_pickled_reader_carries_no_features(table: Path) -> None:
    """A spawned worker gets a pickle: 55 GB of maps would be written into it."""
    reader = FeatureReader(table)
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
    reader = FeatureReader(table)
    found = {name: values["speech"] for name, values in loader}
    assert list(found) == ["u03", "u07", "u09"]
    for name, values in found.items():
        assert values.dtype == torch.float32
        np.testing.assert_array_equal(values.numpy(), reader[name])


def test_features_of_another_model_are_refused(table: Path) -> None:
    """Of another checkpoint or choice of layers, whether training or development data."""
    reader = FeatureReader(table)
    check_sources(reader.made)
    for other in (Made("0" * 32, "mean"), Made(reader.made.checkpoint, 1)):
        with pytest.raises(ValueError, match=r"feats.scp were made of layers = 'mean'"):
            check_sources(other)
    del reader
    check_sources(Made("0" * 32, "mean"))  # What is read no longer is no longer looked at.


def test_readers_left_in_a_cycle_do_not_count(table: Path) -> None:
    """A chain of programs in one process may train on two checkpoints in turn."""
    cycle: dict[str, Any] = {"reader": FeatureReader(table)}
    cycle["self"] = cycle
    del cycle
    check_sources(Made("0" * 32, "mean"))


def test_unfinished_and_foreign_tables_are_explained(table: Path, tmp_path: Path) -> None:
    """feats.scp is also the name of Kaldi's own tables."""
    with pytest.raises(ValueError, match="has no finished features"):
        FeatureReader(tmp_path / "feats.scp")
    (tmp_path / "features.json").write_bytes((table.parent / "features.json").read_bytes())
    (tmp_path / "feats.scp").write_text("u00 raw_mfcc.1.ark:12\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"feats.scp:1: .*is not `utterance shard"):
        FeatureReader(tmp_path / "feats.scp")
    (tmp_path / "feats.scp").write_text("u00 feats-00000.npy 0 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"There is no .*feats-00000.npy"):
        FeatureReader(tmp_path / "feats.scp")["u00"]


SCALES = st.sampled_from([1e-6, 1e-3, 1.0, 300.0, 1e6])


@given(frames=st.integers(1, 30), scale=SCALES, offset=SCALES, seed=st.integers(0, 99))
def test_a_feature_is_within_half_a_step(
    frames: int, scale: float, offset: float, seed: int
) -> None:
    """A step is a 65534th of the dimension's own range, whatever the others' are."""
    noise = torch.randn(frames, 8, generator=torch.Generator().manual_seed(seed))
    features = noise * scale * torch.logspace(-2, 2, 8) + offset
    packed = pack(features)
    assert packed.shape == (HEAD_ROWS + frames, 8)
    assert packed.dtype == np.int16
    error = np.abs(unpack(packed) - features.numpy())
    reach = (features.amax(0) - features.amin(0)).numpy()
    assert (error <= 0.51 * reach / 65_534 + 4e-7 * features.abs().amax(0).numpy()).all()


def test_what_never_moves_is_kept_exactly() -> None:
    """One frame, or a dimension that the checkpoint does not use: no division by zero."""
    for features in (torch.tensor([[0.1, -3.0, 0.0]]), torch.full((5, 3), 0.3)):
        np.testing.assert_array_equal(unpack(pack(features)), features.numpy())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    """It would make every loss NaN, epochs later."""
    with pytest.raises(ValueError, match="infinite or NaN"):
        pack(torch.tensor([[1.0, value], [2.0, 3.0]]))
