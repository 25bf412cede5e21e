"""Graphs written anew: the same numbers as the models they stand for, of any length and batch."""

from __future__ import annotations

import pytest
import torch

from harness_bench.deploy.graph import HubertGraph, TracedGraph, graph_of
from harness_bench.models.hubert import Hubert
from harness_bench.models.types.fbank import Fbank
from harness_bench.models.types.hubert import Backbone
from tests.models.conftest import KINDS, MEL, padded, small_config


@pytest.mark.parametrize("kind", [*KINDS, "mel"])
@torch.inference_mode()
def test_a_graph_is_its_model(kind: str) -> None:
    """Norms first and last, group norm over the utterance, biases, odd kernels, log-mel bins."""
    torch.manual_seed(2)
    model = Backbone(Hubert(small_config(**{**KINDS, "mel": MEL}[kind])))
    graph = graph_of(model)
    assert isinstance(graph, HubertGraph)
    samples, lengths = padded([9_003, 400, 4_321])
    *found, frames = graph(samples, lengths)
    states, expected = model(samples, lengths)
    assert torch.equal(frames, expected)
    assert len(found) == len(states)
    for row, count in enumerate(frames.tolist()):
        for one, other in zip(found, states, strict=True):
            torch.testing.assert_close(one[row, :count], other[row, :count], atol=2e-5, rtol=1e-4)


def test_other_models_are_traced() -> None:
    """What is no HuBERT of ours has no graph of its own, and takes one utterance."""
    graph = graph_of(Fbank())
    assert isinstance(graph, TracedGraph)
    assert not graph.batched
