"""The frontend: what ESPnet's training must not change; test_weights.py has its files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness_bench.audio.frames import frame_count
from harness_bench.models.frozen import load_backbone

pytestmark = pytest.mark.espnet
LENGTHS = [16_000, 4_000, 400, 7_777, 719, 720]
type Batch = tuple[Tensor, Tensor]
type Make = Callable[..., Any]


@pytest.fixture
def make(tiny_checkpoint: Path) -> Make:
    """Return a maker of frontends, of the tiny checkpoint unless another is named."""
    from harness_bench.asr.espnet.frontend import HarnessFrontend  # noqa: PLC0415 - heavy

    return partial(HarnessFrontend, checkpoint=tiny_checkpoint)


@pytest.fixture
def batch() -> Batch:
    """Return zero-padded waveforms (6, 16000) and their lengths."""
    lengths = torch.tensor(LENGTHS)
    noise = torch.randn(len(LENGTHS), max(LENGTHS), generator=torch.Generator().manual_seed(0))
    return noise * (torch.arange(max(LENGTHS)) < lengths[:, None]), lengths


@pytest.fixture(params=["tiny_checkpoint", "mel_checkpoint"])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    """Return a folder of each extractor; the one on log-mel bins is in float16."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.mark.parametrize("cache_mb", [0, 64])
def test_frames_are_the_convolutions_frames(
    make: Make, checkpoint: Path, batch: Batch, cache_mb: int
) -> None:
    """A frame more than the convolutions give is made of padding."""
    features, frames = make(checkpoint=checkpoint, cache_mb=cache_mb)(*batch)
    assert features.dtype == torch.float32
    assert frames.tolist() == [frame_count(length) for length in LENGTHS]
    assert features.shape == (len(LENGTHS), max(frames), 32)
    behind = torch.arange(features.shape[1]) >= frames[:, None]
    assert not features[behind].any()


