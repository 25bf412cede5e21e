"""Families must be makeable before days of computing, and presets must be what the paper says."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness_bench.core.config import build
from harness_bench.pretrain.augment.preview import read_augment
from harness_bench.pretrain.config import (
    PRESETS,
    AugmentConfig,
    FamilyConfig,
    PretrainConfig,
    load_preset,
    preset_names,
)
from harness_bench.pretrain.plan import cost_of
from tests.pretrain.conftest import written

SHAPE = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")
MODEL = dict(zip(SHAPE, (4, 32, 64, 4), strict=True))


def step(name: str, **changes: Any) -> dict[str, Any]:
    labels = {"source": "mfcc"}
    return {"name": name, "model": MODEL, "labels": labels, "pretrain": {"max_update": 1}} | changes


def trained(**changes: Any) -> list[dict[str, Any]]:
    return [step("it1", pretrain={"max_update": 1, **changes})]


def student(name: str, teacher: str | None, layer: int = 4) -> dict[str, Any]:
    return step(name, teacher=teacher, labels={"source": "hidden", "layer": layer})


def family(*steps: dict[str, Any]) -> FamilyConfig:
    return build(FamilyConfig, {"name": "f", "iterations": list(steps)}, source="f.toml")


def test_students_may_share_a_teacher() -> None:
    """The paper's family is a tree, not a chain."""
    made = family(
        step("it1"), student("it2", "it1", 2), student("s", "it2"), student("st", "it2", 0)
    )
    assert [each.teacher for each in made.iterations] == [None, "it1", "it2", "it2"]


IMPOSSIBLE = {
    "teacher after its student": ([student("s", "it1"), step("it1")], "'it1' is none of the"),
    "unknown teacher": ([step("it1"), student("s", "it2")], r"before it \(it1\)"),
    "no teacher for hidden states": ([step("it1"), student("s", None)], "needs a teacher"),
    "its own teacher": ([student("s", "s")], "'s' is none of the"),
    "layer above the teacher's last": (
        [step("it1"), student("s", "it1", 5)], "layer = 5, but teacher 'it1' has 4 layers",
    ),
    "two of one name": ([step("it1"), step("it1")], "'it1' is there twice"),
    "nothing to make": ([], r"iterations = \[\]: .* at least 1 item"),
    "averaged blocks of nobody": (trained(init="block_average"), "needs a teacher"),
    "a layer of MFCC": ([step("it1", labels={"source": "mfcc", "layer": 1})], "layer = 1"),
    "hidden states of no layer": ([step("it1", labels={"source": "hidden"})], "need a layer"),
    "nothing to learn": (trained(pred_masked_weight=0.0), "nothing would be"),
    "a path as name": ([step("../it1")], "iterations.0.name"),
    "exports between states": (trained(export_interval_updates=3), "= 3 is not a multiple"),
    "unknown key": ([step("it1", teachers="x")], "'iterations.0.teachers'; did you mean teacher"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(IMPOSSIBLE))
def test_an_impossible_family_is_refused_at_once(case: str) -> None:
    """Each of these would else be found out days later, or never."""
    steps, message = IMPOSSIBLE[case]
    with pytest.raises(ValueError, match=message):
        family(*steps)


def test_warmup_is_fairseqs_share_unless_given() -> None:
    """HuBERT warms up over 32k of 400k updates."""
    for given, expected in ((None, 32_000), (0, 0), (7, 7)):
        assert PretrainConfig(max_update=400_000, warmup_updates=given).warmup == expected


# PAPER, "Pretraining" and Table 3: updates, seconds of audio per GPU and batch, GPUs.
LARGE, STUDENT = (62.5, 24), (75.0, 8)
UPDATES = {"harness_l_it1": (500_000, *LARGE), "harness_l_it2": (700_000, *LARGE)}
# layers, dimension, FFN, heads, millions as printed; both readings of the contradictory sizes
SHAPES = {
    "harness_l_it1": (24, 1024, 4096, 16, 316),
    "harness_l_it2": (24, 1024, 4096, 16, 316),
    "harness_s": (4, 1024, 2048, 16, 65),
    "harness_s_65m": (4, 1024, 4096, 16, 65),
    "harness_s_heads4": (4, 1024, 2048, 4, 48),
    "harness_st": (4, 512, 2048, 16, 28),
    "harness_st_28m": (4, 512, 4096, 16, 28),
    "harness_st_pca": (4, 512, 2048, 16, 28),
    "harness_st_256": (4, 256, 2048, 16, None),
}

OURS = {"harness_s_mel": "harness_s", "harness_st_mel": "harness_st"}  # and the paper's beside it
each_preset = pytest.mark.parametrize("name", sorted({*preset_names()} - {*OURS}))


@pytest.mark.parametrize(("name", "paper"), OURS.items())
def test_a_mel_preset_differs_from_the_papers_in_its_extractor_alone(name: str, paper: str) -> None:
    ours, theirs = load_preset(name), load_preset(paper)
    assert ours.paper is None
    assert ours.model == replace(
        theirs.model, extractor_mode="mel", conv_dim=(512,), conv_kernel=(400,), conv_stride=(320,)
    )
    assert ours.labels == theirs.labels
    assert ours.pretrain == replace(theirs.pretrain, features_pen_weight=0.0)


@each_preset
def test_preset_trains_as_the_paper_says(name: str) -> None:
    """Labels: MFCC, layer 9, the last layer ("layer 23" counted from 0); 1000 clusters, 300 h."""
    preset = load_preset(name)
    assert preset.name == name  # folders and results carry it
    model, labels, config, paper = preset.model, preset.labels, preset.pretrain, preset.paper
    assert paper is not None
    shape = [getattr(model, key) for key in SHAPE]
    assert (*shape, paper.printed_millions) == SHAPES[name]
    assert model.conv_dim == (512,) * 7
    assert model.conv_kernel == (10, 3, 3, 3, 3, 2, 2)
    assert model.conv_stride == (5, 2, 2, 2, 2, 2, 2)
    found = (config.max_update, config.max_seconds, paper.gpus)
    assert found == UPDATES.get(name, (300_000, *STUDENT))
    assert config.final_dim == 768
    # Unpublished in the paper; HuBERT's.
    assert (config.pred_masked_weight, config.pred_nomask_weight) == (1, 0)
    assert (config.mask_prob, config.mask_length) == (0.8, 10)
    assert (labels.clusters, labels.fit_hours) == (1000, 300)
    expected = {"harness_l_it1": ("mfcc", None), "harness_l_it2": ("hidden", 9)}
    assert (labels.source, labels.layer) == expected.get(name, ("hidden", 24))
    assert (labels.pca_dim is not None) == (name == "harness_st_pca")


# PAPER, Tables 2 and 4: MGB2 and MGB3 WER, KSUEmotions and ADI5 accuracy.
SCORES = {
    "harness_l_it2": [15.50, 41.60, 94.66, 84.98],
    "harness_s": [20.20, 52.80, 91.15, 70.84],
    "harness_s_65m": [20.20, 52.80, 91.15, 70.84],
    "harness_st": [23.20, 58.20, 89.02, 69.77],
    "harness_st_28m": [23.20, 58.20, 89.02, 69.77],
    "harness_st_pca": [22.50, 55.60, 87.34, 61.64],
    "harness_st_256": [22.3, 79.42, 53.41],
}


def head_comment(name: str) -> str:
    lines = (PRESETS / f"{name}.toml").read_text().splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("# ") for line in comment)


