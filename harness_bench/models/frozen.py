"""A frozen checkpoint and a fixed choice of its hidden states, online and for the cache alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, override

import torch
from torch import Tensor, nn

from harness_bench.models.checkpoint import Backbone, load_backbone, load_config

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTED, MEAN = "weighted", "mean"
type Layers = Literal["weighted", "mean"] | int


class FixedFeatures(nn.Module):
    """The mean of all hidden states, or one of them: nothing is learned.

    A module, so that the digest of the code behind a model covers this file.
    """

    def __init__(self, backbone: Backbone, layers: Layers) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, layers

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, T) float audio at 16 kHz and (B,) samples to (B, F, D) and (B,) frames."""
        if self.layers == MEAN:
            states, frames = self.backbone(waveforms, lengths)
            return torch.stack(states).mean(0), frames
        assert isinstance(self.layers, int)
        wanted = self.layers % (self.backbone.num_layers + 1)
        out = self.backbone.hubert(waveforms, lengths, max_layer=wanted)
        return out.hidden_states[wanted], out.frames


class FrozenUpstream:
    """A checkpoint that is loaded when audio first comes, for each device and type of numbers.

    Not a module of the ASR model, so that ESPnet neither saves nor moves, initialises (`--init`),
    counts or quantises it, and so that a run on ready features never has it in memory. Kept by
    device, because torch's DataParallel runs copies of the model on several.

    Args:
        folder: the checkpoint folder; its config is read at once.

    Raises:
        ValueError: no checkpoint there, or another architecture.
    """

    def __init__(self, folder: Path) -> None:
        config = load_config(folder)
        self.folder = folder
        self.hidden_size, self.num_layers = config.encoder_embed_dim, config.encoder_layers
        self._loaded: dict[tuple[torch.device, torch.dtype], Backbone] = {}

    def __call__(self, waveforms: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Run the checkpoint where the waveforms are; shapes as in `Backbone.forward`."""
        states, frames = self.model(waveforms.device, waveforms.dtype)(waveforms, lengths)
        return states, frames

    def model(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Backbone:
        """Return the backbone in eval mode and without gradients, loaded once."""
        key = torch.device(device), dtype
        if key not in self._loaded:
            # Random numbers are drawn for weights that are replaced; in the middle of an epoch this
            # would move the dropout of all that follows, so that a resumed run ends elsewhere.
            with torch.random.fork_rng(devices=[]):
                backbone = load_backbone(self.folder).to(device=key[0], dtype=dtype)
            self._loaded[key] = backbone.requires_grad_(requires_grad=False)
        return self._loaded[key]

    def is_loaded(self) -> bool:
        """Whether any copy of the weights is in memory."""
        return bool(self._loaded)


def checked_layers(layers: str | int, num_layers: int) -> Layers:
    """Check a choice of layers; negative numbers count from the end.

    Raises:
        ValueError: it is neither of the two words nor the number of a hidden state.
    """
    if layers == WEIGHTED:
        return "weighted"
    if layers == MEAN:
        return "mean"
    if isinstance(layers, int) and -num_layers - 1 <= layers <= num_layers:
        return layers
    raise ValueError(
        f"layers = {layers!r}: expected 'weighted', 'mean' or a number from 0 (the "
        f"transformer's input) to {num_layers} (the last block's output)."
    )


def fixed_layers(layers: str | int, num_layers: int) -> Literal["mean"] | int:
    """Check a choice of layers that features can be written of; return the number from 0 up.

    Raises:
        ValueError: as `checked_layers`, or learned weights.
    """
    checked = checked_layers(layers, num_layers)
    if checked == WEIGHTED:
        raise ValueError(
            "layers = 'weighted': its weights are learned together with the ASR model, so there "
            "are no features to write before training. Take 'mean' or a number, or leave the "
            "features uncached (the frontend's cache_mb keeps hidden states in memory)."
        )
    return "mean" if checked == MEAN else int(checked) % (num_layers + 1)
