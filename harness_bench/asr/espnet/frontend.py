"""ESPnet frontend `harness`: hidden states of a frozen checkpoint as speech features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, override

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.features.config import FeatureCacheConfig
from harness_bench.models.features.shards import Made, check_sources
from harness_bench.models.features.store import FeatureStore
from harness_bench.models.frozen import (
    FixedFeatures,
    FrozenModel,
    FrozenUpstream,
    checkpoint_digest,
    load_backbone,
)
from harness_bench.models.hub import locate
from harness_bench.models.layers import WEIGHTED, Layers, checked_layers, fixed_layers

_RATES = (str(SAMPLE_RATE), "16k", "16khz")


class HarnessFrontend(AbsFrontend):
    """Features (B, F, D) of a checkpoint folder, at its own frame rate.

    A frozen upstream is always in eval mode, gets no gradient and is no part of the ASR model,
    whose files hold its digest instead: loading with another upstream is an error. It is loaded
    when audio first comes, so a training from cached features never has it in memory.

    Args:
        checkpoint: the checkpoint folder, or a name of `hub.locate`.
        layers: "weighted" learns a softmax-weighted sum over all hidden states (it starts as
            their mean), "mean" averages them, a number takes that hidden state alone: 0 is the
            transformer's input, L the output of block L before the final layer norm.
        freeze: False fine-tunes the upstream; its weights are then saved like any other.
        cache_mb: memory for hidden states of utterances seen before, so that later epochs skip
            the upstream; 0 turns it off. Only a frozen upstream can be cached.
        fs: sampling rate, 16000 only (ESPnet's recipes always pass one).
    """

    def __init__(
        self,
        checkpoint: str | Path,
        layers: Layers = "weighted",
        freeze: bool = True,  # noqa: FBT001, FBT002 - ESPnet passes keywords from YAML
        cache_mb: int = 0,
        fs: int | str = SAMPLE_RATE,
    ) -> None:
        super().__init__()
        folder = locate(checkpoint)
        self.upstream: FrozenModel | FrozenUpstream = (
            FrozenUpstream(folder) if freeze else load_backbone(folder)
        )
        shape = self.upstream.shape
        self.layers, self.freeze = checked_layers(layers, shape.num_layers), freeze
        if str(fs).lower().replace(" ", "") not in _RATES:
            raise ValueError(
                f"fs = {fs!r}: the upstreams take {SAMPLE_RATE} Hz only; leave fs out."
            )
        if cache_mb < 0 or (cache_mb and not freeze):
            raise ValueError(
                f"cache_mb = {cache_mb}: expected a size in MB, or 0 for none; it needs freeze = "
                "true, for a trained upstream moves."
            )
        full = f"{cache_mb} MB of features are kept; raise cache_mb to keep those of all utterances"
        memory = FeatureCacheConfig(memory_mb=cache_mb)
        self.cache = FeatureStore(memory, lambda: None, when_full=full) if cache_mb else None
        if self.layers == WEIGHTED:
            self.layer_weights = nn.Parameter(torch.zeros(shape.num_layers + 1))
        self._digest = checkpoint_digest(folder)
        # As float32, because ESPnet averages the best models' tensors, whatever they are.
        digest = torch.tensor(list(bytes.fromhex(self._digest)), dtype=torch.float32)
        self.register_buffer("upstream_digest", digest)
        if freeze:
            self.register_load_state_dict_pre_hook(_check_upstream)

    @override
    def output_size(self) -> int:
        """Return D, the numbers per frame."""
        return self.upstream.shape.hidden_size

    @override
    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Turn waveforms into features, or take features that were cached (`features`).

        Args:
            input: (B, T) float32 at 16 kHz, zero behind each utterance's end; or (B, F, D)
                float32, the features of this checkpoint and these layers.
            input_lengths: (B,) int64, samples or frames of each utterance.

        Returns:
            (B, F, D) features, zero behind each utterance's end, and (B,) int64 frames.

        Raises:
            TooShortUttError: an utterance shorter than one frame; ESPnet's decoder then writes an
                empty hypothesis.
            ValueError: features of another width or checkpoint, or layers that are learned.
        """
        if input.dim() == 3:  # noqa: PLR2004 - axes of ready features
            return self._ready(input, input_lengths), input_lengths
        if not self.upstream.shape.frames(int(input_lengths.min())):
            _raise_too_short(int(input_lengths.min()), self.upstream.shape.receptive_field)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            states, frames = self._states(input, input_lengths)
        return _silenced(self._combine(states), frames), frames

    def _ready(self, features: Tensor, frames: Tensor) -> Tensor:
        """Check features (B, F, D) that were made before; return them."""
        if not self.freeze:
            raise ValueError(
                "frontend_conf.freeze is false, but the input is cached features: the upstream "
                "would not be trained. Train from audio (wav.scp,speech,sound), or set freeze: "
                "true."
            )
        if features.shape[2] != self.output_size():
            raise ValueError(
                f"Features have {features.shape[2]} numbers per frame, but the checkpoint has "
                f"{self.output_size()}. Make them with this checkpoint; audio must have 1 channel."
            )
        layers = fixed_layers(self.layers, self.upstream.shape.num_layers)
        check_sources(Made(self._digest, layers))
        if int(frames.min()) < 1:
            _raise_too_short(0, self.upstream.shape.receptive_field)
        return _silenced(features, frames)

    def _states(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the wanted hidden states (B, K, F, D) and the frames (B,), cached or fresh."""
        if self.cache is None:
            return self._run(waveforms, lengths)
        wavs = [row[:count] for row, count in zip(waveforms, lengths.tolist(), strict=True)]
        each = [states.transpose(0, 1) for states in self.cache.through(wavs, self._encode)]
        counts = torch.tensor([len(states) for states in each], device=lengths.device)
        return pad_sequence(each, batch_first=True).transpose(1, 2), counts

    def _encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Run the upstream on a batch of waveforms (samples,) -> (K, frames, D) each."""
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        states, frames = self._run(pad_sequence([*wavs], batch_first=True), lengths)
        return [row[:, :count] for row, count in zip(states, frames.tolist(), strict=True)]

    def _run(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the upstream; K is 1 unless the layer weights are learned."""
        backbone = self.upstream
        if isinstance(backbone, FrozenUpstream):
            backbone = backbone.model(waveforms.device, waveforms.dtype)
        if self.layers == WEIGHTED:
            states, frames = backbone(waveforms, lengths)
            return torch.stack(states, dim=1), frames
        features, frames = FixedFeatures(backbone, self.layers)(waveforms, lengths)
        return features[:, None], frames

    def _combine(self, states: Tensor) -> Tensor:
        """Sum (B, K, F, D) over K -> (B, F, D)."""
        if self.layers != WEIGHTED:
            return states[:, 0]
        return torch.einsum("k,bkfd->bfd", torch.softmax(self.layer_weights, 0), states)


def _silenced(features: Tensor, frames: Tensor) -> Tensor:
    """Return features (B, F, D) that are zero behind each utterance's frames (B,)."""
    valid = torch.arange(features.shape[1], device=features.device) < frames[:, None]
    return features * valid[..., None]


def _check_upstream(
    module: HarnessFrontend, state_dict: dict[str, Any], prefix: str, *_: object
) -> None:
    """Refuse a model that was trained on another upstream, or together with one."""
    digest = state_dict.get(f"{prefix}upstream_digest")
    if digest is not None and not torch.equal(digest.cpu(), module.upstream_digest.cpu()):
        raise ValueError(
            "This ASR model was trained on another upstream checkpoint than the one that "
            "frontend_conf.checkpoint names. Point it at the original, or train again."
        )
    if any(name.startswith(f"{prefix}upstream.") for name in state_dict):
        raise ValueError(
            "This ASR model carries an upstream that was fine-tuned with it, but "
            "frontend_conf.freeze is true and would leave it unused. Set freeze: false."
        )


def _raise_too_short(samples: int, least: int) -> None:
    """Raise ESPnet's own error, which its decoder knows how to survive."""
    from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import (  # noqa: PLC0415
        TooShortUttError,
    )

    raise TooShortUttError(f"has {samples} samples, but one frame needs {least}", samples, least)