@each_preset
def test_head_comment_has_the_papers_scores(name: str) -> None:
    """Who trains a preset must know what to expect of it."""
    found = re.search(r"paper's scores[^:]*: (.*?) accuracy", head_comment(name))
    figures = re.findall(r"\d+\.\d+", found[1]) if found else []
    assert [float(figure) for figure in figures] == SCORES.get(name, [])


@pytest.mark.parametrize("name", preset_names())
def test_head_comment_has_the_cost_by_the_operation_count(name: str) -> None:
    """The comment is typed by hand; the count decides."""
    found = re.search(
        r"Expected cost: ([\d,]+) hours of audio x ([\d.]+) GFLOP .*? "
        r"([\d.]+) GPU-hours on H100 at 10 % of its bf16 peak, ([\d.]+) at 40 %",
        head_comment(name),
    )
    assert found is not None
    hours, operations, usual, goal = cost_of(load_preset(name))
    figures = [float(figure.replace(",", "")) for figure in found.groups()]
    assert figures == pytest.approx([hours, operations / 1e9, usual, goal], abs=0.5)
    assert figures[1] == pytest.approx(operations / 1e9, abs=0.05)


PAPER = Path(__file__).parents[3] / "shared" / "PAPER.md"
ROW_NAMES = {
    "HArnESS-L": "harness_l_it2",
    "HArnESS-S (79.4 %)": "harness_s",
    "HArnESS-ST (93.7 %)": "harness_st",
    "HArnESS-ST, PCA supervision (93.7 %)": "harness_st_pca",
}


