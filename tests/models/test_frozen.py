"""The frozen checkpoint behind the frontend and the cache: one choice, loaded when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from harness_bench.models.frozen import FixedFeatures, FrozenUpstream, hidden_states, load_backbone
from harness_bench.models.layers import checked_layers, fixed_layers

if TYPE_CHECKING:
    from pathlib import Path

WAVES, LENGTHS = torch.zeros(2, 4000), torch.tensor([4000, 2000])


@pytest.mark.parametrize("layers", ["mean", 0, 1, 2, -1, -3])
def test_a_choice_is_that_of_all_hidden_states(tiny_checkpoint: Path, layers: str | int) -> None:
    """A number stops behind its block, which must not change what comes out of it."""
    backbone = load_backbone(tiny_checkpoint)
    states, frames = backbone(WAVES, LENGTHS)
    found, counts = FixedFeatures(backbone, checked_layers(layers, 2))(WAVES, LENGTHS)
    expected = torch.stack(states).mean(0) if isinstance(layers, str) else states[layers]
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
    assert torch.equal(counts, frames)


def test_nothing_is_loaded_before_it_is_needed(tiny_checkpoint: Path) -> None:
    """A model of 300 M numbers would lie in a GPU's memory for 70 epochs of cached features."""
    upstream = FrozenUpstream(tiny_checkpoint)
    assert (upstream.shape.hidden_size, upstream.shape.num_layers) == (32, 2)
    assert not upstream.loaded
    upstream.model()(WAVES, LENGTHS)
    assert upstream.loaded
    assert upstream.model() is upstream.model("cpu", torch.float32)
    assert not any(value.requires_grad for value in upstream.model().parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_audio_that_is_not_finite_has_no_states(tiny_checkpoint: Path, value: float) -> None:
    """One such sample makes every frame of a model with attention NaN."""
    wave = torch.zeros(4000)
    wave[100] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        hidden_states(tiny_checkpoint, wave)


def test_choices_of_fixed_features() -> None:
    """Features of layer 2 of 2 serve a frontend that asks for -1; weights are not known before."""
    choices: tuple[str | int, ...] = ("mean", 0, 2, -1)
    assert [fixed_layers(layers, 2) for layers in choices] == ["mean", 0, 2, 2]
    for refused in ("weighted", "last", 3, -4):
        with pytest.raises(ValueError, match=f"layers = {refused!r}"):
            fixed_layers(refused, 2)
