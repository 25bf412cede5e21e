"""The README of a folder: what it says of other toolkits is what they do."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoModel

from harness_bench.models.checkpoint import halve, save_checkpoint, save_random
from harness_bench.models.frozen import parameter_count
from harness_bench.models.hubert import Hubert
from harness_bench.models.readme import README, write_readme
from tests.models.conftest import MEL, small_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("kind", "shape"), [("hubert", {}), ("wav2vec2", {}), ("harness_mel", MEL)]
)
def test_it_says_whether_transformers_opens_the_folder(
    tmp_path: Path, kind: str, shape: dict[str, Any]
) -> None:
    """From the file of the model's type alone; a type that is added brings its own words."""
    save_random(tmp_path, small_config(**shape), seed=3)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"hubert"', f'"{kind}"'))
    write_readme(tmp_path, "mine")
    text = (tmp_path / README).read_text()
    opened = None
    with suppress(ValueError):
        opened = AutoModel.from_pretrained(tmp_path)
    assert (opened is None) == ("transformers: **cannot open it.**" in text)
    assert opened is None or f"`{type(opened).__name__}.from_pretrained" in text
    assert text.startswith("# mine\n")
    assert f"{parameter_count(tmp_path):,} parameters in float32" in text
    assert "random weights of seed 3" in text


def test_it_says_what_made_the_model(tmp_path: Path) -> None:
    facts = {"name": "x", "update": 4000, "hours": 2.3456}
    save_checkpoint(tmp_path, Hubert(small_config()), facts=facts)
    halve(tmp_path)
    write_readme(tmp_path, "mine", upstream="harness_mini", more="## Licence")
    text = (tmp_path / README).read_text()
    assert "4,000 updates on 2.35 h" in text
    assert "parameters in float16" in text
    assert 'hb.hidden_states("harness_mini"' in text
    assert "`-u harness_mini`" in text
    assert text.endswith("## Licence\n")
