"""Exported graphs (`harness-bench export --to onnx`, `onnx-int8`) as frozen upstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from harness_bench.models.frozen import FrozenModel, ModelShape, ModelType
from harness_bench.models.runtime import CONFIG, FRAMES, GRAPH, MODEL_TYPE, Graph, read_config

if TYPE_CHECKING:
    from pathlib import Path


class OnnxModel(FrozenModel):
    """A graph run by onnxruntime on the CPU, whatever device the audio is on."""

    def __init__(self, path: Path) -> None:
        super().__init__(_shape(path))
        self.graph = Graph(path, "upstream", torch.get_num_threads())

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        audio = waveforms.detach().cpu().float()
        if self.graph.config.batched:
            states, frames = self._run(audio, lengths.cpu())
        else:
            rows = [
                self._run(audio[at : at + 1, :length], lengths[at : at + 1].cpu())
                for at, length in enumerate(lengths.tolist())
            ]
            many = zip(*(states for states, _ in rows), strict=True)
            states = [pad_sequence([each[0] for each in state], batch_first=True) for state in many]
            frames = torch.cat([each for _, each in rows])
        moved = [
            state.to(waveforms) for state in states[: None if max_layer is None else max_layer + 1]
        ]
        return moved, frames.to(lengths.device)

    @property
    @override
    def one_by_one(self) -> bool:
        return not self.graph.config.batched

    def _run(self, audio: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        found = [torch.from_numpy(each) for each in self.graph.run(audio.numpy(), lengths.numpy())]
        return found[:-1], found[-1]

    @override
    def operations_per_second(self, seconds: float) -> float:
        return self.graph.config.operations_per_second


class OnnxFolder(ModelType):
    """Folders of `harness-bench export --to`."""

    model_types = (MODEL_TYPE,)
    title = "An exported graph"
    elsewhere = (
        f'onnxruntime: `InferenceSession("FOLDER/{GRAPH}")`; inputs `waveforms` (1, samples) '
        f"float32 at 16 kHz and `lengths` (1,) int64, outputs the hidden states and `{FRAMES}`"
    )

    @override
    def shape(self, path: Path) -> ModelShape:
        return _shape(path)

    @override
    def load(self, path: Path) -> FrozenModel:
        return OnnxModel(path)

    @override
    def files(self, path: Path) -> list[Path]:
        return [path / CONFIG, *self.weights(path)]

    @override
    def weights(self, path: Path) -> list[Path]:
        if not (path / GRAPH).is_file():
            raise ValueError(f"{path} has no {GRAPH}, the graph itself. Export the model again.")
        return [path / GRAPH]

    @override
    def parameters(self, path: Path) -> int:
        return read_config(path, "upstream").parameters


def _shape(path: Path) -> ModelShape:
    config = read_config(path, "upstream")
    return ModelShape(
        config.hidden_size, config.num_layers, config.downsample_rate, config.receptive_field
    )


TYPE = OnnxFolder()
