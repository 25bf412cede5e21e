"""Shards must be another form of the same data: same audio, same labels, same training."""

import json
import random
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse.cut import Cut

from harness_bench.audio.frames import frame_count
from harness_bench.audio.io import load_samples
from harness_bench.core.fabric import make_fabric
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts.fields import with_custom
from harness_bench.cuts.shar import (
    INDEX,
    ShardReader,
    labels_path,
    open_shards,
    read_metadata,
    read_shards,
    write_shards,
    writing_shards,
)
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.pretrain.data.cut_source import CutList, ShardedCuts
from harness_bench.pretrain.data.sources import open_folder
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.store import Labels, ShardLabels
from harness_bench.pretrain.trainer import pretrain
from tests.corpora.test_fuzz import change_bytes, limited, rename
from tests.pretrain.conftest import LABELS, batches_of_block, small_step
from tests.pretrain.labels.conftest import make_cuts


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> list[Cut]:
    rng = np.random.default_rng(3)
    lengths = [int(length) for length in rng.integers(5_000, 30_000, size=14)]
    return make_cuts(tmp_path_factory.mktemp("audio"), lengths)


@pytest.fixture(scope="module")
def folder(cuts: list[Cut], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shar")
    write_shards(cuts, out, shard_cuts=4)
    return out


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Return a copy that may be damaged."""
    return shutil.copytree(folder, tmp_path / "shar")


@pytest.fixture
def source(folder: Path) -> ShardedCuts:
    return ShardedCuts(open_shards(folder))


def test_shards_hold_everything_once(cuts: list[Cut], source: ShardedCuts) -> None:
    """FLAC keeps 16 bits, as nearly every corpus has them.

    A path that the reader adds to a cut could not be written into a manifest again.
    """
    assert (source.utterances, len(source.shards)) == (14, 4)
    assert source.hours == pytest.approx(CutList(cuts).hours)
    by_id = {cut.id: cut for cut in cuts}
    found = [cut for part in source.parts() for cut in part.load()]
    assert sorted(cut.id for cut in found) == sorted(by_id)
    for cut in found:
        np.testing.assert_allclose(cut.load_audio(), by_id[cut.id].load_audio(), atol=2**-15)
    for cut in [*read_metadata(source.shards), *read_shards(source.shards)]:
        assert cut.custom == by_id[cut.id].custom


def test_single_utterances_are_read(source: ShardedCuts, folder: Path, tmp_path: Path) -> None:
    """In any order, what reading one after the other gives, labels and all."""
    labels = make_labels(source, tmp_path, LABELS)
    for number, shard in enumerate(source.shards):
        expected = list(read_shards([shard]))
        reader = ShardReader(shard, labels_path(tmp_path, number))
        for place, cut in reversed(list(enumerate(read_metadata([shard])))):
            found = reader.read(cut, place)
            np.testing.assert_array_equal(found.load_audio(), expected[place].load_audio())
            assert len(labels.of(found)) == frame_count(found.num_samples)
            assert "shar" not in str(found.recording.sources[0].type)
        with pytest.raises(ValueError, match=r"recording\.00000\d\.tar"):
            reader.read(cut, 1)  # of the first cut: another's audio
        reader.close()
    assert folder.is_dir()


def test_every_frame_has_a_label_in_the_field(
    cuts: list[Cut], source: ShardedCuts, tmp_path: Path
) -> None:
    """One field more beside the audio; a label for every frame."""
    config = replace(LABELS, fit_hours=1000.0)
    of_shards = make_labels(source, tmp_path / "shards", config)
    assert isinstance(of_shards, ShardLabels)
    assert len(of_shards) == 14
    again = rows(of_shards, source)
    labelled = sum(len(row) for row in again.values())
    assert labelled == sum(map(len, of_shards.rows()))
    # k-means saw the frames in another order, so its clusters have other numbers and borders.
    of_list = make_labels(CutList(cuts), tmp_path / "list", config)
    counts = {cut.id: len(of_list.of(cut)) for cut in cuts}
    assert {name: len(row) for name, row in again.items()} == counts


def test_a_killed_label_pass_goes_on(source: ShardedCuts, tmp_path: Path) -> None:
    """Files of labels that are there stay; only the missing one is made, with equal labels."""
    labels = make_labels(source, tmp_path, LABELS)
    files = sorted(tmp_path.glob("labels.*.tar"))
    before, times = rows(labels, source), [path.stat().st_mtime_ns for path in files]
    files[2].unlink()
    (tmp_path / "report.json").unlink()
    again = make_labels(source, tmp_path, LABELS)
    assert rows(again, source) == before
    made = [path.stat().st_mtime_ns != time for path, time in zip(files, times, strict=True)]
    assert made == [False, False, True, False]


def rows(labels: Labels, source: ShardedCuts) -> dict[str, list[int]]:
    """Return utterance -> labels as training reads them."""
    cuts = labels.attached(source).shuffled(0)
    return {str(cut.id): labels.of(cut).tolist() for cut in cuts}


def test_training_from_shards_resumes_bit_equal(source: ShardedCuts, tmp_path: Path) -> None:
    """Batches after a resume are those of the unbroken run, shard order and all."""
    labels = make_labels(source, tmp_path / "labels", LABELS)
    config = small_step().pretrain
    whole = batches_of_block(source, labels, config, block=1)
    rest = batches_of_block(source, labels, config, block=1, taken=2)
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole[2:]]
    assert all((a.labels == b.labels).all() for a, b in zip(rest, whole[2:], strict=True))
    fabric = make_fabric(accelerator="cpu")
    folder = pretrain(small_step(max_update=3), source, labels, tmp_path / "run", fabric=fabric)
    assert (folder / "model.safetensors").is_file()


def test_labels_of_other_shards_are_refused(
    cuts: list[Cut], source: ShardedCuts, tmp_path: Path
) -> None:
    labels = make_labels(source, tmp_path / "labels", LABELS)
    write_shards(cuts, tmp_path / "other", shard_cuts=2)
    with pytest.raises(ValueError, match="labels of 4 shards, which these cuts are not"):
        labels.attached(ShardedCuts(open_shards(tmp_path / "other")))


def test_a_whole_folder_is_left_alone_and_a_torn_one_is_not(
    cuts: list[Cut], tmp_path: Path
) -> None:
    """Thousands of hours are not written twice; half of them are not taken for all."""
    write_shards(cuts, tmp_path, shard_cuts=4)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_shards(cuts, tmp_path, shard_cuts=4)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(write_shards(cuts, tmp_path, shard_cuts=2)) == 7
    mended = [with_custom(cut, audio_digest="mended") for cut in cuts]
    write_shards(mended, tmp_path, shard_cuts=2)
    found = next(read_metadata(open_shards(tmp_path))).custom or {}
    assert found["audio_digest"] == "mended"
    (tmp_path / "recording.000001.tar").unlink()
    assert len(write_shards(cuts, tmp_path, shard_cuts=4)) == 4


def test_float_audio_is_not_clipped(tmp_path: Path) -> None:
    """FLAC holds [-1, 1]; what is beyond is kept too, and the rest to half a step of 16 bits."""
    rng, folder = np.random.default_rng(0), tmp_path / "in"
    folder.mkdir()
    for name, peak in (("hot", 3.0), ("usual", 0.9), ("stereo", 1.5)):
        wave = rng.uniform(-peak, peak, (8_000, 2 if name == "stereo" else 1))
        soundfile.write(folder / f"{name}.wav", wave, 16_000, subtype="FLOAT")
    prepare("folder", folder, tmp_path / "cuts")
    before = {cut.id: cut for cut in read_cuts(tmp_path / "cuts", "train")}
    write_shards([*before.values()], tmp_path / "shar", shard_cuts=2)
    for cut in read_shards(open_shards(tmp_path / "shar")):
        error = np.abs(load_samples(cut) - load_samples(before[cut.id])).max()
        assert error == 0 if cut.id != "usual" else error <= 0.5 / 32_768 + 1e-9


def test_foreign_shards_need_no_index(copy: Path, tmp_path: Path) -> None:
    """Shards that another tool wrote are counted on the way."""
    (copy / INDEX).unlink()
    opened = open_folder(copy, "train")
    assert isinstance(opened, ShardedCuts)
    assert opened.utterances == 14
    (copy / "recording.000003.tar").unlink()
    with pytest.raises(ValueError, match="no audio for shard 000003"):
        open_shards(copy)
    with pytest.raises(ValueError, match="holds no cuts"):
        open_folder(tmp_path, "train")


@pytest.mark.parametrize("kept", [0, 700, 40_000])
def test_a_torn_shard_is_named(copy: Path, kept: int) -> None:
    """Lhotse ends at the last whole entry of a tar and says nothing: cuts would be lost."""
    tear(copy / "recording.000002.tar", kept)
    with pytest.raises(ValueError, match=r"recording\.000002\.tar"):
        list(read_shards(open_shards(copy)))


def tear(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])


def test_a_shard_of_whole_entries_that_lacks_some_is_named(copy: Path) -> None:
    path = copy / "recording.000001.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[2]
    path.write_bytes(path.read_bytes()[: last.offset] + b"\0" * 1024)
    with pytest.raises(ValueError, match="holds 1 utterances where 4 are expected"):
        list(read_shards(open_shards(copy)))


def test_torn_labels_are_named(source: ShardedCuts, tmp_path: Path) -> None:
    """Sharding the corpus again would not mend them."""
    make_labels(source, tmp_path, LABELS)
    tear(tmp_path / "labels.000001.tar", 700)
    with pytest.raises(ValueError, match=r"labels\.000001\.tar.*make them in another folder"):
        list(source.with_labels(tmp_path).shuffled(0))


def test_writing_cut_off_is_refused(cuts: list[Cut], tmp_path: Path) -> None:
    """Half of the shards of a corpus must not be taken for a corpus."""

    def half() -> None:
        with writing_shards(tmp_path, 4) as write:
            for cut in cuts[:9]:
                write(cut)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    with pytest.raises(ValueError, match="cut off"):
        open_shards(tmp_path)
    assert len(write_shards(cuts, tmp_path, shard_cuts=4)) == 4


def test_damage_ends_in_a_named_error_or_in_all_cuts(tmp_path: Path) -> None:
    """No cut is lost in silence, and lhotse's own errors tell no user which file is broken."""
    read, good = 0, tmp_path / "good"
    write_shards(make_cuts(tmp_path, [*range(3_000, 4_600, 200)]), good, shard_cuts=3)
    for seed in range(150):
        rng, root = random.Random(seed), tmp_path / "shar"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(good, root)
        for _ in range(rng.randint(1, 3)):
            rng.choice((change_bytes, change_bytes, rename))(root, rng)
        with limited():
            try:
                shards = open_shards(root)
                expected = sum(shard.utterances for shard in shards)
                assert len(list(read_shards(shards))) == expected, seed
                assert len(list(read_metadata(shards))) == expected, seed
                read += 1
            except ValueError as error:
                assert type(error) is ValueError, (seed, error)  # noqa: PT017 - not all are errors
                assert str(root) in str(error), (seed, error)  # noqa: PT017 - as above
    assert 0 < read < 150


TYPES = [{"number": 0, "utterances": "3", "hours": {}, "digest": ""}]


@pytest.mark.parametrize("index", [{}, [1], [{}], None, TYPES])
def test_an_index_of_another_shape_is_named(copy: Path, index: object) -> None:
    (copy / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=f"{INDEX} is no index of shards"):
        open_shards(copy)


BREAKS: dict[str, Callable[[Path], object]] = {
    "torn audio": lambda root: tear(root / "recording.000001.tar", 900),
    "no audio": lambda root: (root / "recording.000001.tar").unlink(),
    "torn cuts": lambda root: (root / "cuts.000001.jsonl.gz").write_bytes(b"\x1f\x8b"),
    "fewer shards": lambda root: (root / "cuts.000002.jsonl.gz").unlink(),
    "another index": lambda root: (root / INDEX).write_text("{}"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_sharding_again_mends(
    how: str, cuts: list[Cut], copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what every message about broken shards advises."""
    BREAKS[how](copy)
    found = write_shards(cuts, copy, shard_cuts=4)
    assert "is damaged and is written again" in capsys.readouterr().err
    assert {cut.id for cut in read_shards(found)} == {cut.id for cut in cuts}


def test_prepared_cuts_stay(cuts: list[Cut], tmp_path: Path) -> None:
    """`harness-bench shard cuts/x cuts/x` must not cost a corpus that took a day to prepare."""
    write_cuts(tmp_path / "both", "train", cuts)
    with pytest.raises(ValueError, match=r"both holds .*cuts\.train\.jsonl\.gz"):
        write_shards(cuts, tmp_path / "both")
    assert len(read_cuts(tmp_path / "both", "train")) == len(cuts)
