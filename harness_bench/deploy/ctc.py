"""CTC of an ASR model as a graph: frontend, encoder and output layer in one."""

from __future__ import annotations

import copy
import hashlib
import math
from typing import TYPE_CHECKING, Any, override

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness_bench.asr.espnet.frontend import HarnessFrontend
from harness_bench.asr.transcribe.pack import OpenOptions
from harness_bench.asr.transcribe.recognise import LEAST
from harness_bench.asr.transcribe.transcriber import Transcriber
from harness_bench.audio.batching import read_waves
from harness_bench.audio.io import load_finite
from harness_bench.core.files import digest_strings
from harness_bench.core.log import bar
from harness_bench.cuts.fields import group_of, tags_of, text_of
from harness_bench.cuts.store import read_cuts
from harness_bench.deploy.board import SOME, ExportCheck
from harness_bench.deploy.convert import Exportable
from harness_bench.deploy.graph import FeaturesGraph, PowerGraph, graph_of
from harness_bench.deploy.transcribe import greedy
from harness_bench.models.frozen import FrozenUpstream, checkpoint_digest, load_backbone
from harness_bench.models.layers import WEIGHTED
from harness_bench.models.runtime import GraphConfig
from harness_bench.results.predictions import TextPrediction

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.deploy.parity import Run

FBANK = "default"  # ESPnet's own frontend
POSITIONS = ("PositionalEncoding", "RelPositionalEncoding")  # its classes


class CtcGraph(nn.Module):
    """Log-probabilities of tokens per frame of the encoder."""

    def __init__(self, asr: Any, frontend: nn.Module) -> None:
        super().__init__()
        self.frontend, self.normalize, self.preencoder = frontend, asr.normalize, asr.preencoder
        # A copy: the parent stays as it is, to compare with.
        self.encoder, self.postencoder, self.ctc = (
            copy.deepcopy(asr.encoder),
            asr.postencoder,
            asr.ctc,
        )
        for part in self.modules():
            if type(part).__name__ in POSITIONS:
                _compute_positions(part, relative=type(part).__name__ == POSITIONS[1])

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Map (1, T) float at 16 kHz and (1,) int64 -> (1, F, V)."""
        x, frames = self.frontend(waveforms, lengths)
        for part in (self.normalize, self.preencoder):
            x, frames = (x, frames) if part is None else part(x, frames)
        if self.encoder is not None:
            inside = getattr(self.encoder, "interctc_use_conditioning", False)
            x, frames, _ = self.encoder(x, frames, **({"ctc": self.ctc} if inside else {}))
        x = x[0] if isinstance(x, tuple) else x
        if self.postencoder is not None:
            x, _ = self.postencoder(x, frames)
        scores: Tensor = self.ctc.log_softmax(x)
        return scores


def _compute_positions(part: Any, *, relative: bool) -> None:
    """Let ESPnet's encoding compute its sinusoids instead of keeping a table of 5000 frames."""
    rates = torch.exp(torch.arange(0, part.d_model, 2) * -(math.log(10_000.0) / part.d_model))

    def extend(x: Tensor) -> None:
        count = x.shape[1]
        places = torch.arange(2 * count - 1 if relative else count)
        angles = (count - 1 - places if relative else places).float()[:, None] * rates
        part.pe = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[None]

    part.extend_pe = extend


