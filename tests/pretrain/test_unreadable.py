"""An utterance that cannot be read ends neither labels nor training: it is left out and listed."""

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from lhotse.cut import Cut

from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import read_json, read_jsonl
from harness_bench.cuts.shar import open_shards, write_shards
from harness_bench.pretrain.data.cut_source import CutList, ShardedCuts
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.trainer import pretrain
from harness_bench.pretrain.validation import ValidSet
from tests.pretrain.conftest import LABELS, Train, equal, small_step
from tests.pretrain.labels.conftest import make_cuts

LENGTHS = [int(length) for length in np.random.default_rng(2).integers(9_000, 30_000, size=16)]
FABRIC = make_fabric(accelerator="cpu")


@pytest.fixture
def audio(tmp_path: Path) -> list[Cut]:
    return make_cuts(tmp_path / "audio", LENGTHS)


def spoil(cuts: list[Cut]) -> set[str]:
    """Cut a file off, delete one, fill one with NaN; return their ids."""
    cut_off, gone, broken = (Path(cut.recording.sources[0].source) for cut in cuts[3:6])
    cut_off.write_bytes(cut_off.read_bytes()[:60])
    gone.unlink()
    sf.write(broken, np.full(LENGTHS[5], np.nan, dtype=np.float32), 16_000, subtype="FLOAT")
    return {cut.id for cut in cuts[3:6]}


def listed(folder: Path) -> set[str]:
    lines = (folder / "skipped.0.tsv").read_text().splitlines()
    assert lines[0] == "id\treason"
    return {line.split("\t")[0] for line in lines[1:]}


def test_labels_leave_them_out(audio: list[Cut], tmp_path: Path) -> None:
    """Their row is empty; the others' labels are those of a corpus without them."""
    bad = spoil(audio)
    good = [cut for cut in audio if cut.id not in bad]
    found = make_labels(audio, tmp_path / "all", LABELS)
    alone = make_labels(good, tmp_path / "good", LABELS)
    assert listed(tmp_path / "all") == bad
    assert not (tmp_path / "good" / "skipped.0.tsv").exists()
    assert {cut.id for cut in audio if not len(found.of(cut))} == bad
    assert all(found.of(cut).tolist() == alone.of(cut).tolist() for cut in good)
    reports = [read_json(tmp_path / name / "report.json") for name in ("all", "good")]
    assert reports[0]["frames"] == reports[1]["frames"]
    twins = [audio[3].with_id(f"bad{number}") for number in range(11)]
    with pytest.raises(ValueError, match="more than max_skipped"):
        make_labels(twins, tmp_path / "no", LABELS, max_skipped=0.1)


@pytest.mark.parametrize("when", ["before the labels", "after the labels"])
def test_training_leaves_them_out(audio: list[Cut], tmp_path: Path, when: str) -> None:
    """Whichever of the two met them first; the run ends as one whose disk was whole."""
    bad = spoil(audio) if when == "before the labels" else set()
    labels = make_labels(audio, tmp_path / "labels", LABELS)
    bad = bad or spoil(audio)
    step = small_step(max_update=12)
    pretrain(step, audio, labels, tmp_path / "run", fabric=FABRIC)
    assert listed(tmp_path / "run") == bad
    workers = replace(step, pretrain=replace(step.pretrain, num_workers=2))
    other = pretrain(workers, audio, labels, tmp_path / "workers", fabric=FABRIC)
    assert equal(tmp_path / "run" / "checkpoint", other)


def test_sharded_audio_is_left_out_too(audio: list[Cut], tmp_path: Path) -> None:
    """A FLAC of which bytes are lost within its tar; the tar itself is whole."""
    write_shards(audio, tmp_path / "shar", shard_cuts=4)
    tar_file = min((tmp_path / "shar").glob("recording.*.tar"))
    with tarfile.open(tar_file) as tar:
        member = next(each for each in tar if each.name.endswith(".flac"))
    with tar_file.open("r+b") as stream:
        stream.seek(member.offset_data)
        stream.write(bytes(member.size))
    bad = {Path(member.name).stem}
    source = ShardedCuts(open_shards(tmp_path / "shar"))
    labels = make_labels(source, tmp_path / "labels", LABELS)
    pretrain(small_step(), source, labels, tmp_path / "run", fabric=FABRIC)
    assert listed(tmp_path / "labels") == listed(tmp_path / "run") == bad


def test_nothing_left_is_an_error(audio: list[Cut], tmp_path: Path) -> None:
    """Not an endless search for a first batch."""
    labels = make_labels(audio[:8], tmp_path / "labels", LABELS)
    shutil.rmtree(tmp_path / "audio")
    with pytest.raises(ValueError, match=r"none of 8 utterances.*can be read"):
        pretrain(small_step(), audio[:8], labels, tmp_path / "run", fabric=FABRIC)


def test_validation_leaves_them_out(train: Train, audio: list[Cut], tmp_path: Path) -> None:
    """Held-out utterances too."""
    labels = make_labels(audio, tmp_path / "labels", LABELS)
    bad = spoil(audio)
    step = small_step(validate_interval_updates=6)
    train(step, tmp_path / "run", valid=ValidSet(CutList(audio), labels))
    assert listed(tmp_path / "run") == bad
    assert [row["update"] for row in read_jsonl(tmp_path / "run" / "valid.jsonl")] == [6, 12]


def test_a_run_that_is_replaced_takes_its_list_along(audio: list[Cut], tmp_path: Path) -> None:
    """Or the new run would claim what another one met."""
    labels, run = make_labels(audio, tmp_path / "labels", LABELS), tmp_path / "run"
    bad = spoil(audio)
    pretrain(small_step(), audio, labels, run, fabric=FABRIC)
    assert listed(run) == bad
    good = [cut for cut in audio if cut.id not in bad]
    pretrain(small_step(), good, labels, run, fabric=FABRIC, restart=True)
    assert not (run / "skipped.0.tsv").exists()
