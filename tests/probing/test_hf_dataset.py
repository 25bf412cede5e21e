"""A dataset that `datasets` wrote, prepared, audited, pretrained on and probed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import datasets
import numpy as np
import pytest
import soundfile

from harness_bench.corpora.prepare import prepare
from harness_bench.cuts.store import read_cuts
from harness_bench.leakage.audit import audit
from harness_bench.pretrain.family import train_family
from harness_bench.probing.probe import ProbeConfig, Subject, run_probe
from harness_bench.results.predictions import ClassPrediction, read_predictions
from tests.pretrain.conftest import written
from tests.tiny import DEFAULTS

if TYPE_CHECKING:
    from pathlib import Path

DIALECTS = {"EGY": 300, "GLF": 900, "LEV": 2_700}  # Hz of a tone
FAMILY = f"""{DEFAULTS}
[[iterations]]
name = "first"
labels = {{ source = "mfcc" }}
"""


def tones(rows: int, seed: int) -> datasets.Dataset:
    """Return encoded tones in noise, one for each dialect, by speakers of this split."""
    rng = np.random.default_rng(seed)
    audio, label = [], [row % len(DIALECTS) for row in range(rows)]
    for kind in label:
        times = np.arange(int(16_000 * rng.uniform(0.6, 0.9))) / 16_000
        wave = 0.3 * np.sin(2 * np.pi * [*DIALECTS.values()][kind] * rng.uniform(0.9, 1.1) * times)
        stream = io.BytesIO()
        soundfile.write(
            stream, wave + 0.05 * rng.standard_normal(len(times)), 16_000, format="FLAC"
        )
        audio.append({"bytes": stream.getvalue(), "path": "tone.flac"})
    features = datasets.Features({
        "audio": datasets.Audio(sampling_rate=16_000),
        "dialect": datasets.ClassLabel(names=[*DIALECTS]),
        "speaker_id": datasets.Value("string"),
    })  # fmt: skip
    speakers = [f"speaker{seed}-{row % 4}" for row in range(rows)]
    made = {"audio": audio, "dialect": label, "speaker_id": speakers}
    return datasets.Dataset.from_dict(made).cast(features)


@pytest.fixture(name="cuts", scope="module")
def _cuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the prepared folder of a dataset in parquet files."""
    folder = tmp_path_factory.mktemp("dataset")
    for split, rows in {"train": 30, "validation": 12, "test": 12}.items():
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        tones(rows, rows + len(split)).to_parquet(path)
    report = prepare("hf", folder, folder / "cuts", require=["dialect", "speaker"], jobs=1)
    assert report.splits["train"].labels == dict.fromkeys(DIALECTS, 10)
    assert [*report.splits] == ["train", "dev", "test"]
    assert report.speaker_disjoint
    return folder / "cuts"


def test_it_is_audited_and_pretrained_on(cuts: Path, tmp_path: Path) -> None:
    """Nothing leaks, also by its sound; and a family of one tiny model trains."""
    assert not audit([str(cuts)]).leaks
    made = train_family(
        written(tmp_path, FAMILY), read_cuts(cuts, "train"), tmp_path / "out", accelerator="cpu"
    )
    assert (made.checkpoints["first"] / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.s3prl
@pytest.mark.usefixtures("warm_python")
def test_its_dialects_are_learned(cuts: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Names of classes reach the head of the DID task; chance is a third."""
    config = ProbeConfig(total_steps=60, eval_step=20, learning_rate=3e-3, hidden=32)
    subject = Subject(
        upstream="harness_local", checkpoint=tiny_checkpoint, task="did", cuts=cuts,
        label_field=None,
    )  # fmt: skip
    outcome = run_probe(subject, tmp_path / "probe", config)
    rows = read_predictions(outcome.test_predictions, ClassPrediction)
    assert {row.truth for row in rows} == {*DIALECTS}
    assert sum(row.truth == row.pred for row in rows) > 0.6 * len(rows)
