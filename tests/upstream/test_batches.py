"""An utterance gives the same features alone and in any batch, and no frame too many."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.audio.frames import frame_count
from harness_bench.probing.head.model import valid_frames
from harness_bench.probing.s3prl import hub
from harness_bench.probing.s3prl.frames import shape_of_upstream
from tests.upstream.conftest import GROUP_KINDS, KINDS, OURS, build, waves

pytestmark = pytest.mark.s3prl
EXACT = 3e-5  # the logarithm of weak mel bins widens rounding; what leaks from padding is far above
# The edges of frames and of s3prl's rounding are likely.
SAMPLES = st.one_of(
    st.integers(400, 8_000),
    st.builds(lambda frames, rest: 320 * frames + rest, st.integers(1, 20), st.integers(80, 161)),
)
BATCHES = st.lists(SAMPLES, min_size=2, max_size=4)
CONV_LENGTHS = [16_000, 12_345, 8_001, 400]


@pytest.fixture(scope="module")
def experts(folder_of: Callable[[str], Path]) -> Callable[[str], Any]:
    """Return a function that opens a kind once."""
    return functools.cache(lambda kind: hub.harness_local(str(folder_of(kind)), cache_mb=0))


@pytest.mark.parametrize("kind", ["hubert_layer", "wav2vec2_layer", *GROUP_KINDS, OURS])
@given(lengths=BATCHES, seed=st.integers(0, 99), loud=st.floats(0.1, 100))
@settings(max_examples=20, deadline=None)
@torch.no_grad()
def test_alone_equals_in_any_padded_batch(
    experts: Callable[[str], Any], kind: str, lengths: list[int], seed: int, loud: float
) -> None:
    """On a GPU batches are padded (`encode`): neighbours, louder ones too, must not be seen."""
    expert, wavs = experts(kind), waves(lengths, seed)
    wavs[0] = wavs[0] * loud
    for wav, together in zip(wavs, expert.encode(wavs), strict=True):
        (alone,) = expert.encode([wav])
        states = expert.backbone.shape.num_layers + 1
        assert together.shape == alone.shape == (states, frame_count(len(wav)), 32)
        assert (together - alone).abs().max() < EXACT


@pytest.mark.parametrize("kind", [*sorted(KINDS), OURS])
@given(lengths=BATCHES)
@settings(max_examples=10, deadline=None)
@torch.no_grad()
def test_heads_see_exactly_the_frames_of_the_audio(
    experts: Callable[[str], Any], kind: str, lengths: list[int]
) -> None:
    """s3prl's featurizer rounds lengths / 320 and so gives most utterances one frame too many."""
    from s3prl.upstream.interfaces import Featurizer  # noqa: PLC0415 - behind the marker

    expert, wavs = experts(kind), waves(lengths)
    featurizer = Featurizer(expert, upstream_device="cpu")
    assert featurizer.downsample_rate == 320
    features = featurizer(wavs, expert(wavs))
    counts = valid_frames([len(item) for item in features], lengths, shape_of_upstream(expert))
    assert counts == [frame_count(length) for length in lengths]
    for item, count in zip(features, counts, strict=True):
        assert item[:count].abs().sum(-1).all()
        assert len(item) - count in (0, 1)
        assert not item[count:].any(), "what s3prl adds is silence, not a frame of padding"


@pytest.mark.parametrize("kind", GROUP_KINDS)
@torch.no_grad()
def test_the_option_turns_it_off(
    folder_of: Callable[[str], Path], tmp_path: Path, experts: Callable[[str], Any], kind: str
) -> None:
    """With per_utterance = false a group norm sees the padding, as in transformers' own batch.

    None is kept: the first batch an utterance is met in would decide its features for good.
    """
    from transformers import Wav2Vec2FeatureExtractor  # noqa: PLC0415 - keeps collection light

    (tmp_path / "options.toml").write_text("[upstream]\nper_utterance = false\n")
    padded = hub.harness_local(str(folder_of(kind)), model_config=str(tmp_path / "options.toml"))
    wavs = waves(CONV_LENGTHS)
    got, alone = (expert(wavs)["hidden_states"] for expert in (padded, experts(kind)))
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder_of(kind))
    batch = extractor(
        [wav.numpy() for wav in wavs], sampling_rate=16_000, padding=True, return_tensors="pt"
    )
    reference = build(kind)(**batch, output_hidden_states=True).hidden_states
    for row, samples in enumerate(CONV_LENGTHS):
        count = frame_count(samples)
        for mine, theirs in zip(got, reference, strict=True):
            assert torch.allclose(mine[row, :count], theirs[row, :count], atol=2e-5)
    assert (got[1][2] - alone[1][2]).abs().max() > 100 * EXACT, "there would be nothing to turn off"
    again, count = padded([wavs[2]])["hidden_states"][1][0], frame_count(CONV_LENGTHS[2])
    assert (got[1][2, :count] - again).abs().max() > 100 * EXACT


def test_an_utterance_without_a_frame_is_named(experts: Callable[[str], Any]) -> None:
    """A head would make NaN of it, batches later and nowhere near the cause."""
    with pytest.raises(ValueError, match="399 samples gives no frame: 400"):
        experts("hubert_layer")(waves([4_000, 399]))
