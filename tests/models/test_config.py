"""Parameter counts: the formula, the built modules and the paper must agree to the last unit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness_bench.models.config import (
    backbone_parameters,
    exported_parameters,
    paper_parameters,
)
from harness_bench.models.hubert import Hubert
from harness_bench.pretrain.config import load_preset, preset_names
from harness_bench.pretrain.objectives.hubert import HubertObjective
from tests.models.conftest import MEL, small_config

# PAPER.md, "parameter counts (computed)".
PAPER = {
    "harness_l_it1": 316_993_408,
    "harness_l_it2": 316_993_408,
    "harness_s_65m": 65_068_928,
    "harness_s": 48_283_520,
    "harness_s_heads4": 48_283_520,
    "harness_st_28m": 28_478_336,
    "harness_st": 20_081_536,
    "harness_st_pca": 20_081_536,
    "harness_st_256": 11_093_120,
}


def test_every_preset_is_in_the_paper_table() -> None:
    """A preset added later must bring its count, or nobody would check it."""
    assert {name for name in preset_names() if load_preset(name).paper} == set(PAPER)


@pytest.mark.parametrize("name", sorted(PAPER))
def test_counts_of_the_paper(name: str) -> None:
    """Both readings of the paper's contradictory sizes are exact."""
    step = load_preset(name)
    counted = paper_parameters(step.model, step.labels.clusters, step.pretrain.final_dim)
    assert counted == PAPER[name]
    assert step.paper is not None
    assert step.paper.parameters == PAPER[name]


@pytest.mark.parametrize("name", ["harness_l_it1", "harness_s", "harness_st", "harness_st_256"])
def test_formula_equals_the_built_model(name: str) -> None:
    """The light formula that `harness-bench models` prints must not drift from the modules."""
    step = load_preset(name)
    with torch.device("meta"):
        model = HubertObjective(Hubert(step.model), step.labels.clusters, step.pretrain)
    assert sum(p.numel() for p in model.parameters()) == PAPER[name]
    assert sum(p.numel() for p in model.hubert.parameters()) == backbone_parameters(step.model)


def test_export_adds_a_projection_only_where_fairseq_has_none() -> None:
    """PAPER.md: transformers' projection costs 262,656 parameters at 512 dimensions."""
    thin = load_preset("harness_st").model
    wide = load_preset("harness_s").model
    assert exported_parameters(thin) - backbone_parameters(thin) == 262_656
    assert exported_parameters(wide) == backbone_parameters(wide)


@pytest.mark.parametrize(
    "extractor",
    [{"extractor_mode": "default"}, {"conv_bias": True}, {"conv_bias": True} | MEL, MEL],
)
def test_formula_over_extractor_variants(extractor: dict[str, Any]) -> None:
    """Imported models may have biases or group norm, ours log-mel bins; counts must hold too."""
    config = small_config(**extractor)
    with torch.device("meta"):
        model = Hubert(config)
    assert sum(p.numel() for p in model.parameters()) == backbone_parameters(config)
