"""A plan is what somebody asks a cluster for: its figures must follow from the config alone."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import HubertConfig, HubertModel

from harness_bench.models.checkpoint import transformers_config
from harness_bench.models.config import (
    extractor_per_second,
    forward_per_second,
    training_per_second,
)
from harness_bench.models.frozen import FrozenModel
from harness_bench.models.hubert import Hubert
from harness_bench.models.types.hubert import Backbone
from harness_bench.pretrain.config import PRESETS, load_family, load_preset
from harness_bench.pretrain.family import check_starts
from harness_bench.pretrain.plan import cost_of, label_owner, plan, render_plan
from tests.pretrain.conftest import written
from tests.tiny import DEFAULTS, TEACHERS

STUDENTS = "".join(
    f'[[iterations]]\nname = "{name}"\nteacher = "second"\n'
    f'labels = {{ source = "hidden", layer = 2{more} }}\n'
    for name, more in (("one", ""), ("two", ""), ("other", ", pca_dim = 4"))
)
# DESIGN, "Cost": GFLOP per audio second of forward and backward, and the extractor's share.
MEASURED = {
    "harness_l_it1": (120, 0.12),
    "harness_s_65m": (35, 0.42),
    "harness_st": (20.5, 0.72),
    "harness_st_28m": (23, 0.65),
}


@pytest.mark.parametrize("name", MEASURED)
def test_operations_agree_with_those_counted_elsewhere(name: str) -> None:
    step = load_preset(name)
    operations, share = MEASURED[name]
    found = training_per_second(step.model, clusters=1000, final_dim=768)
    assert found / 1e9 == pytest.approx(operations, rel=0.05)
    assert 3 * extractor_per_second(step.model) / found == pytest.approx(share, abs=0.03)


def test_operations_are_those_of_torchs_counter() -> None:
    """Of transformers' model of the shape, whose projection to 512 dimensions adds 0.2 %."""
    config, seconds = load_preset("harness_st").model, 4
    settings = HubertConfig(**transformers_config(config), attn_implementation="eager")
    with torch.device("meta"):
        model = HubertModel(settings).eval()
        samples = torch.zeros(1, 16_000 * seconds)
        with FlopCounterMode(display=False) as counter:
            model(samples)
    expected = forward_per_second(config, utterance_seconds=seconds) * seconds
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_operations_on_log_mel_bins_are_those_of_torchs_counter() -> None:
    """Of the model itself, for no other library has it; the counter knows no Fourier transform."""
    config, seconds = load_preset("harness_st_mel").model, 4
    expected = forward_per_second(config, utterance_seconds=seconds)
    counted = FrozenModel.operations_per_second(Backbone(Hubert(config)), seconds)
    assert counted == pytest.approx(expected, rel=0.01)


def test_cost_is_audio_times_operations() -> None:
    """500k updates x 24 GPUs x 62.5 s, at 10 and at 40 % of an H100."""
    cost = cost_of(load_preset("harness_l_it1"))
    seconds = 500_000 * 24 * 62.5
    assert cost.audio_hours == pytest.approx(seconds / 3600)
    assert cost.gpu_hours_usual == pytest.approx(seconds * cost.flop_per_second / 98.9e12 / 3600)
    assert cost.gpu_hours_usual == pytest.approx(4 * cost.gpu_hours_goal)


def test_labels_of_all_data_are_eight_gigabytes() -> None:
    """DESIGN: 23k hours of labels take 8 GB, and no features stand beside them."""
    rows = {row["name"]: row for row in plan(load_family(PRESETS / "family.toml"))}
    large = rows["harness_l_it1"]
    assert (large["data_hours"], rows["harness_st"]["data_hours"]) == (23_000, 1_100)
    assert large["label_bytes"] == pytest.approx(8.28e9)
    assert large["epochs"] == pytest.approx(9.1)


def test_equal_labels_are_made_once(tmp_path: Path) -> None:
    """Two students of one teacher, layer and k-means share a folder; PCA makes another."""
    family = written(tmp_path, DEFAULTS + TEACHERS + STUDENTS)
    owners = {step.name: label_owner(family, step).name for step in family.iterations}
    assert owners == {
        "first": "first", "second": "second", "one": "one", "two": "one", "other": "other",
    }  # fmt: skip


def test_given_hours_decide(tmp_path: Path) -> None:
    """Before the audio is there nothing is known but what the user says."""
    family = written(tmp_path, DEFAULTS + TEACHERS + STUDENTS)
    assert plan(family)[0]["label_bytes"] is None
    assert plan(family, 10.0)[0]["label_bytes"] == 10 * 180_000 * 2
    text = render_plan(plan(family, 1000.0))
    assert "of one" in text
    assert "GPU-hours on H100 at 10 % of its bf16 peak" in text
    rows = [row | {"audio_hours_seen_at_most": 208_300.0} for row in plan(family, 1000.0)]
    assert "208,300 h" in render_plan(rows)  # hours with exponents are for nobody


def test_a_start_that_cannot_work_is_found_before_the_teacher_is_trained(tmp_path: Path) -> None:
    student = STUDENTS.split('[[iterations]]\nname = "two"', maxsplit=1)[0] + (
        'model = { encoder_embed_dim = 16 }\npretrain = { init = "block_average" }\n'
    )
    family = written(tmp_path, DEFAULTS + TEACHERS + student)
    with pytest.raises(ValueError, match=r"iteration 'one': .*encoder_embed_dim"):
        check_starts(family)
