"""The settings of the caching pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.asr import features

if TYPE_CHECKING:
    from pathlib import Path


def test_the_config_is_read_strictly_from_both_forms(tmp_path: Path) -> None:
    """Our configs are TOML, ESPnet's YAML; a misspelt key must not be a default."""
    (tmp_path / "a.toml").write_text("shard_mb = 64\n", encoding="utf-8")
    (tmp_path / "a.yaml").write_text("shard_mb: 64\n", encoding="utf-8")
    found = [features.read_config(tmp_path / name) for name in ("a.toml", "a.yaml")]
    assert found == [features.FeatureConfig(shard_mb=64.0)] * 2
    (tmp_path / "b.yaml").write_text("shard_gb: 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="unknown key 'shard_gb'; did you mean shard_mb"):
        features.read_config(tmp_path / "b.yaml")