class FbankGraph(nn.Module):
    """ESPnet's default frontend: centred windows, power, mel bins, logarithm."""

    def __init__(self, frontend: Any) -> None:
        super().__init__()
        stft, self.logmel = frontend.stft, frontend.logmel
        short = stft.win_length or stft.n_fft
        gap = (stft.n_fft - short) // 2
        window = F.pad(torch.hann_window(short), (gap, stft.n_fft - short - gap))
        self.power, self.edge = PowerGraph(window, stft.hop_length), stft.n_fft // 2

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map (1, T) float at 16 kHz and (1,) int64 -> (1, F, bins) and (1,) frames."""
        edges = (self.edge, self.edge)
        power = self.power(F.pad(waveforms[:, None], edges, mode="reflect")[:, 0])
        frames = lengths // self.power.hop + 1
        mels, _ = self.logmel(power, frames)
        return mels, frames


def _frontend(asr: Any, source: Path) -> tuple[FeaturesGraph | FbankGraph, tuple[str, ...]]:
    """Return the frontend as a graph, and the names of products that int8 leaves alone."""
    own = asr.frontend
    if isinstance(own, HarnessFrontend):
        model = own.upstream
        if isinstance(model, FrozenUpstream):  # it was opened in inference mode: nothing traces it
            model = load_backbone(model.path)
        graph, each = graph_of(model), torch.eye(model.shape.num_layers + 1)
        if own.layers == WEIGHTED:
            shares = own.layer_weights.detach().softmax(0)
        else:
            shares = each.mean(0) if isinstance(own.layers, str) else each[own.layers]
        names = tuple(f"/frontend/upstream{name}" for name in graph.precise)
        return FeaturesGraph(graph, shares.tolist()), names
    stft = getattr(own, "stft", None)
    plain = (
        getattr(own, "frontend_type", "") == FBANK
        and stft is not None
        and (stft.center, stft.normalized, str(stft.window)) == (True, False, "hann")
    )
    if not plain:
        raise ValueError(
            f"{source}: its frontend {type(own).__name__} has no graph; expected `harness`, or "
            "ESPnet's default with a Hann window."
        )
    return FbankGraph(own), ("/frontend/power/MatMul", "/frontend/logmel/MatMul")


class TrainedCtc:
    """An ASR model that was opened to be exported."""

    def __init__(self, source: Path, upstream_checkpoint: Path | None = None) -> None:
        opening = OpenOptions(upstream_checkpoint=upstream_checkpoint)
        opened = Transcriber(source, opening)
        asr, grid = opened.asr, opened.grid
        if grid is None:
            raise ValueError(
                f"{source} has no CTC, and attention decoders cannot be exported as a graph."
            )
        frontend, precise = _frontend(asr, source)
        graph = CtcGraph(asr, frontend).eval()

        def parent(wave: NDArray[np.float32]) -> list[NDArray[Any]]:
            with torch.inference_mode():
                audio, length = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
                encoded, _ = asr.encode(audio, length)
                encoded = encoded[0] if isinstance(encoded, tuple) else encoded
                return [asr.ctc.log_softmax(encoded).numpy()]

        numbers = {id(each): each.numel() for each in graph.parameters()}
        own = asr.frontend
        upstream = own.upstream if isinstance(own, HarnessFrontend) else None
        path = getattr(upstream, "path", None)
        weights = sum(numbers.values())
        config = GraphConfig(
            kind="ctc",
            runtime="onnx",
            name=source.absolute().stem,
            parent_digest=_digest(asr),
            upstream_digest=checkpoint_digest(path) if path else "",
            parameters=weights,
            hidden_size=own.output_size(),
            num_layers=upstream.shape.num_layers if upstream else 0,
            downsample_rate=round(grid.shift),
            receptive_field=LEAST,
            batched=False,
            tokens=tuple(asr.token_list),
            token_type=opened.token_type,
            blank=asr.blank_id,
            frame_shift=grid.shift,
            frame_first=grid.first,
        )
        self.subject = Exportable(
            source=source,
            config=config,
            graph=graph,
            outputs=("log_probs",),
            parent=parent,
            disk_bytes=4 * weights,
            precise=precise,
        )

    def examine(self, cuts: Path, split: str) -> ExportCheck:
        """Return how to measure the graph on a split of prepared cuts: by greedy CTC."""
        every, config = [*read_cuts(cuts, split)], self.subject.config
        tags = tags_of(every)

        def heard(cut: Cut, run: Run) -> str:
            try:
                wave = long_enough(load_finite(cut))
            except ValueError:  # the recipe writes nothing for it, too
                return ""
            return greedy(run(wave)[0][0], config).text

        def answers(run: Run) -> list[TextPrediction]:
            return [
                TextPrediction(
                    id=cut.id, ref=text_of(cut), group=group_of(cut), tags=tags[cut.id],
                    hyp=heard(cut, run),
                )
                for cut in bar(every, title="Recognising")
            ]  # fmt: skip

        read, _ = read_waves(every[:SOME])
        waves = [long_enough(wave) for _, wave in read]
        return ExportCheck([cut.id for cut in every], waves, answers, "asr", split, ("wer",))


def long_enough(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill up a short waveform with zeros."""
    return np.pad(wave, (0, max(LEAST - len(wave), 0)))


def _digest(asr: nn.Module) -> str:
    """Return the digest of an ASR model's weights, wherever they lie."""
    return digest_strings(
        f"{name} {hashlib.blake2b(value.contiguous().numpy().tobytes()).hexdigest()}"
        for name, value in asr.state_dict().items()
    )
