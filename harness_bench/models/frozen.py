"""Frozen upstreams of any model type: opened, measured and run in one way by all rooms.

A model type is one file `models/types/NAME.py` with a `TYPE`, an instance of `ModelType`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, override

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from harness_bench.audio.frames import SAMPLE_RATE, frame_count
from harness_bench.audio.io import read_waveform
from harness_bench.core.code_digest import code_digest
from harness_bench.core.files import check_given, digest_file, digest_strings, read_settings
from harness_bench.core.registry import attribute, modules_in
from harness_bench.models import hub
from harness_bench.models.layers import MEAN, Layers, checked_layers
from harness_bench.models.weights import check_weights, weight_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

CONFIG, WEIGHTS, PREPROCESSOR = "config.json", hub.WEIGHTS, "preprocessor_config.json"
PROCESSOR = "processor_config.json"  # of transformers 5, in place of the one before


@dataclass(frozen=True)
class ModelShape:
    """What is known of a model without its weights."""

    hidden_size: int
    num_layers: int  # hidden states, the input of the first block (number 0) aside
    downsample_rate: int  # samples per frame
    receptive_field: int  # samples that one frame sees

    def frames(self, samples: int) -> int:
        """Return the frames of so many samples (0 if too short)."""
        return frame_count(samples, self.receptive_field, self.downsample_rate)

    def counts(self, lengths: Tensor) -> Tensor:
        """Return the frames of utterances of `lengths` (B,) int64 samples, on their device."""
        seen = lengths - self.receptive_field
        return (seen // self.downsample_rate + 1).clamp(min=0)


class FrozenModel(nn.Module, ABC):
    """A model in eval mode that gives an utterance the same features alone and in a batch."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape

    @override
    @abstractmethod
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Compute hidden states of audio (B, T) at 16 kHz, zero behind its `lengths` (B,) int64.

        Returns:
            num_layers + 1 hidden states (B, F, D) in fairseq's convention (0 is the input of the
            transformer, L the output of block L before the final layer norm), those behind
            `max_layer` left out or not, and the valid frames (B,) of each utterance; what stands
            behind them is meaningless.
        """

    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Compute utterances (samples,) as one batch -> (states, frames, dim) each."""
        self.refuse_short(wavs)
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        states, frames = self(pad_sequence([*wavs], batch_first=True), lengths)
        stacked = torch.stack(states, dim=1)  # (B, states, F, D)
        return [item[:, :count] for item, count in zip(stacked, frames.tolist(), strict=True)]

    def refuse_short(self, wavs: Sequence[Tensor]) -> None:
        """Refuse audio without a frame."""
        if (shortest := min(map(len, wavs))) < self.shape.receptive_field:
            raise ValueError(
                f"An utterance of {shortest} samples gives no frame: {self.shape.receptive_field} "
                "are the least. Leave such utterances out, as this project's tasks do."
            )

    @property
    def one_by_one(self) -> bool:
        """Whether padding would change features, so that a batch runs utterance by utterance."""
        return False

    def let_padding_count(self) -> None:
        """Compute padded batches as other toolkits do, where padding changes the features."""

    def operations_per_second(self, seconds: float) -> float:
        """Count the operations of a forward pass per second of audio; a MAC is two of them."""
        from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: PLC0415 - for this alone
        from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

        samples = torch.zeros(1, int(seconds * SAMPLE_RATE))
        # The counter looks for gradients of what parametrisations are given, and fails without.
        trained = [each for each in self.parameters() if each.requires_grad]
        self.requires_grad_(requires_grad=False)
        # It knows attention as products of matrices, and not the CPU's one kernel for it.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self(samples, torch.tensor([samples.shape[1]]))
        for each in trained:
            each.requires_grad_()
        return float(counter.get_total_flops() / seconds)


