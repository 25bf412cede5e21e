"""ESPnet frontend `harness`: hidden states of a frozen checkpoint as speech features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, override

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from harness_bench.frames import FRAME_FIELD, SAMPLE_RATE
from harness_bench.memory import MEBIBYTE, BoundedStore, waveform_key
from harness_bench.models.checkpoint import checkpoint_digest, load_backbone

if TYPE_CHECKING:
    from collections.abc import Mapping

_UPSTREAM = "upstream."
_RATES = (str(SAMPLE_RATE), "16k", "16khz")


class HarnessFrontend(AbsFrontend):
    """Features (B, F, D) at 20 ms per frame from a checkpoint folder.

    A frozen upstream is always in eval mode, gets no gradient and stays out of the ASR
    checkpoint, which holds its digest instead: loading with another upstream is an error.

    Args:
        checkpoint: the checkpoint folder.
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
        layers: Literal["weighted", "mean"] | int = "weighted",
        freeze: bool = True,  # noqa: FBT001, FBT002 - ESPnet passes keywords from YAML
        cache_mb: int = 0,
        fs: int | str = SAMPLE_RATE,
    ) -> None:
        super().__init__()
        folder = Path(checkpoint)
        self.upstream = load_backbone(folder)
        self.layers = _checked_layers(layers, self.upstream.num_layers)
        _check_rate(fs)
        if cache_mb and not freeze:
            raise ValueError(
                f"cache_mb = {cache_mb} needs freeze = true: a trained upstream moves."
            )
        self.freeze = freeze
        if cache_mb < 0:
            raise ValueError(f"cache_mb = {cache_mb}: expected a size in MB, or 0 for none.")
        full = f"{cache_mb} MB of features are kept; raise cache_mb to keep those of all utterances"
        self.cache: BoundedStore[bytes, Tensor] | None = (
            BoundedStore(cache_mb * MEBIBYTE, when_full=full) if cache_mb else None
        )
        if self.layers == "weighted":
            self.layer_weights = nn.Parameter(torch.zeros(self.upstream.num_layers + 1))
        # As float32, because ESPnet averages the best models' tensors, whatever they are.
        digest = torch.tensor(list(bytes.fromhex(checkpoint_digest(folder))), dtype=torch.float32)
        self.register_buffer("upstream_digest", digest)
        if freeze:
            self.upstream.requires_grad_(requires_grad=False)
            self.register_state_dict_post_hook(_leave_upstream_out)
            self.register_load_state_dict_pre_hook(_refill_upstream)

    @override
    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen upstream stays in eval."""
        super().train(mode)
        if self.freeze:
            self.upstream.eval()
        return self

    @override
    def output_size(self) -> int:
        """Return D."""
        return self.upstream.hidden_size

    @override
    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Turn waveforms into features.

        Args:
            input: (B, T) float32 at 16 kHz, zero behind each utterance's end.
            input_lengths: (B,) int64, samples of each utterance.

        Returns:
            (B, F, D) features, zero behind each utterance's end, and (B,) int64 frames.

        Raises:
            TooShortUttError: an utterance shorter than one frame (25 ms); ESPnet's decoder
                then writes an empty hypothesis.
        """
        if int(input_lengths.min()) < FRAME_FIELD:
            _raise_too_short(int(input_lengths.min()))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            states, frames = self._states(input, input_lengths)
        features = self._combine(states)
        valid = torch.arange(features.shape[1], device=features.device) < frames[:, None]
        return features * valid[..., None], frames

    def _states(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the wanted hidden states (B, K, F, D) and the frames (B,), cached or fresh."""
        if self.cache is None:
            return self._run(waveforms, lengths)
        keys = [waveform_key(row[:count]) for row, count in zip(waveforms, lengths, strict=True)]
        known = {key: state for key in keys if (state := self.cache.get(key)) is not None}
        rows = [index for index, key in enumerate(keys) if key not in known]
        if rows:
            longest = int(lengths[rows].max())
            states, frames = self._run(waveforms[rows, :longest], lengths[rows])
            for index, state, count in zip(rows, states, frames, strict=True):
                known[keys[index]] = state[:, :count].clone()
                self.cache.put(keys[index], known[keys[index]])
        each = [known[key].transpose(0, 1) for key in keys]
        counts = torch.tensor([len(state) for state in each], device=lengths.device)
        return pad_sequence(each, batch_first=True).transpose(1, 2), counts

    def _run(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the upstream; K is 1 unless the layer weights are learned."""
        states, frames = self.upstream(waveforms, lengths)
        if self.layers == "weighted":
            return torch.stack(states, dim=1), frames
        chosen = states if self.layers == "mean" else [states[self.layers]]
        return torch.stack(chosen).mean(0)[:, None], frames

    def _combine(self, states: Tensor) -> Tensor:
        """Sum (B, K, F, D) over K -> (B, F, D)."""
        if self.layers != "weighted":
            return states[:, 0]
        return torch.einsum("k,bkfd->bfd", torch.softmax(self.layer_weights, 0), states)


def _leave_upstream_out(
    module: nn.Module,  # noqa: ARG001 - torch's hook signature
    state_dict: dict[str, Tensor],
    prefix: str,
    local_metadata: Mapping[str, Any],  # noqa: ARG001
) -> None:
    """Drop the frozen upstream's tensors from what is saved."""
    for name in [name for name in state_dict if name.startswith(prefix + _UPSTREAM)]:
        del state_dict[name]


def _refill_upstream(
    module: HarnessFrontend,
    state_dict: dict[str, Any],
    prefix: str,
    *_: object,
) -> None:
    """Put the upstream's own tensors into what is loaded; refuse a model of another upstream."""
    digest = state_dict.get(f"{prefix}upstream_digest")
    if digest is not None and not torch.equal(digest.cpu(), module.upstream_digest.cpu()):
        raise ValueError(
            "This ASR model was trained on another upstream checkpoint than the one that "
            "frontend_conf.checkpoint names. Point it at the original, or train again."
        )
    for name, value in module.upstream.state_dict().items():
        state_dict.setdefault(f"{prefix}{_UPSTREAM}{name}", value)


def _checked_layers(layers: str | int, num_layers: int) -> str | int:
    """Check the choice of layers; negative numbers count from the end."""
    if layers in ("weighted", "mean"):
        return layers
    if isinstance(layers, int) and -num_layers - 1 <= layers <= num_layers:
        return layers
    raise ValueError(
        f"layers = {layers!r}: expected 'weighted', 'mean' or a number from 0 (the "
        f"transformer's input) to {num_layers} (the last block's output)."
    )


def _check_rate(fs: int | str) -> None:
    if str(fs).lower().replace(" ", "") not in _RATES:
        raise ValueError(f"fs = {fs!r}: the upstreams take {SAMPLE_RATE} Hz only; leave fs out.")


def _raise_too_short(samples: int) -> None:
    """Raise ESPnet's own error, which its decoder knows how to survive."""
    from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import (  # noqa: PLC0415
        TooShortUttError,
    )

    raise TooShortUttError(
        f"has {samples} samples, but one frame needs {FRAME_FIELD}", samples, FRAME_FIELD
    )