@pytest.mark.parametrize("layers", ["weighted", "mean", 1, -1])
def test_alone_and_in_a_batch_are_the_same(
    make: Make, checkpoint: Path, batch: Batch, layers: str | int
) -> None:
    """Otherwise a model's score depends on the batch size it is decoded with."""
    frontend = make(checkpoint=checkpoint, layers=layers)
    features, frames = frontend(*batch)
    for row, length in enumerate(LENGTHS):
        alone, _ = frontend(batch[0][row : row + 1, :length], batch[1][row : row + 1])
        torch.testing.assert_close(features[row, : frames[row]], alone[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("layers", ["weighted", "mean", 2])
def test_layers_mean_what_they_say(
    make: Make, tiny_checkpoint: Path, batch: Batch, layers: str | int
) -> None:
    """The weights start equal, so a learned sum starts as the mean; numbers are fairseq's."""
    states, _ = load_backbone(tiny_checkpoint)(*batch)
    features, frames = make(layers=layers)(*batch)
    expected = states[2] if layers == 2 else torch.stack(states).mean(0)
    for row, count in enumerate(frames):
        torch.testing.assert_close(features[row, :count], expected[row, :count])


def test_the_cache_changes_nothing(make: Make, batch: Batch) -> None:
    """First sight, second sight, another batch and a full cache: the same features."""
    plain, cached = make(), make(cache_mb=64)
    expected, _ = plain(*batch)
    for _ in range(2):
        torch.testing.assert_close(cached(*batch)[0], expected, atol=2e-5, rtol=1e-4)
    assert len(cached.cache.memory) == len(LENGTHS)
    cached.cache.memory.max_bytes = 0
    other = (batch[0].flip(1), torch.full((len(LENGTHS),), max(LENGTHS)))
    torch.testing.assert_close(cached(*other)[0], plain(*other)[0], atol=2e-5, rtol=1e-4)
    assert len(cached.cache.memory) == len(LENGTHS)


def test_espnets_normalisation_does_not_reach_the_cache(make: Make, batch: Batch) -> None:
    """ESPnet's utterance_mvn works in place on what the frontend returns."""
    from espnet2.layers.utterance_mvn import utterance_mvn  # noqa: PLC0415 - heavy

    frontend = make(layers="mean", cache_mb=64)
    first, _ = frontend(*batch)
    kept = first.clone()
    utterance_mvn(*frontend(*batch))
    torch.testing.assert_close(frontend(*batch)[0], kept)


def test_only_the_layer_weights_are_trained(make: Make, batch: Batch) -> None:
    """Frozen means frozen, without dropout too; and the learned sum must really learn."""
    frontend = make().train()
    assert frontend.training
    assert not any(module.training for module in frontend.upstream.model().modules())
    frontend(*batch)[0].square().sum().backward()
    trained = {name for name, value in frontend.named_parameters() if value.grad is not None}
    assert trained == {"layer_weights"}
    assert frontend.layer_weights.grad.abs().max() > 0


def test_fine_tuning_reaches_the_upstream(make: Make, batch: Batch) -> None:
    """`freeze: false` must train and save the upstream."""
    frontend = make(freeze=False).train()
    assert frontend.upstream.training
    frontend(*batch)[0].square().sum().backward()
    assert frontend.upstream.hubert.encoder.layers[0].attention.q_proj.weight.grad.any()
    assert any(name.startswith("upstream.") for name in frontend.state_dict())


def test_a_model_with_a_fine_tuned_upstream_is_not_opened_as_frozen(make: Make) -> None:
    """Its upstream would be ignored without a word, as ESPnet loads non-strictly."""
    with pytest.raises(ValueError, match="Set freeze: false"):
        make().load_state_dict(make(freeze=False).state_dict())


def test_espnets_initialisation_leaves_the_upstream_alone(
    make: Make, tiny_checkpoint: Path
) -> None:
    """`--init xavier_uniform` draws all weights of a model anew, learned ones of years too."""
    from espnet2.torch_utils.initialize import initialize  # noqa: PLC0415 - heavy

    frontend = make()
    initialize(frontend, "xavier_uniform")
    found = frontend.upstream.model().state_dict()
    truth = load_backbone(tiny_checkpoint).state_dict()
    assert all(torch.equal(found[name], value) for name, value in truth.items())


def test_numbers_of_another_type_get_an_upstream_of_that_type(make: Make, batch: Batch) -> None:
    """ESPnet decodes in float64 or bfloat16 where it is told to (`--dtype`)."""
    frontend = make(layers="mean")
    expected, _ = frontend(*batch)
    found, _ = frontend(batch[0].double(), batch[1])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=1e-3)


def test_too_short_an_utterance_raises_espnets_error(make: Make) -> None:
    """ESPnet's decoder survives this one error and goes on with the other utterances."""
    from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import (  # noqa: PLC0415
        TooShortUttError,
    )

    with pytest.raises(TooShortUttError, match="399 samples"):
        make()(torch.zeros(1, 399), torch.tensor([399]))
    with pytest.raises(TooShortUttError):  # features without a frame
        make(layers="mean")(torch.zeros(1, 0, 32), torch.tensor([0]))


@pytest.mark.parametrize("layers", ["mean", 1, -1])
def test_ready_features_are_taken_as_they_are(make: Make, layers: str | int) -> None:
    """Without loading the upstream; what stands behind an end is silenced as from audio."""
    frontend = make(layers=layers)
    features, lengths = torch.ones(2, 9, 32), torch.tensor([9, 4])
    found, frames = frontend(features, lengths)
    assert torch.equal(frames, lengths)
    assert torch.equal(found[0], features[0])
    assert found[1].sum() == 4 * 32
    assert not frontend.upstream.loaded


@pytest.mark.parametrize(("options", "width", "message"), [
    ({}, 32, "layers = 'weighted'"),
    ({"layers": "mean"}, 31, "31 numbers per frame, but the checkpoint has 32"),
    ({"layers": "mean", "freeze": False}, 32, "freeze is false"),
])  # fmt: skip
def test_features_that_cannot_be_this_frontends_are_refused(
    make: Make, options: dict[str, Any], width: int, message: str
) -> None:
    """Trained on them, a model would be another on audio."""
    with pytest.raises(ValueError, match=message):
        make(**options)(torch.ones(1, 9, width), torch.tensor([9]))


@pytest.mark.parametrize(("options", "message"), [
    ({"layers": 3}, "layers = 3.*0 .*to 2"),
    ({"layers": "best"}, "layers = 'best'"),
    ({"fs": "8k"}, "fs = '8k'.*16000 Hz only"),
    ({"freeze": False, "cache_mb": 10}, "needs freeze = true"),
    ({"cache_mb": -1}, "cache_mb = -1"),
])  # fmt: skip
def test_impossible_options_are_explained(
    make: Make, options: dict[str, Any], message: str
) -> None:
    """They come from YAML files, far from this code."""
    with pytest.raises(ValueError, match=message):
        make(**options)
