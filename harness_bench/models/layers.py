"""Which hidden states are used: their learned weighted sum, their plain mean, or one of them."""

from __future__ import annotations

from typing import Literal

WEIGHTED, MEAN = "weighted", "mean"
type Layers = Literal["weighted", "mean"] | int


def parse_layers(text: str) -> str | int:
    """Read a choice from a command line: a number becomes one, a word stays."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def checked_layers(layers: str | int, num_layers: int) -> Layers:
    """Check a choice of layers, or raise a ValueError; negative numbers count from the end."""
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
    """Check a choice that can be stored, which learned weights cannot; return its number from 0."""
    checked = checked_layers(layers, num_layers)
    if checked == WEIGHTED:
        raise ValueError(
            "layers = 'weighted': its weights are learned together with the ASR model, so there "
            "are no features to write before training. Take 'mean' or a number, or leave the "
            "features uncached (the frontend's cache_mb keeps hidden states in memory)."
        )
    return "mean" if checked == MEAN else int(checked) % (num_layers + 1)
