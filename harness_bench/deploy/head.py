"""Trained heads as graphs: upstream, weighted sum of its hidden states, and head in one."""

from __future__ import annotations

import copy
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, override

import numpy as np
import torch
from torch import Tensor, nn

from harness_bench.core.extras import require
from harness_bench.core.files import digest_file
from harness_bench.core.log import bar
from harness_bench.deploy.board import SOME, ExportCheck
from harness_bench.deploy.checkpoint import known_name
from harness_bench.deploy.convert import Exportable
from harness_bench.deploy.graph import FeaturesGraph, graph_of
from harness_bench.models.frozen import checkpoint_digest, parameter_count, weight_bytes
from harness_bench.models.runtime import GraphConfig
from harness_bench.probing.head.data import prediction_rows, read_split
from harness_bench.probing.s3prl.predict import find_checkpoint, open_runner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness_bench.deploy.parity import Run
    from harness_bench.models.frozen import ModelShape
    from harness_bench.probing.head.expert import ClassifierExpert
    from harness_bench.probing.head.model import CnnAttentionHead
    from harness_bench.probing.s3prl.upstream import FrozenExpert
    from harness_bench.results.predictions import ClassPrediction


class HeadGraph(nn.Module):
    """Class probabilities of a waveform."""

    def __init__(self, features: FeaturesGraph, head: CnnAttentionHead) -> None:
        super().__init__()
        self.features, self.head = features, _folded(head)

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Map (B, T) float at 16 kHz and (B,) int64 -> (B, classes) probabilities."""
        logits: Tensor = self.head(*self.features(waveforms, lengths))
        return logits.softmax(-1)


def _folded(head: CnnAttentionHead) -> CnnAttentionHead:
    """Return a copy of a head whose batch norm is part of its projector."""
    head = copy.deepcopy(head).eval()
    if head.norm is not None:
        norm, weight = head.norm, head.projector.weight.data
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        head.projector.bias.data = (head.projector.bias + weight @ shift).detach()
        head.projector.weight.data = (weight * scale).detach()
        head.norm = None
    return head


def _shares(upstream: FrozenExpert, featurizer: Any) -> list[float]:
    """Return what s3prl's featurizer takes of each hidden state."""
    count = upstream.backbone.shape.num_layers + 1
    if upstream.cache.states == "mean":
        return [1 / count] * count
    chosen = featurizer.layer_selection
    if featurizer.feature_selection == "last_hidden_state" or count == 1:
        chosen = count - 1
    alone = isinstance(chosen, int)
    found = np.eye(count)[chosen] if alone else featurizer.weights.detach().softmax(-1)
    shares: list[float] = found.tolist()
    return shares


@dataclass(frozen=True)
class TrainedHead:
    """A head that was opened to be exported."""

    subject: Exportable
    expert: ClassifierExpert
    shape: ModelShape  # of the upstream

    def examine(self, cuts: Path, split: str) -> ExportCheck:
        """Return how to measure the graph on a split of prepared cuts."""
        data, classes = replace(self.expert.data, cuts=cuts), self.expert.classes
        with TemporaryDirectory() as report:
            found = read_split(
                split, config=data, classes=classes, report_in=Path(report), shape=self.shape
            )

        def answers(run: Run) -> list[ClassPrediction]:
            rows = [found[at] for at in range(len(found))]
            probs = [run(row.waveform.numpy())[0][0] for row in bar(rows, title="Classifying")]
            return prediction_rows(
                [row.id for row in rows], [classes[row.label] for row in rows],
                [classes[int(each.argmax())] for each in probs],
                [each.tolist() for each in probs], [row.group for row in rows],
                classes=classes, tags=found.tags,
            )  # fmt: skip

        waves = [found[at].waveform.numpy() for at in range(min(len(found), SOME))]
        ids = [cut.id for cut in found.cuts]
        return ExportCheck(ids, waves, answers, self.expert.task, split, ("accuracy", "macro_f1"))


def is_head(source: Path) -> bool:
    """Whether a path holds a head that `predict` would take."""
    try:
        return find_checkpoint(source).suffix == ".ckpt"
    except ValueError:
        return False


def open_head(source: Path, upstream_checkpoint: Path | None = None) -> TrainedHead:
    """Open a head, of any place that `predict` takes; other upstreams are a ValueError."""
    checkpoint = find_checkpoint(source)
    require("s3prl")
    from harness_bench.probing.s3prl.upstream import FrozenExpert  # noqa: PLC0415 - s3prl

    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        runner = open_runner(checkpoint, Path(folder), upstream_checkpoint)
    upstream, featurizer = runner.upstream.model, runner.featurizer.model
    expert = runner.downstream.model
    if not isinstance(upstream, FrozenExpert):
        raise ValueError(  # noqa: TRY004 - user input
            f"{checkpoint} was trained on s3prl's own upstream {runner.args.upstream!r}; heads on "
            "checkpoints of this project's model types can be exported (-u harness_local)."
        )

    def parent(wave: NDArray[np.float32]) -> list[NDArray[Any]]:
        # As `predict` does it, but for what s3prl's upstream keeps of utterances heard before.
        wav = torch.from_numpy(wave)
        with torch.inference_mode():
            (states,) = upstream.encode([wav])
            kept = states.mean(0, keepdim=True) if upstream.cache.states == "mean" else states
            each = [state[None] for state in kept]
            features = featurizer([wav], {"hidden_states": each, "last_hidden_state": each[-1]})
            (probs,) = expert.probabilities(features, [len(wave)])
        return [np.array([[probs[name] for name in expert.classes]], np.float32)]

    model, shape = upstream.backbone, upstream.backbone.shape
    inner = graph_of(model)
    shares = _shares(upstream, featurizer)
    features = FeaturesGraph(inner, shares, normalize=featurizer.normalize)
    graph = HeadGraph(features, expert.model)
    own = sum(parameter.numel() for parameter in expert.model.parameters())
    config = GraphConfig(
        kind="head",
        runtime="onnx",
        name=known_name(upstream.checkpoint),
        parent_digest=digest_file(checkpoint),
        upstream_digest=checkpoint_digest(upstream.checkpoint),
        parameters=parameter_count(upstream.checkpoint) + own,
        **asdict(shape),
        operations_per_second=model.operations_per_second(10.0),
        batched=inner.batched,
        classes=tuple(expert.classes),
    )
    subject = Exportable(
        source=source,
        config=config,
        graph=graph.eval(),
        outputs=("probs",),
        parent=parent,
        disk_bytes=weight_bytes(upstream.checkpoint) + 4 * own,
        precise=tuple(f"/features/upstream{name}" for name in inner.precise),
        facts={"task": expert.task},
    )
    return TrainedHead(subject, expert, shape)
