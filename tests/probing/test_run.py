"""Settings of `probe`: a file and keywords make one grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.probing.grid import GridConfig
from harness_bench.probing.run import grid_config

if TYPE_CHECKING:
    from pathlib import Path


def test_file_and_keywords_make_one_grid(tmp_path: Path) -> None:
    """Keywords win, and nothing that the file says is lost where no keyword is given."""
    config = tmp_path / "probe.toml"
    config.write_text("seeds = [5, 6]\n[probe]\nlearning_rate = 2e-4\nhidden = 8\n")
    made = grid_config(config, steps=100)
    assert made.learning_rates == (2e-4,)
    assert made.seeds == (5, 6)
    assert (made.probe.hidden, made.probe.total_steps, made.probe.eval_step) == (8, 100, 100)
    made = grid_config(config, learning_rates=[1e-2, 1e-3], seeds=range(1337, 1340))
    assert made.learning_rates == (1e-2, 1e-3)
    assert made.seeds == (1337, 1338, 1339)
    assert grid_config() == GridConfig()
    for given, meant in (("mean", "mean"), ("3", 3), (3, 3)):
        assert grid_config(config, layers=given).probe.layers == meant


@pytest.mark.parametrize(
    ("text", "keywords", "named"),
    [
        ("", {"learning_rates": [1e-3, 1e-3]}, "learning_rates"),
        ("", {"learning_rates": [5]}, "learning_rates"),
        ("[probe]\nlayers = 'average'", {}, "layers"),
        ("probe = 3", {}, "probe"),
        ("[prob]", {}, "prob"),
    ],
)
def test_wrong_grids_are_sentences(
    tmp_path: Path, text: str, keywords: dict[str, Any], named: str
) -> None:
    """Told before anything is trained, in words that name the offender."""
    config = tmp_path / "probe.toml"
    config.write_text(text)
    with pytest.raises(ValueError, match=named) as caught:
        grid_config(config, **keywords)
    assert "validation error" not in str(caught.value)
