"""Models that come with the package: small, whole, licensed, and opened without a download."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors import safe_open

from harness_bench.models import hub
from harness_bench.models.checkpoint import load_config, read_facts, transformers_config
from harness_bench.models.config import exported_parameters
from harness_bench.models.frozen import hidden_states, load_model, parameter_count
from harness_bench.pretrain.config import load_family
from tests.models.conftest import padded

MODELS = hub.packaged()
LARGEST = 12e6  # bytes of a folder, for a clone and a wheel carry it


@pytest.fixture(params=sorted(MODELS))
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv(hub.MODELS, raising=False)
    return str(request.param)


def test_it_is_small_and_whole(name: str) -> None:
    folder = MODELS[name]
    there = {path.name for path in folder.iterdir()}
    assert there >= {*hub.FILES, "README.md", "LICENSE.md", "family.toml", "curves.png"}
    assert f"{read_facts(folder)['name']}.train.jsonl" in there
    assert "pretraining_head.safetensors" not in there
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST
    with safe_open(folder / hub.WEIGHTS, framework="pt") as tensors:
        kinds = {tensors.get_slice(each).get_dtype() for each in tensors.keys()}  # noqa: SIM118
    assert kinds == {"F16"}
    assert parameter_count(folder) == exported_parameters(load_config(folder))


@torch.inference_mode()
def test_it_opens_by_its_name_and_tells_sounds_apart(name: str) -> None:
    """What silent zeros or infinities of a broken file would not do."""
    model = load_model(name)
    assert all(value.dtype == torch.float32 for value in model.parameters())
    noise, _ = padded([16_000])
    tone = torch.sin(torch.arange(16_000) / 16_000 * 2 * torch.pi * 220)
    first, second = (hidden_states(model, wave) for wave in (noise[0], tone))
    assert first.shape == (model.shape.num_layers + 1, 49, model.shape.hidden_size)
    assert first.isfinite().all()
    for one, other in zip(first, second, strict=True):
        assert (one - other).norm() > 0.1 * one.norm()


def test_its_card_says_what_it_was_trained_on(name: str) -> None:
    """Every source has a licence, the recipe is the weights', and no path is of one machine."""
    folder = MODELS[name]
    card, licence = ((folder / each).read_text() for each in ("README.md", "LICENSE.md"))
    family, facts = load_family(folder / "family.toml"), read_facts(folder)
    step = next(each for each in family.iterations if each.name == facts["name"])
    assert transformers_config(step.model) == transformers_config(load_config(folder))
    assert family.data is not None
    for source in family.data.sources:
        assert re.search(rf"^\\| {source.title} \\| [\\d.]+ \\| CC", card, re.MULTILINE)
        assert f"- {source.title}: CC" in licence
        assert source.split == "train"
    assert "## Figures" in card
    assert "## Limits" in card
    assert "FBANK" in card
    for path in folder.glob("*.*"):
        if path.suffix in {".json", ".jsonl", ".md", ".toml"}:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"/(tmp|home|root|work)/", text), path.name