@pytest.mark.skipif(not PAPER.is_file(), reason="../shared/PAPER.md is not there")
@pytest.mark.parametrize("row", ROW_NAMES)
def test_scores_stand_so_in_the_paper_notes(row: str) -> None:
    """The table above was copied by hand from them."""
    found = re.search(rf"^\| {re.escape(row)} \| (.*) \|$", PAPER.read_text(), re.MULTILINE)
    assert found is not None
    assert [float(cell) for cell in found[1].split("|")] == SCORES[ROW_NAMES[row]]


@pytest.mark.parametrize("name", preset_names())
def test_every_line_of_a_preset_says_whose_it_is(name: str) -> None:
    """The paper's with its place, fairseq's or ours; nobody should have to compare by hand."""
    tables = (PRESETS / f"{name}.toml").read_text().split("[model]")[1].split("\n[paper]")[0]
    lines = [line for line in tables.splitlines() if re.match(r"\w+ = ", line)]
    assert len(lines) > 10
    for line in lines:
        assert re.search(r"  # (paper(, (2|3\.\d|Table|the text)|: what its)|ours)", line), line
    (rate,) = (line for line in lines if line.startswith("lr = "))
    assert "# ours" in rate, "the paper gives none"


def test_an_unknown_preset_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'harness_xl'; known: harness_l_it1, .*harness_st_pca"):
        load_preset("harness_xl")
    with pytest.raises(ValueError, match="harness_l_it1"):
        read_augment(tmp_path / "absent.toml")


FAMILY = """
name = "mine"
[defaults.pretrain]
max_update = 9
clip_norm = 0.25
[[iterations]]
preset = "harness_l_it1"
[[iterations]]
preset = "harness_st_pca"
name = "thin"
teacher = "harness_l_it1"
pretrain = { max_update = 5 }
labels = { layer = 12 }
"""


def test_a_family_lays_own_values_over_presets_over_defaults(tmp_path: Path) -> None:
    """Nobody sees the merged table, so a default that a preset hides would pass unnoticed."""
    large, thin = written(tmp_path, FAMILY).iterations
    assert (large.name, large.pretrain.max_update) == ("harness_l_it1", 500_000)
    assert (thin.name, thin.pretrain.max_update) == ("thin", 5)
    assert (thin.labels.layer, thin.labels.pca_dim) == (12, 256)
    assert thin.model == load_preset("harness_st_pca").model
    assert [each.pretrain.clip_norm for each in (large, thin)] == [0.25, 0.25]


ITERATION = """
name = "it1"
model.encoder_layers = 1
model.encoder_embed_dim = 32
model.encoder_ffn_embed_dim = 32
model.encoder_attention_heads = 2
model.conv_pos_groups = 4
labels.source = "mfcc"
pretrain.max_update = 10
"""
TABLE = "[pretrain.augment]\ntime_masks = 3\n"
AUGMENTED = """
name = "family"
[defaults.pretrain]
max_update = 10
[defaults.pretrain.augment]
time_masks = 3
[[iterations]]
preset = "harness_l_it1"
name = "one"
[[iterations]]
preset = "harness_l_it1"
name = "two"
"""


def read(folder: Path, text: str) -> AugmentConfig:
    path = folder / "my.toml"
    path.write_text(text)
    return read_augment(path)


def test_the_augmentation_table_is_found(tmp_path: Path) -> None:
    for text in (TABLE, ITERATION + TABLE, AUGMENTED):
        assert read(tmp_path, text) == AugmentConfig(time_masks=3)
    assert read(tmp_path, ITERATION) == AugmentConfig()
    assert read_augment(Path("harness_l_it1")) == AugmentConfig()


AUGMENT_MISTAKES = {
    "unknown key": ("[pretrain.augment]\ntime_mask = 3\n", "did you mean time_masks"),
    "impossible": ("[pretrain.augment]\nnoise_prob = 2.0\n", "noise_prob = 2.0"),
    "no range": ("[pretrain.augment]\nnoise_snr = [9.0, 3.0]\n", r"noise_snr = \[9, 3\]"),
    "no hundredths": ("[pretrain.augment]\nspeed = [0.9333]\n", r"0\.9333: .* such as 0\.93"),
    "no table": ("[probe]\nx = 1\n", r"no table \[pretrain.augment\]"),
    "no tables": ("pretrain = 1\n", r"no table \[pretrain.augment\]"),
    "two ways": (AUGMENTED + "[iterations.pretrain.augment]\ntime_masks = 1\n", "one, two change"),
    "bad iteration": (ITERATION.replace("mfcc", "hidden"), "hidden states need a layer"),
}


@pytest.mark.parametrize("case", sorted(AUGMENT_MISTAKES))
def test_mistakes_in_augmentation_teach(case: str, tmp_path: Path) -> None:
    text, message = AUGMENT_MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)