class ModelType:
    """How checkpoints of one kind are recognised, described and opened.

    A type writes `shape` and `load`; the rest serves folders in transformers' layout.
    """

    model_types: tuple[str, ...] = ()  # `model_type` of config.json
    # For the README of exported folders.
    title = "A frozen upstream"
    elsewhere = "transformers: not tried"

    def recognises(self, path: Path) -> bool:
        """Tell, without reading weights, whether a path is of this type."""
        return config_of(path).get("model_type") in self.model_types

    def shape(self, path: Path) -> ModelShape:
        """Read the shape from settings alone; a model that cannot be computed is a ValueError."""
        refuse(path)

    def load(self, path: Path) -> FrozenModel:
        """Open the checkpoint on the CPU."""
        refuse(path)

    def files(self, path: Path) -> list[Path]:
        """List the files that decide the features, those of the weights last."""
        names = [CONFIG, PREPROCESSOR, *([PROCESSOR] if _nested(path) else [])]
        return [*(path / name for name in names if (path / name).is_file()), *self.weights(path)]

    def weights(self, path: Path) -> list[Path]:
        """List the files of the weights."""
        return [path] if path.is_file() else weight_files(path)

    def digest(self, path: Path) -> str | None:
        """Return the digest of all that decides the features; None: they are not to be kept."""
        if path.is_file():
            return digest_file(path)
        return digest_strings(map(digest_file, self.files(path)))

    def parameters(self, path: Path) -> int:
        """Count the backbone's parameters."""
        return sum(parameter.numel() for parameter in self.load(path).parameters())


def type_of(path: Path) -> ModelType:
    """Return the type that recognises a path; else one that gives a digest and refuses the rest."""
    # Those that know a path by more than config.json, which may lie beside other weights, first.
    kinds = sorted(model_types(), key=lambda each: bool(each.model_types))
    return next((each for each in kinds if each.recognises(path)), ModelType())


def model_types() -> list[ModelType]:
    """Return one instance of every model type, by looking into the folder."""
    return [attribute(f"{hub.TYPES}.{name}", "TYPE") for name in modules_in(hub.TYPES)]


def shape_of(path: Path) -> ModelShape:
    """Read a checkpoint's shape; one that cannot be computed or lacks weights is a ValueError."""
    kind = type_of(path)
    shape = kind.shape(path)
    check_weights(kind.weights(path))
    return shape


def load_backbone(path: Path) -> FrozenModel:
    """Open a checkpoint of any type in eval mode.

    One that cannot be opened, or whose weights are not finite, is a ValueError.
    """
    model = type_of(path).load(path).eval()
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(
                f"{path}: {name} has {int((~value.isfinite()).sum())} weights that are NaN or "
                "infinite, so every feature would be. Did its training diverge? Take an earlier "
                "checkpoint."
            )
    return model


def load_model(model: str | Path, device: str = "cpu") -> FrozenModel:
    """Open a checkpoint of any type by path or name (see `hub.locate`); ValueError if unknown."""
    opened = load_backbone(hub.locate(model, pathless=True))
    return opened.to(device).requires_grad_(requires_grad=False)


def hidden_states(
    model: FrozenModel | str | Path,
    audio: Tensor | NDArray[np.float32] | str | Path,
    *,
    layer: int | None = None,
) -> Tensor:
    """Compute the hidden states of one utterance, as labels, probes and the ASR frontend do.

    Args:
        model: an open model, or what `load_model` accepts; open it once for many utterances.
        audio: a file of any sampling rate, or (samples,) float at 16 kHz.
        layer: number of one hidden state, 0 (input of the first block) to the number of blocks;
            None: all.

    Returns:
        (layers + 1, frames, dim) float32, or (frames, dim) for one layer; a frame per 20 ms.

    Raises:
        ValueError: the model or audio cannot be opened, or the audio has several channels, less
            than one frame or non-finite samples, or there is no such layer.
    """
    opened = model if isinstance(model, FrozenModel) else load_model(model)
    device = next((each.device for each in opened.parameters()), torch.device("cpu"))
    waveform = read_waveform(audio) if isinstance(audio, str | Path) else audio
    samples = torch.as_tensor(waveform, dtype=torch.float32, device=device)
    if samples.ndim != 1:
        raise ValueError(f"audio has shape {(*samples.shape,)}; expected (samples,) at 16 kHz.")
    if not bool(samples.isfinite().all()):
        raise ValueError("audio has NaN or infinite samples.")
    place = slice(None) if layer is None else checked_layers(layer, opened.shape.num_layers)
    assert not isinstance(place, str)  # `layer` is a number
    with torch.inference_mode():
        (states,) = opened.encode([samples])
    return states[place]


