"""Encoders that transformers computes, in fairseq's convention of layers.

Their hidden states are caught at the blocks themselves: what transformers lists as the last one
has passed a further layer norm in some models. It is imported here alone, when such a model opens.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, override

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from harness_bench.audio.frames import field_of
from harness_bench.models.checkpoint import normalizes, require_sizes
from harness_bench.models.frozen import CONFIG, FrozenModel, ModelShape, ModelType, config_of
from harness_bench.models.hubert import normalize_waveforms
from harness_bench.models.rates import at_rate, rate_of, shape_at
from harness_bench.models.weights import fill, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SHAPE = ("hidden_size", "num_hidden_layers")
_CONVOLUTIONS = ("conv_kernel", "conv_stride")


class TransformersModel(FrozenModel):
    """A module of transformers around a list of blocks, `holder.layers`.

    Where padding would reach valid frames, `together` is False and each utterance runs alone.
    """

    def __init__(
        self, shape: ModelShape, body: nn.Module, holder: nn.Module, *, together: bool
    ) -> None:
        super().__init__(shape)
        self.body, self.together = body, together
        self._holder = [holder]  # a part of `body`, which must not be listed twice

    def inputs(self, waveforms: Tensor, lengths: Tensor) -> dict[str, Tensor | None]:
        """Prepare audio (B, T), zero behind its `lengths` (B,), as arguments of the body."""
        raise NotImplementedError

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        frames = self.shape.counts(lengths)
        if self.together or bool((lengths == waveforms.shape[1]).all()):
            return self._states(waveforms, lengths, max_layer), frames
        rows = zip(waveforms, lengths.tolist(), strict=True)
        alone = [
            self._states(wave[None, :length], torch.tensor([length]), max_layer)
            for wave, length in rows
        ]
        layers = zip(*alone, strict=True)
        return [pad_sequence([row[0] for row in each], batch_first=True) for each in layers], frames

    @property
    @override
    def one_by_one(self) -> bool:
        return not self.together

    @override
    def let_padding_count(self) -> None:
        self.together = True

    def _states(self, waveforms: Tensor, lengths: Tensor, max_layer: int | None) -> list[Tensor]:
        given = self.inputs(waveforms, lengths)
        (holder,) = self._holder
        blocks: Any = holder.layers
        wanted = len(blocks) if max_layer is None else max(1, max_layer)
        states: list[Tensor] = []

        def entered(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            states.append(args[0] if args else kwargs["hidden_states"])

        def left(_: nn.Module, __: Any, output: Any) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        with ExitStack() as stack:
            hook = blocks[0].register_forward_pre_hook(entered, with_kwargs=True)
            for each in (hook, *(block.register_forward_hook(left) for block in blocks)):
                stack.callback(each.remove)
            stack.callback(setattr, holder, "layers", blocks)
            holder.layers = blocks[:wanted]
            self.body(**given)
        return states

    def cast(self, values: Tensor) -> Tensor:
        """Bring inputs to the device and into the numbers of the weights."""
        like = next(self.body.parameters())
        return values.to(device=like.device, dtype=like.dtype)


class WaveformEncoder(TransformersModel):
    """One that hears waveforms through convolutions."""

    def __init__(
        self, shape: ModelShape, body: Any, *, normalize: bool, together: bool, epsilon: float
    ) -> None:
        super().__init__(shape, body, body.encoder, together=together)
        self.normalize, self.epsilon = normalize, epsilon

    @override
    def inputs(self, waveforms: Tensor, lengths: Tensor) -> dict[str, Tensor | None]:
        if self.normalize:
            waveforms = normalize_waveforms(waveforms, lengths, self.epsilon)
        mask = None
        if bool((lengths < waveforms.shape[1]).any()):
            places = torch.arange(waveforms.shape[1], device=waveforms.device)
            mask = (places < lengths.to(waveforms.device)[:, None]).long()
        return {"input_values": self.cast(waveforms), "attention_mask": mask}


class TransformersFolder(ModelType):
    """Folders of an architecture on waveforms that transformers computes.

    `exact_norms`: the kinds of `feat_extract_norm` with which a padded batch gives the features of
    each utterance alone.
    """

    def __init__(self, model_type: str, *, title: str, exact_norms: tuple[str, ...] = ()) -> None:
        self.model_types, self.title, self.exact_norms = (model_type,), title, exact_norms
        self.elsewhere = "transformers: `AutoModel.from_pretrained(FOLDER)`"

    @override
    def shape(self, path: Path) -> ModelShape:
        return shape_at(waveform_shape(path), rate_of(path), path)

    @override
    def load(self, path: Path) -> FrozenModel:
        return self.opened(path, read_weights(path, self.prefixes))

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What task models put before the backbone's names."""
        return tuple(f"{name.replace('-', '_')}." for name in self.model_types)

    def opened(
        self, path: Path, tensors: Mapping[str, Tensor], *, epsilon: float = 1e-7
    ) -> FrozenModel:
        """Build the model of a folder's settings with these weights, under plain names."""
        body = self.body(path)
        fill(body, tensors, path)
        return self.wrapped(path, body, epsilon)

    def wrapped(self, path: Path, body: Any, epsilon: float) -> FrozenModel:
        """Make a frozen model of a body with its weights; `epsilon` as in `normalize_waveforms`."""
        together = config_of(path).get("feat_extract_norm") in self.exact_norms
        model = WaveformEncoder(
            waveform_shape(path), body, normalize=normalizes(path), together=together,
            epsilon=epsilon,
        )  # fmt: skip
        return at_rate(model, rate_of(path), path)

    @override
    def parameters(self, path: Path) -> int:
        with torch.device("meta"):
            return sum(value.numel() for value in self.body(path).parameters())

    def body(self, path: Path) -> Any:
        """Build transformers' model of a folder's settings, with random weights."""
        import transformers  # noqa: PLC0415 - seconds, and only for its own architectures
        from huggingface_hub.errors import StrictDataclassError  # noqa: PLC0415 - as above

        try:
            config = transformers.AutoConfig.for_model(**config_of(path))
            # Else in the numbers that config.json names: those of the file, often of 16 bits.
            return transformers.AutoModel.from_config(config, dtype=torch.float32).eval()
        except (ValueError, KeyError, TypeError, StrictDataclassError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(
                f"{path / CONFIG}: transformers {transformers.__version__} does not build this "
                f"model ({reason})."
            ) from error


def waveform_shape(path: Path) -> ModelShape:
    """Read the shape of an encoder with convolutions, in samples of its own rate."""
    require_sizes(path, (*_SHAPE, *_CONVOLUTIONS))
    config = config_of(path)
    if len(config["conv_kernel"]) != len(config["conv_stride"]):
        raise ValueError(f"{path / CONFIG}: conv_kernel and conv_stride differ in length.")
    field = field_of(config["conv_kernel"], config["conv_stride"])
    step = math.prod(config["conv_stride"])
    return ModelShape(config["hidden_size"], config["num_hidden_layers"], step, field)


def extractor_of(kind: str, settings: Mapping[str, Any]) -> Any:
    """Make a feature extractor of transformers of a class and a folder's settings."""
    import transformers  # noqa: PLC0415 - as above

    return getattr(transformers, kind).from_dict({**settings})
