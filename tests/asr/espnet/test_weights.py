"""The frontend's weights after each of ESPnet's own ways to save and load a model.

ESPnet loads non-strictly, so a lost weight is no error there: values are compared, to the bit.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from harness_bench.asr.espnet.register import register
from harness_bench.models.frozen import load_backbone
from tests.asr.trainings import arguments, other_checkpoint, write_data

pytestmark = pytest.mark.espnet
AVERAGE, LAST = "valid.acc.ave_2best.pth", "2epoch.pth"
FILES = (AVERAGE, "valid.acc.ave.pth", "valid.acc.best.pth", "latest.pth", "1epoch.pth", LAST)


@pytest.fixture(scope="module")
def task() -> Any:
    """Return ESPnet's ASR task, with our frontend."""
    from espnet2.tasks.asr import ASRTask  # noqa: PLC0415 - heavy

    register()
    return ASRTask


@pytest.fixture(scope="module")
def trained(task: Any, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a training of two epochs by ESPnet's trainer, `data` beside it."""
    folder = tmp_path_factory.mktemp("trained")
    with torch.random.fork_rng():
        data = write_data(folder / "data")
        task.main(cmd=arguments(data, tiny_checkpoint, folder / "asr"))
    return folder / "asr"


def load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def require_checkpoints_weights(model: Any, checkpoint: Path) -> None:
    """The upstream in the model is the checkpoint, to the bit: its weights, and what it gives."""
    truth = load_backbone(checkpoint)
    require_same(model.frontend.upstream.model(), truth.state_dict())
    noise = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([4000])
    states, _ = truth(noise, lengths)
    shares = model.frontend.layer_weights.softmax(0)
    expected = torch.einsum("k,bkfd->bfd", shares, torch.stack(states, dim=1))
    assert torch.equal(model.frontend(noise, lengths)[0], expected)


def require_same(model: Any, states: dict[str, Tensor]) -> None:
    """All that a file holds is in the model, to the bit."""
    found = model.state_dict()
    assert found.keys() == states.keys()
    assert all(torch.equal(found[name], value) for name, value in states.items())


@pytest.mark.parametrize("name", FILES)
def test_a_model_built_from_any_file_has_the_checkpoints_weights(
    task: Any, trained: Path, tiny_checkpoint: Path, name: str
) -> None:
    """Each epoch's model, the best, and their average: frontend and all else."""
    model, _ = task.build_model_from_file(trained / "config.yaml", trained / name)
    require_checkpoints_weights(model, tiny_checkpoint)
    require_same(model, load(trained / name))


def test_the_files_hold_what_was_trained_and_no_upstream(
    trained: Path, tiny_checkpoint: Path
) -> None:
    """The layer weights have moved and are saved; the checkpoint is not there a second time."""
    states = [load(trained / name) for name in FILES] + [load(trained / "checkpoint.pth")["model"]]
    for state in states:
        found = {name for name in state if name.startswith("frontend.")}
        assert found == {"frontend.layer_weights", "frontend.upstream_digest"}
        assert state["frontend.layer_weights"].any()
    upstream = sum(value.nbytes for value in load_backbone(tiny_checkpoint).state_dict().values())
    held = sum(value.nbytes for value in states[0].values())
    assert (trained / AVERAGE).stat().st_size < held + upstream


def test_the_average_is_the_mean_of_the_epochs(trained: Path) -> None:
    """The layer weights are averaged like any other; the digest stays what it was."""
    one, two, mean = (load(trained / name) for name in ("1epoch.pth", LAST, AVERAGE))
    name = "frontend.layer_weights"
    torch.testing.assert_close(mean[name], (one[name] + two[name]) / 2)
    assert not torch.equal(one[name], two[name])
    digest = "frontend.upstream_digest"
    assert torch.equal(mean[digest], one[digest])


def test_espnets_decoder_opens_it(trained: Path, tiny_checkpoint: Path) -> None:
    """`Speech2Text` is what asr_inference and every user of the model go through."""
    from espnet2.bin.asr_inference import Speech2Text  # noqa: PLC0415 - heavy

    opened = Speech2Text(trained / "config.yaml", trained / AVERAGE, beam_size=2)
    require_checkpoints_weights(opened.asr_model, tiny_checkpoint)
    require_same(opened.asr_model, load(trained / AVERAGE))
    upstream = opened.asr_model.frontend.upstream.model()
    assert not any(module.training for module in upstream.modules())


def test_a_batch_is_decoded_as_its_utterances_alone(trained: Path) -> None:
    """Recipes decode 16 at once; padding must change neither hypotheses nor their scores."""
    from espnet2.bin.asr_inference import Speech2Text  # noqa: PLC0415 - heavy

    opened = Speech2Text(
        trained / "config.yaml", trained / AVERAGE, beam_size=3, batch_size=16, ctc_weight=0.3,
        ctc_window_margin=0, maxlenratio=0.3,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(size, generator=generator) for size in (5000, 8000, 3000)]
    for together, wave in zip(opened(waves), waves, strict=True):
        alone = opened(wave)
        assert [hypothesis[2] for hypothesis in together] == [found[2] for found in alone]
        for one, other in zip(together, alone, strict=True):
            assert float(one[3].score) == pytest.approx(float(other[3].score), abs=1e-3)


def test_the_trainers_resume_brings_every_weight_back(
    task: Any, trained: Path, tiny_checkpoint: Path
) -> None:
    """It loads strictly, from a file without the upstream."""
    from espnet2.train.reporter import Reporter  # noqa: PLC0415 - heavy

    model, _ = task.build_model_from_file(trained / "config.yaml")
    with torch.no_grad():  # spoiled, so that loading has to bring each weight back
        for name, value in model.state_dict(keep_vars=True).items():
            if value.is_floating_point() and not name.endswith("upstream_digest"):
                value.add_(1)
    optimizer, reporter = torch.optim.Adam(model.parameters()), Reporter()
    path = trained / "checkpoint.pth"
    task.trainer.resume(path, model, reporter, [optimizer], [None], None)
    require_checkpoints_weights(model, tiny_checkpoint)
    require_same(model, load(path)["model"])
    assert reporter.get_epoch() == 2


@pytest.mark.parametrize("part", ["", ":frontend:frontend", ":encoder:encoder"])
def test_init_param_keeps_the_checkpoints_weights(
    task: Any, trained: Path, tiny_checkpoint: Path, part: str
) -> None:
    """Fine-tuning from an older ASR model, whole or in parts, goes through ESPnet's own merge."""
    from espnet2.torch_utils.load_pretrained_model import load_pretrained_model  # noqa: PLC0415

    model, _ = task.build_model_from_file(trained / "config.yaml")
    load_pretrained_model(f"{trained / LAST}{part}", model, ignore_init_mismatch=False)
    require_checkpoints_weights(model, tiny_checkpoint)
    expected = load(trained / LAST)
    for name, value in model.state_dict().items():
        if name.startswith(part.rpartition(":")[2]) and "digest" not in name:
            assert torch.equal(value, expected[name]), name


def test_another_checkpoint_is_refused_by_every_way(
    task: Any, trained: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """A config that names another checkpoint than the model was trained on."""
    from espnet2.bin.asr_inference import Speech2Text  # noqa: PLC0415 - heavy
    from espnet2.train.reporter import Reporter  # noqa: PLC0415

    other = other_checkpoint(tiny_checkpoint, tmp_path / "other")
    config = yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))
    config["frontend_conf"]["checkpoint"] = str(other)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    message = "trained on another upstream"
    with pytest.raises(ValueError, match=message):
        task.build_model_from_file(path, trained / LAST)
    with pytest.raises(ValueError, match=message):
        Speech2Text(path, trained / AVERAGE)
    model, _ = task.build_model_from_file(path)
    with pytest.raises(ValueError, match=message):
        task.trainer.resume(trained / "checkpoint.pth", model, Reporter(), [], [], None)


def test_a_fine_tuned_upstream_comes_from_the_file(
    task: Any, trained: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """With `freeze: false` the file's weights are the right ones, not the checkpoint's."""
    out = tmp_path / "asr"
    command = arguments(trained.with_name("data"), tiny_checkpoint, out, max_epoch=1)
    with torch.random.fork_rng():
        task.main(cmd=[*command, "--frontend_conf", "freeze=false"])
    model, _ = task.build_model_from_file(out / "config.yaml", out / "1epoch.pth")
    require_same(model, load(out / "1epoch.pth"))
    name = "encoder.layers.0.attention.q_proj.weight"
    truth, found = load_backbone(tiny_checkpoint).state_dict(), model.frontend.upstream.state_dict()
    (key,) = [key for key in truth if key.endswith(name)]
    assert not torch.equal(found[key], truth[key])
