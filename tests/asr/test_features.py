"""The pass that caches features: resumable to the bit, and never of other inputs than today's."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import soundfile as sf
import torch

from harness_bench.asr.config import words_of
from harness_bench.asr.features import FeatureConfig, Job, main, read_config, read_utterances
from harness_bench.asr.kaldi import read_skipped, read_table, write_table
from harness_bench.core.files import read_json
from harness_bench.models.features import shards
from harness_bench.models.features.shards import FeatureReader
from harness_bench.models.frozen import FixedFeatures, load_backbone
from tests.asr.dumps import SMALL, job_of, write_audio, write_dump, written
from tests.asr.trainings import other_checkpoint

type Pass = tuple[int, dict[str, bytes]]  # shards that were computed, and all files
KILLED = """
import os, signal, sys
from pathlib import Path
from harness_bench.models.features import shards
from tests.asr.dumps import job_of, written

compute, calls = shards._computed, []
def computed(*arguments):
    calls.append(1)
    if len(calls) == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return compute(*arguments)
shards._computed = computed
written(job_of(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dump(tmp_path_factory.mktemp("dump") / "train")


@pytest.fixture(scope="module")
def job(tiny_checkpoint: Path) -> Job:
    return job_of(tiny_checkpoint)


@pytest.fixture(scope="module")
def whole(job: Job, dump: Path, tmp_path_factory: pytest.TempPathFactory) -> Pass:
    """What an undisturbed pass leaves."""
    return written(job, dump, tmp_path_factory.mktemp("whole") / "train")


@pytest.mark.parametrize("layers", ["mean", 1, -1])
def test_rows_are_the_upstreams_features(
    tiny_checkpoint: Path, dump: Path, tmp_path: Path, layers: str | int
) -> None:
    """Every utterance alone, by the backbone itself, rounded to 16 bits.

    ESPnet batches by speech_shape; it and feats.scp must be of the same frames.
    """
    written(job_of(tiny_checkpoint, layers), dump, tmp_path)
    reader, backbone = FeatureReader(tmp_path / "feats.scp"), load_backbone(tiny_checkpoint)
    assert len(reader) == 14
    assert reader["u00"].shape == (0, 32)  # too short for a frame
    for name in [name for name in reader if name != "u00"]:
        wave = torch.from_numpy(sf.read(dump / f"{name}.flac", dtype="float32")[0])[None]
        with torch.no_grad():
            states, frames = backbone(wave, torch.tensor([wave.shape[1]]))
        expected = torch.stack(states).mean(0) if isinstance(layers, str) else states[layers]
        assert len(reader[name]) == int(frames[0])
        np.testing.assert_allclose(reader[name], expected[0], atol=2e-4)
    lines = (tmp_path / "speech_shape").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{name} {len(reader[name])},32" for name in sorted(reader)]
    sizes = [path.stat().st_size for path in tmp_path.glob("feats-*.npy")]
    assert len(sizes) > 2
    assert max(sizes) < 0.006 * 2**20 + 200


@pytest.mark.parametrize("step", range(9))
def test_a_pass_broken_off_anywhere_goes_on_to_the_same_bytes(
    job: Job, dump: Path, whole: Pass, tmp_path: Path, step: int
) -> None:
    """At any of its batches; whole shards are not computed again."""
    compute, calls = shards._computed, []

    def broken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > step:
            raise KeyboardInterrupt
        return compute(*arguments)

    with patch.object(shards, "_computed", broken), pytest.raises(KeyboardInterrupt):
        written(job, dump, tmp_path)
    assert not (tmp_path / "feats.scp").exists()
    done = len(list(tmp_path.glob("feats-*.json")))
    count, found = written(job, dump, tmp_path)
    assert found == whole[1]
    assert count == whole[0] - done


def test_a_killed_pass_goes_on_to_the_same_bytes(
    job: Job, tiny_checkpoint: Path, dump: Path, whole: Pass, tmp_path: Path
) -> None:
    """SIGKILL runs no clean-up code; what it leaves half-made must be gone at the end."""
    command = [sys.executable, "-c", KILLED, str(tiny_checkpoint), str(dump), str(tmp_path), "7"]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert list(tmp_path.glob(".partial-*"))
    assert list(tmp_path.glob("feats-*.json"))
    count, found = written(job, dump, tmp_path)
    assert found == whole[1]
    assert 0 < count < whole[0]
    assert not list(tmp_path.glob(".partial-*"))


def test_an_equal_pass_computes_nothing(job: Job, tmp_path: Path) -> None:
    """Nor does it touch the tables, on which later stages may depend by their times.

    A corpus that moved to another disk has new times of change and the same sound.
    """
    data, out = write_dump(tmp_path / "data"), tmp_path / "out"
    _, files = written(job, data, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix}
    assert written(job, data, out) == (0, files)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for path in data.glob("*.flac"):
        os.utime(path, (1, 1))
    assert written(job, data, out) == (0, files)


@pytest.mark.parametrize("change", ["layers", "checkpoint", "batch_seconds", "code"])
def test_other_features_replace_all(
    tiny_checkpoint: Path, dump: Path, tmp_path: Path, change: str
) -> None:
    """Mixed features of two models would train without an error."""
    count, _ = written(job_of(tiny_checkpoint), dump, tmp_path / "out")
    checkpoint = tiny_checkpoint
    if change == "checkpoint":
        checkpoint = other_checkpoint(tiny_checkpoint, tmp_path / "other")
    config = replace(SMALL, batch_seconds=2.0) if change == "batch_seconds" else SMALL
    other = job_of(checkpoint, 1 if change == "layers" else "mean", config)
    if change == "code":
        other = other._replace(facts={**other.facts, "code": "of tomorrow"})
    found = written(other, dump, tmp_path / "out")
    assert found == (count, written(other, dump, tmp_path / "fresh")[1])
    assert read_json(tmp_path / "out" / "features.json") == other.facts


def test_changed_audio_replaces_its_shard_alone(job: Job, tmp_path: Path) -> None:
    """A file of the same length with other sound is the case that no table shows."""
    data, out = write_dump(tmp_path / "data"), tmp_path / "out"
    count, before = written(job, data, out)
    path = data / "u05.flac"
    write_audio(path, sf.info(path).frames, seed=99)
    again, found = written(job, data, out)
    assert again == 1 < count
    (shard, *_) = FeatureReader(out / "feats.scp")._rows["u05"]
    assert [name for name in found if found[name] != before[name]] == [shard]
    assert found == written(job, data, tmp_path / "fresh")[1]


def test_audio_that_cannot_be_heard_is_left_out_alone(
    tiny_checkpoint: Path, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A night's pass must not end at one file of 150,000, nor hide it.

    The others have their features, an equal pass computes nothing, a mended file its shard alone.
    """
    data, out = write_dump(tmp_path / "data" / "train"), tmp_path / "out" / "train"
    count, before = written(job, data, out)
    sound = {name: (data / f"{name}.flac").read_bytes() for name in ("u03", "u05", "u06", "u09")}
    (data / "u03.flac").write_bytes(b"")
    (data / "u05.flac").write_bytes(sound["u05"][:-3000])
    lengths = {name: sf.info(data / f"{name}.flac").frames for name in ("u06", "u09")}
    sf.write(
        data / "u06.flac", np.full(lengths["u06"], np.nan), 16_000, format="WAV", subtype="FLOAT"
    )
    sf.write(data / "u09.flac", np.full(lengths["u09"] - 9, 0.1), 16_000)
    words = words_of(checkpoint=tiny_checkpoint, data=data.parent, out=out.parent, splits="train",
                     accelerator="cpu")  # fmt: skip
    with patch.object(sys, "argv", ["features", *words]), pytest.raises(SystemExit) as over:
        main()
    told = capsys.readouterr().err
    assert "4 utterances left out" in str(over.value)
    assert all(f"left out: {name}: " in told for name in sound)
    written(job, data, out)
    assert [*read_skipped(out)] == [*sound]
    reader = FeatureReader(out / "feats.scp")
    assert set(reader) == {f"u{number:02d}" for number in range(14)} - {*sound}
    assert len(read_table(out / "speech_shape")) == 10
    assert written(job, data, out)[0] == 0
    for name, content in sound.items():
        (data / f"{name}.flac").write_bytes(content)
    again, found = written(job, data, out)
    assert 0 < again < count
    assert found == before
    assert read_skipped(out) == {}


def test_without_a_table_of_lengths_a_file_that_was_cut_off_is_no_short_one(
    job: Job, tmp_path: Path
) -> None:
    """What is left of it has a length, too, which libsndfile tells."""
    sf.write(tmp_path / "whole.wav", np.full(16_000, 0.1), 16_000)
    sf.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:9000])
    (tmp_path / "text.wav").write_text("no audio")
    names = ("cut", "none", "text", "whole")
    write_table(tmp_path / "wav.scp", {name: str(tmp_path / f"{name}.wav") for name in names})
    heard, unheard = read_utterances(tmp_path, job.model.backbone.shape)
    assert [(each.id, each.samples) for each in heard] == [("whole", 16_000)]
    reasons = {"cut": "cut off", "none": "no samples", "text": "cannot be read"}
    assert unheard.keys() == reasons.keys()
    assert all(why in unheard[name] for name, why in reasons.items())


def test_utterances_that_left_or_came_are_not_mixed_up(job: Job, tmp_path: Path) -> None:
    """Every later utterance may move to another place, and surplus shards must go."""
    data, out = write_dump(tmp_path / "data"), tmp_path / "out"
    written(job, data, out)
    for count in (5, 14):
        write_dump(data, count)
        _, found = written(job, data, out)
        assert found == written(job, data, tmp_path / f"fresh{count}")[1]


def test_a_full_disk_is_seen_before_the_pass(job: Job, dump: Path, tmp_path: Path) -> None:
    """After a night of computing it would be too late."""
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with (
        patch("shutil.disk_usage", return_value=usage),
        pytest.raises(ValueError, match=r"MB more for features, but its disk has 1 kB"),
    ):
        written(job, dump, tmp_path)


def test_features_that_are_no_numbers_are_refused(job: Job, dump: Path, tmp_path: Path) -> None:
    """They would make every loss NaN, epochs later; here the file is named."""

    def broken(module: Any, _: Any, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames = torch.tensor([module.backbone.hubert.config.frames(int(n)) for n in lengths])
        return torch.full((len(lengths), int(frames.max()), 32), torch.inf), frames

    with (
        patch.object(FixedFeatures, "forward", broken),
        pytest.raises(ValueError, match=r"Utterance 'u.*': a feature is infinite"),
    ):
        written(job, dump, tmp_path)


@pytest.mark.slow
def test_several_processes_write_the_same_bytes(
    tiny_checkpoint: Path, dump: Path, whole: Pass, tmp_path: Path
) -> None:
    """The program itself, which starts them by torchrun; each writes its share of the shards."""
    config = tmp_path / "c.toml"
    config.write_text("batch_seconds = 1.5\nshard_mb = 0.006\n", encoding="utf-8")
    words = words_of(
        config=config, checkpoint=tiny_checkpoint, data=dump.parent, out=tmp_path / "out",
        splits=dump.name, accelerator="cpu", devices=2,
    )  # fmt: skip
    command = [sys.executable, "-m", "harness_bench.asr.features", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {name: (tmp_path / "out" / dump.name / name).read_bytes() for name in whole[1]}
    assert found == whole[1]


def test_the_config_is_read_strictly_from_both_forms(tmp_path: Path) -> None:
    """Our configs are TOML, ESPnet's YAML; a misspelt key must not be a default."""
    (tmp_path / "a.toml").write_text("shard_mb = 64\n", encoding="utf-8")
    (tmp_path / "a.yaml").write_text("shard_mb: 64\n", encoding="utf-8")
    found = [read_config(tmp_path / name) for name in ("a.toml", "a.yaml")]
    assert found == [FeatureConfig(shard_mb=64.0)] * 2
    (tmp_path / "b.yaml").write_text("shard_gb: 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="unknown key 'shard_gb'; did you mean shard_mb"):
        read_config(tmp_path / "b.yaml")
