"""Where a preview's settings are read from: every file that may hold the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_bench.pretrain.augment.config import AugmentConfig
from harness_bench.pretrain.config import read_augment

MODEL = """
name = "it1"
[model]
encoder_layers = 1
encoder_embed_dim = 32
encoder_ffn_embed_dim = 32
encoder_attention_heads = 2
conv_pos_groups = 4
[labels]
source = "mfcc"
[pretrain]
max_update = 10
"""
TABLE = "[pretrain.augment]\ntime_masks = 3\n"
FAMILY = """
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


@pytest.mark.parametrize(
    "text", [TABLE, MODEL + TABLE, FAMILY], ids=["table", "iteration", "family"]
)
def test_the_table_is_found(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == AugmentConfig(time_masks=3)


def test_absent_tables_are_defaults(tmp_path: Path) -> None:
    """An iteration and a preset without the table change nothing, which is no mistake yet."""
    assert read(tmp_path, MODEL) == AugmentConfig()
    assert read_augment(Path("harness_l_it1")) == AugmentConfig()


MISTAKES = {
    "unknown key": ("[pretrain.augment]\ntime_mask = 3\n", "did you mean time_masks"),
    "impossible": ("[pretrain.augment]\nnoise_prob = 2.0\n", "noise_prob = 2.0"),
    "no table": ("[probe]\nx = 1\n", r"no table \[pretrain.augment\]"),
    "no tables": ("pretrain = 1\n", r"no table \[pretrain.augment\]"),
    "two ways": (FAMILY + "[iterations.pretrain.augment]\ntime_masks = 1\n", "one, two change"),
    "bad iteration": (MODEL.replace("mfcc", "hidden"), "hidden states need a layer"),
}


@pytest.mark.parametrize("case", sorted(MISTAKES))
def test_mistakes_teach(case: str, tmp_path: Path) -> None:
    text, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_no_such_file_lists_presets(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="harness_l_it1"):
        read_augment(tmp_path / "absent.toml")