def checkpoint_digest(path: Path) -> str:
    """Return the digest of a checkpoint's weights and settings: of its features."""
    return type_of(path).digest(path) or ""


def parameter_count(path: Path) -> int:
    """Count a checkpoint's parameters as it is exported, heads aside."""
    return type_of(path).parameters(path)


def weight_bytes(path: Path) -> int:
    """Return the size of a checkpoint's files of weights; 0 for a model without any."""
    return sum(file.stat().st_size for file in type_of(path).weights(path))


def config_of(path: Path) -> dict[str, Any]:
    """Read config.json of a folder; empty where there is none."""
    return read_settings(path / CONFIG)


def preprocessing_of(path: Path) -> dict[str, Any]:
    """Read how a folder's audio is prepared, as transformers looks for it; empty where unknown.

    Since its version 5 processor_config.json may hold it, and comes first.
    """
    return _nested(path) or read_settings(path / PREPROCESSOR)


def _nested(path: Path) -> dict[str, Any]:
    found = read_settings(path / PROCESSOR)
    nested = found.get("feature_extractor", found.get("audio_processor"))
    return dict(nested) if isinstance(nested, dict) else {}


def refuse(path: Path, known: Sequence[str] = ()) -> NoReturn:
    """Raise the ValueError that says why a path is none of the known `model_type`s."""
    export = "`harness-bench export RUN FOLDER` writes a checkpoint's folder."
    check_given(path, "Model", "file or folder", export)
    if path.is_file():
        raise ValueError(f"{path} is one file of a checkpoint: give its folder, {path.parent}.")
    if not (path / CONFIG).is_file():
        raise ValueError(f"{path} is not a checkpoint folder: it has no {CONFIG}. {export}")
    known = known or sorted(name for each in model_types() for name in each.model_types)
    raise ValueError(
        f"{path / CONFIG}: model_type is {config_of(path).get('model_type')!r}; expected one of "
        f"{', '.join(known)}."
    )


class FixedFeatures(nn.Module):
    """The mean of all hidden states, or one; a module, so that code digests cover this file."""

    def __init__(self, backbone: FrozenModel, layers: Layers) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, layers

    def facts(self, checkpoint: Path) -> dict[str, Any]:
        """Return all that decides the features beside the audio; `checkpoint` was opened."""
        digest, code = checkpoint_digest(checkpoint), code_digest(self)
        return {"checkpoint": digest, "layers": self.layers, "code": code}

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, T) float audio at 16 kHz and (B,) samples to (B, F, D) and (B,) frames."""
        if self.layers == MEAN:
            states, frames = self.backbone(waveforms, lengths)
            return torch.stack(states).mean(0), frames
        assert isinstance(self.layers, int)
        wanted = self.layers % (self.backbone.shape.num_layers + 1)
        states, frames = self.backbone(waveforms, lengths, max_layer=wanted)
        return states[wanted], frames


class FrozenUpstream:
    """A checkpoint that is loaded when audio first comes, for each device and dtype.

    Not a module of the ASR model, so that ESPnet neither saves nor moves, initialises (`--init`),
    counts or quantises it, and so that a run on cached features never has it in memory. Kept by
    device, because torch's DataParallel runs copies of the model on several.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.shape = path, type_of(path).shape(path)
        self.loaded: dict[tuple[torch.device, torch.dtype], FrozenModel] = {}

    def model(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> FrozenModel:
        """Return the model in eval mode and without gradients, loaded once."""
        key = torch.device(device), dtype
        if key not in self.loaded:
            # Random numbers are drawn for weights that are replaced; in the middle of an epoch this
            # would move the dropout of all that follows, so that a resumed run ends elsewhere.
            with torch.random.fork_rng(devices=[]):
                backbone = load_backbone(self.path).to(device=key[0], dtype=dtype)
            self.loaded[key] = backbone.requires_grad_(requires_grad=False)
        return self.loaded[key]
