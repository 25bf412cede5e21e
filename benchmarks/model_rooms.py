"""What each room makes of a checkpoint, against the model itself: the table of docs/models.md.

`python -m benchmarks.model_rooms` measures tiny random checkpoints of every type, and that a model
of transformers gives the hidden states of transformers.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile
import torch
from torch.nn.utils.rnn import pad_sequence

from harness_bench.audio.frames import SAMPLE_RATE, frame_count
from harness_bench.models import frozen

if TYPE_CHECKING:
    from torch import Tensor

LENGTHS = (16_000, 9_001, 4_000)  # samples


class Rooms(NamedTuple):
    """Largest differences to the model's own hidden states of each utterance alone."""

    batch: float  # in a padded batch
    upstream: float  # as `-u harness_local`
    teacher: float  # labels' features of one layer, at the nearest frames
    asr: float  # ESPnet's frontend on audio, mean of the layers
    cached: float  # features on disk, as a share of each dimension's range


def waves() -> list[Tensor]:
    """Return noise of a few lengths, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(length, generator=generator) for length in LENGTHS]


@torch.inference_mode()
def differences(path: Path, folder: Path) -> Rooms:
    """Open a checkpoint in every room; `folder` gets what features on disk need."""
    from harness_bench.pretrain.labels.features import HiddenSource, nearest_frames  # noqa: PLC0415
    from harness_bench.probing.s3prl.hub import harness_local  # noqa: PLC0415 - s3prl

    wavs = waves()
    model = frozen.load_backbone(path)
    alone = [model.encode([wav])[0] for wav in wavs]
    lengths = torch.tensor([*map(len, wavs)])
    samples = pad_sequence(wavs, batch_first=True)
    states, frames = model(samples, lengths)
    rows = [torch.stack([state[row, :count] for state in states])
            for row, count in enumerate(frames.tolist())]  # fmt: skip
    found = harness_local(str(path))(wavs)["hidden_states"]
    ours = [torch.stack([state[row, : each.shape[1]] for state in found])
            for row, each in enumerate(alone)]  # fmt: skip
    layer = min(1, model.shape.num_layers)
    labels = HiddenSource(path, layer, torch.device("cpu")).frames(samples, lengths)
    near = [each[layer, nearest_frames(model.shape, frame_count(len(wav)), each.shape[1])]
            for wav, each in zip(wavs, alone, strict=True)]  # fmt: skip
    means = [each.mean(0) for each in alone]
    return Rooms(
        _largest(rows, alone), _largest(ours, alone), _largest(labels, near),
        _asr(path, samples, lengths, means), _cached(path, wavs, means, folder),
    )  # fmt: skip


def _asr(path: Path, samples: Tensor, lengths: Tensor, means: list[Tensor]) -> float:
    from harness_bench.asr.espnet.frontend import HarnessFrontend  # noqa: PLC0415 - ESPnet

    features, frames = HarnessFrontend(path, layers="mean")(samples, lengths)
    return _largest([row[:n] for row, n in zip(features, frames.tolist(), strict=True)], means)


def _cached(path: Path, wavs: list[Tensor], means: list[Tensor], folder: Path) -> float:
    from harness_bench.asr import features  # noqa: PLC0415 - ESPnet's room
    from harness_bench.models.features.shards import TABLE, FeatureReader  # noqa: PLC0415

    data, names = folder / "data", [f"u{number}" for number in range(len(wavs))]
    data.mkdir(parents=True)
    for name, wav in zip(names, wavs, strict=True):
        soundfile.write(data / f"{name}.wav", wav.numpy(), SAMPLE_RATE, subtype="FLOAT")
    table = "".join(f"{name} {data / name}.wav\n" for name in names)
    (data / "wav.scp").write_text(table, encoding="utf-8")
    job = features.open_job(path, "mean", features.FeatureConfig(), torch.device("cpu"))
    features.make_features(job, data, folder / "features")
    kept = FeatureReader(folder / "features" / TABLE)
    shares = [
        (torch.from_numpy(np.array(kept[name])) - mean).abs() / (mean.amax(0) - mean.amin(0))
        for name, mean in zip(names, means, strict=True)
    ]
    return max(float(share.max()) for share in shares)


@torch.inference_mode()
def exported(path: Path, folder: Path) -> str:
    """Export a checkpoint as a float32 graph; return the largest difference, or a dash."""
    from harness_bench.deploy.run import export  # noqa: PLC0415 - onnx

    try:
        export(path, folder, "onnx")
    except ValueError:  # this kind has no graph, or is one
        return "-"
    models = frozen.load_backbone(folder), frozen.load_backbone(path)
    found, wanted = ([model.encode([wav])[0] for wav in waves()] for model in models)
    return f"{_largest(found, wanted):.1e}"


def _largest(found: list[Tensor], wanted: list[Tensor]) -> float:
    pairs = zip(found, wanted, strict=True)
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)


def main() -> None:
    """Print a table of Markdown, one type a row."""
    from tests.models.tiny_types import MAKERS  # noqa: PLC0415 - beside the package alone

    names = (*Rooms._fields, "onnx")
    print(f"| type | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for name, make in MAKERS.items():
        with tempfile.TemporaryDirectory() as made, contextlib.redirect_stderr(io.StringIO()):
            path = make(Path(made) / "model")
            if frozen.type_of(path).digest(path) is None:
                continue  # nothing of it is kept, and ESPnet has it as a frontend of its own
            cells = [f"{value:.1e}" for value in differences(path, Path(made) / "room")]
            cells.append(exported(path, Path(made) / "onnx"))
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
