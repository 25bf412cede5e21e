"""Checkpoints of any type as graphs: hidden states of a waveform."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from harness_bench.deploy.convert import Exportable
from harness_bench.deploy.graph import graph_of
from harness_bench.models import hub
from harness_bench.models.checkpoint import read_facts
from harness_bench.models.frozen import (
    checkpoint_digest,
    load_backbone,
    parameter_count,
    weight_bytes,
)
from harness_bench.models.runtime import FRAMES, GraphConfig, is_export
from harness_bench.pretrain.config import CHECKPOINT

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def checkpoint_subject(source: Path) -> Exportable:
    """Open a checkpoint folder, a run's, or a named model; an exported one is a ValueError."""
    folder = hub.locate(source, pathless=True)  # fbank has no graph, which is said below
    folder = folder / CHECKPOINT if (folder / CHECKPOINT).is_dir() else folder
    if is_export(folder):
        raise ValueError(f"{folder} is an export already; name the checkpoint it was made from.")
    model = load_backbone(folder).requires_grad_(requires_grad=False)
    facts, shape, graph = read_facts(folder), model.shape, graph_of(model)
    config = GraphConfig(
        kind="upstream",
        runtime="onnx",
        name=known_name(folder),
        parent_digest=checkpoint_digest(folder),
        parameters=parameter_count(folder),
        **asdict(shape),
        operations_per_second=model.operations_per_second(10.0),
        batched=graph.batched,
    )

    def parent(wave: NDArray[np.float32]) -> list[NDArray[Any]]:
        with torch.inference_mode():
            states, frames = model(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))
        return [each.numpy() for each in (*states, frames)]

    return Exportable(
        source=folder,
        config=config,
        graph=graph,
        outputs=(*(f"state_{at}" for at in range(shape.num_layers + 1)), FRAMES),
        parent=parent,
        disk_bytes=weight_bytes(folder),
        precise=graph.precise,
        facts=facts,
    )


def known_name(folder: Path) -> str:
    """Return the name of a model that comes with the package, else what `hub.model_name` says."""
    packaged = {path.resolve(): name for name, path in hub.packaged().items()}
    return packaged.get(folder.resolve()) or hub.model_name(folder)
