"""Exported graphs as folders, run by onnxruntime: numpy in, numpy out. Imports no torch."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build
from harness_bench.core.extras import load
from harness_bench.core.files import read_json, write_text
from harness_bench.models import hub

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CONFIG, GRAPH, SCRIPT = "config.json", hub.GRAPH, "model.pt"
MODEL_TYPE: Literal["harness_export"] = "harness_export"  # of config.json
Runtime = Literal["onnx", "onnx-int8", "torchscript"]
Kind = Literal["upstream", "head", "ctc"]
WAVEFORMS, LENGTHS, FRAMES = "waveforms", "lengths", "frames"  # names in graphs


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphConfig:
    """The config.json of an exported folder: all that a program must know to run its graph."""

    model_type: Literal["harness_export"] = MODEL_TYPE
    kind: Kind  # what comes out: hidden states, class probabilities, log-probabilities of tokens
    runtime: Runtime
    name: str  # the parent's
    parent_digest: str  # of the checkpoint, the head or the ASR model
    upstream_digest: str = ""  # of the checkpoint that a head or an ASR model stands on
    parameters: int
    hidden_size: int  # of the upstream, as the three below
    num_layers: int
    downsample_rate: int  # samples per frame
    receptive_field: int  # samples that one frame sees: the least that a graph takes
    operations_per_second: float = 0.0  # of the parent, per second of audio; a MAC is two of them
    batched: bool  # whether a padded batch gives what each utterance gives alone
    sampling_rate: int = 16_000
    classes: tuple[str, ...] = ()  # of a head, in the order of its outputs
    tokens: tuple[str, ...] = ()  # of CTC, in the order of its outputs
    token_type: str = ""  # ESPnet's: char, bpe, word
    blank: int = 0  # CTC's place among the tokens
    frame_shift: float = (
        0.0  # of CTC: frame i is centred at `frame_first + i * frame_shift` samples
    )
    frame_first: float = 0.0


def write_config(folder: Path, config: GraphConfig) -> None:
    """Write config.json, the last file of a folder, so that one with it is whole."""
    values = {name: value for name, value in asdict(config).items() if value not in ("", ())}
    write_text(folder / CONFIG, json.dumps(values, ensure_ascii=False, indent=2) + "\n")


def is_export(path: Path) -> bool:
    """Whether a path is an exported folder; reads config.json alone."""
    file = path / CONFIG
    if not file.is_file():
        return False
    found = read_json(file)
    return isinstance(found, dict) and found.get("model_type") == MODEL_TYPE


def load_config(folder: Path) -> GraphConfig:
    """Read config.json of an exported folder of any kind and form."""
    return build(GraphConfig, read_json(folder / CONFIG), source=str(folder / CONFIG))


def read_config(folder: Path, kind: Kind) -> GraphConfig:
    """Read config.json of an exported folder; a graph of another kind is a ValueError."""
    config = load_config(folder)
    uses = {"upstream": "an upstream: -u harness_local -k", "head": "`harness-bench predict`",
            "ctc": "`harness-bench transcribe`"}  # fmt: skip
    if config.kind != kind:
        raise ValueError(
            f"{folder} is the export of kind {config.kind!r}, for {uses[config.kind]}; expected "
            f"{kind!r}, for {uses[kind]}."
        )
    if config.runtime == "torchscript":
        raise ValueError(
            f"{folder} is TorchScript, for `torch.jit.load` in other programs. Export with --to "
            "onnx or --to onnx-int8 for use here."
        )
    return config


class Graph:
    """An open graph.

    Args:
        folder: of an export.
        kind: what is expected of it.
        threads: of one call; None: what OMP_NUM_THREADS says, else onnxruntime's choice.

    Raises:
        ValueError: another kind, a broken graph, or onnxruntime is not installed.
    """

    def __init__(self, folder: Path, kind: Kind, threads: int | None = None) -> None:
        self.config = read_config(folder, kind)
        self.session = open_session(folder / GRAPH, threads)
        self.inputs = {each.name for each in self.session.get_inputs()}

    def run(self, waveforms: NDArray[np.float32], lengths: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Run (B, T) audio at 16 kHz and its lengths (B,); B is 1 unless the graph is batched."""
        feeds = {WAVEFORMS: waveforms, LENGTHS: lengths}
        found: list[NDArray[Any]] = self.session.run(
            None, {name: value for name, value in feeds.items() if name in self.inputs}
        )
        return found

    def alone(self, wave: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Run one utterance (samples,); one too short for a frame is a ValueError."""
        if len(wave) < self.config.receptive_field:
            raise ValueError(
                f"{len(wave)} samples give no frame: {self.config.receptive_field} are the least"
            )
        return self.run(wave[None], np.array([len(wave)], np.int64))


def open_session(path: Path, threads: int | None = None) -> Any:
    """Open a graph on the CPU; one that onnxruntime refuses is a ValueError."""
    ort = load("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its warnings are for its developers; errors are raised too
    count = int(os.environ.get("OMP_NUM_THREADS") or 0) if threads is None else threads
    options.intra_op_num_threads, options.inter_op_num_threads = count, 1
    # What is the same on one thread and on many, and in every process.
    options.use_deterministic_compute = True
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if not path.is_file():
            raise ValueError(f"There is no file {path}; export the model again.") from error
        raise ValueError(f"{path} is no graph that onnxruntime runs: {error}") from error


def padded(waves: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pad utterances (samples,) with zeros: (B, T) and their lengths (B,)."""
    lengths = np.array([len(wave) for wave in waves], np.int64)
    batch = np.zeros((len(waves), int(lengths.max())), np.float32)
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = wave
    return batch, lengths
