"""ESPnet on cached features: the same model as from audio, without the upstream in memory."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import soundfile as sf
import torch

from harness_bench.asr.config import words_of
from harness_bench.asr.espnet.register import register
from harness_bench.models.features.shards import FeatureReader
from harness_bench.models.frozen import FrozenUpstream
from tests.asr.dumps import job_of, written
from tests.asr.trainings import TOKENS, arguments, write_data

pytestmark = pytest.mark.espnet
LAST = "1epoch.pth"


def cached_arguments(data: Path, features: Path, checkpoint: Path, out: Path) -> list[str]:
    """Return the usual command line, with features for audio and a fixed choice of layers."""
    words = arguments(data, checkpoint, out, max_epoch=1, num_workers=1)
    audio, table = f"{data / 'wav.scp'},speech,sound", f"{features},speech,harness_features"
    assert words.count(audio) == 2
    return [table if word == audio else word for word in words] + ["--frontend_conf", "layers=mean"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("noise") / "data")


@pytest.fixture(scope="module")
def table(data: Path, tiny_checkpoint: Path) -> Path:
    """Cached features of all utterances, and the table of them."""
    written(job_of(tiny_checkpoint), data, data.parent / "features")
    return data.parent / "features" / "feats.scp"


@pytest.fixture(scope="module")
def trained(data: Path, table: Path, tiny_checkpoint: Path) -> Path:
    """Return the folder of one epoch by `asr_train`, in which the upstream cannot be loaded."""
    from espnet2.bin.asr_train import main  # noqa: PLC0415 - heavy

    register()
    out = data.parent / "asr"
    refused = AssertionError("the upstream was loaded")
    with torch.random.fork_rng(), patch.object(FrozenUpstream, "model", side_effect=refused):
        main(cached_arguments(data, table, tiny_checkpoint, out))
    return out


@pytest.fixture(scope="module")
def speech_to_text(trained: Path) -> Any:
    from espnet2.bin.asr_inference import Speech2Text  # noqa: PLC0415 - heavy

    return Speech2Text(trained / "config.yaml", trained / LAST, beam_size=2, maxlenratio=0.2)


def wave(data: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(sf.read(data / f"{name}.wav", dtype="float32")[0])


def log_probabilities(model: Any, speech: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return those of CTC (B, F, V) and of the decoder for one text (B, L, V)."""
    lengths = torch.tensor([len(row) for row in speech])
    padded = torch.nn.utils.rnn.pad_sequence(speech, batch_first=True)
    text = torch.tensor([[len(TOKENS) - 1, 2, 3, 4, 5]]).expand(len(speech), -1)
    with torch.no_grad():
        encoded, frames = model.encode(padded, lengths)
        out, _ = model.decoder(encoded, frames, text, torch.full((len(speech),), 5))
        valid = torch.arange(encoded.shape[1]) < frames[:, None]
        return model.ctc.log_softmax(encoded) * valid[..., None], out.log_softmax(-1)


def test_probabilities_are_those_from_audio(speech_to_text: Any, data: Path, table: Path) -> None:
    """Up to 16 bits: of encoder, CTC and decoder, for a batch of many lengths."""
    reader, model = FeatureReader(table), speech_to_text.asr_model
    online = log_probabilities(model, [wave(data, name) for name in reader])
    cached = log_probabilities(model, [torch.tensor(reader[name]).float() for name in reader])
    for one, other in zip(online, cached, strict=True):
        assert one.shape == other.shape
        assert not torch.equal(one, other)  # or one of them was taken for the other
        torch.testing.assert_close(other, one, atol=2e-4, rtol=0)


def test_a_model_trained_from_features_opens_on_audio(
    speech_to_text: Any, data: Path, table: Path
) -> None:
    """What users have is audio; the same words come of it and of the features."""
    reader = FeatureReader(table)
    for name in list(reader)[:3]:
        (text, *_), *_ = speech_to_text(wave(data, name))
        (again, *_), *_ = speech_to_text(torch.tensor(reader[name]))
        assert text == again


def test_a_foreign_cache_stops_the_training(
    data: Path, table: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Here of the same checkpoint but another layer; ESPnet itself sees only numbers."""
    from espnet2.tasks.asr import ASRTask  # noqa: PLC0415 - heavy

    register()
    command = cached_arguments(data, table, tiny_checkpoint, tmp_path / "asr")
    with torch.random.fork_rng(), pytest.raises(ValueError, match="configured for layers = 1 of"):
        ASRTask.main(cmd=[*command[:-1], "layers=1"])


@pytest.mark.slow
def test_the_whole_chain_runs_in_the_launcher(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Stage, training and both ways of decoding as a recipe calls them, in one process."""
    data, out, asr = write_data(tmp_path / "train"), tmp_path / "features", tmp_path / "asr"
    table = out / "train" / "feats.scp"
    stage = ["--checkpoint", tiny_checkpoint, "--layers", "mean", "--data", tmp_path]
    words: list[object] = ["-m", "harness_bench.asr.features", *stage]
    words += ["--out", out, "--splits", "train", "--then", "-m", "espnet2.bin.asr_train"]
    words += cached_arguments(data, table, tiny_checkpoint, asr)
    for name, source in (("audio", f"{data / 'wav.scp'},speech,sound"),
                         ("cache", f"{table},speech,harness_features")):  # fmt: skip
        words += ["--then", "-m", "espnet2.bin.asr_inference"]
        words += words_of(
            output_dir=tmp_path / name, asr_train_config=asr / "config.yaml",
            asr_model_file=asr / LAST, data_path_and_name_and_type=source, beam_size=2,
            batch_size=4, maxlenratio=0.2, ngpu=0,
        )  # fmt: skip
    command = [sys.executable, "-m", "harness_bench.asr.espnet.run", *map(str, words)]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    audio, cache = (tmp_path / name / "1best_recog" / "text" for name in ("audio", "cache"))
    assert len(audio.read_text(encoding="utf-8").splitlines()) == 8
    assert cache.read_bytes() == audio.read_bytes()
