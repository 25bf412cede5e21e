"""espnet3 keeps its own copy of ESPnet's ASR task; the frontend must be in that one too."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from harness_bench.asr.espnet.register import register
from harness_bench.models.frozen import load_backbone
from tests.asr.trainings import DECODER_DROPOUT, SMALL, TOKENS

TASK = "espnet3.systems.esp2_asr.task"
absent = importlib.util.find_spec("espnet3") is None
skipped = pytest.mark.skipif(absent, reason="this ESPnet has no espnet3")
pytestmark = [pytest.mark.espnet, skipped]


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> Any:
    """Return a model that espnet3 builds from the `model` part of a recipe's training.yaml."""
    from espnet3.utils.task_utils import get_espnet_model  # noqa: PLC0415 - heavy
    from omegaconf import OmegaConf  # noqa: PLC0415

    register()
    decoder = {"attention_heads": 2, "linear_units": 16, "num_blocks": 1}
    config = {
        "token_list": list(TOKENS), "frontend": "harness",
        "frontend_conf": {"checkpoint": str(tiny_checkpoint), "layers": "weighted"},
        "encoder": "transformer", "encoder_conf": SMALL, "decoder": "transformer",
        "decoder_conf": decoder | dict.fromkeys(DECODER_DROPOUT, 0.0),
        "normalize": "utterance_mvn", "model_conf": {"ctc_weight": 0.3},
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return get_espnet_model(f"{TASK}.ASRTask", OmegaConf.create(config))


def test_its_task_is_a_copy(model: Any) -> None:
    """Registration in espnet2's table alone would not reach it; if that ends, so may ours."""
    import espnet2.tasks.asr as two  # noqa: PLC0415 - heavy
    import espnet3.systems.esp2_asr.task as three  # noqa: PLC0415

    assert three.frontend_choices is not two.frontend_choices
    assert isinstance(model.frontend, three.frontend_choices.get_class("harness"))


def test_its_model_trains_the_layer_weights(model: Any) -> None:
    """What espnet3's Lightning module does with a batch: loss, statistics, weight."""
    loss, stats, weight = model.train()(
        speech=0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0)),
        speech_lengths=torch.tensor([8000, 6000]),
        text=torch.tensor([[2, 3, 4], [3, 2, -1]]), text_lengths=torch.tensor([3, 2]),
    )  # fmt: skip
    loss.backward()
    trained = {name for name, value in model.frontend.named_parameters() if value.grad is not None}
    assert trained == {"layer_weights"}
    assert model.frontend.layer_weights.grad.any()
    assert {"loss", "loss_ctc", "acc"} <= stats.keys()
    assert weight == 2


def test_its_checkpoints_bring_every_weight_back(
    model: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Lightning's files hold the model's state under `model.`; ESPnet's loader reads them too."""
    module = torch.nn.ModuleDict({"model": model})
    path = tmp_path / "step.ckpt"
    torch.save({"state_dict": module.state_dict()}, path)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert not [name for name in state if name.startswith("model.frontend.upstream.")]
    with torch.no_grad():
        model.frontend.layer_weights.add_(1)
    module.load_state_dict(state, strict=True)
    assert not model.frontend.layer_weights.any()
    truth = load_backbone(tiny_checkpoint).state_dict()
    found = model.frontend.upstream.model().state_dict()
    assert all(torch.equal(found[name], value) for name, value in truth.items())
