"""Settings of the feature cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_bench.models.features.config import FeatureCacheConfig, upstream_config

VARIABLES = [f"HARNESS_FEATURE_CACHE{rest}" for rest in ("", "_MB", "_DISK_MB", "_DTYPE")]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_nothing_goes_to_disk_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training command that fills the disk would surprise; an emptied variable names nothing."""
    assert upstream_config().feature_cache == FeatureCacheConfig(
        folder=None, dtype="fp32", states="all"
    )
    monkeypatch.setenv("HARNESS_FEATURE_CACHE", "")
    assert upstream_config().feature_cache.folder is None


def test_the_file_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written for one run is meant for it; the shell's settings are meant for all."""
    monkeypatch.setenv("HARNESS_FEATURE_CACHE", "from/shell")
    monkeypatch.setenv("HARNESS_FEATURE_CACHE_MB", "7")
    monkeypatch.setenv("HARNESS_FEATURE_CACHE_DISK_MB", "8")
    file = tmp_path / "cache.toml"
    file.write_text('[feature_cache]\ndisk_mb = 9\nstates = "mean"\n', encoding="utf-8")
    found = upstream_config(file).feature_cache
    assert found == FeatureCacheConfig(Path("from/shell"), 7, 9, "fp32", "mean")


@pytest.mark.parametrize(("rest", "value"), [("MB", "1G"), ("DISK_MB", "-1"), ("DTYPE", "bf16")])
def test_a_wrong_variable_is_named(rest: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error must not silently mean the default."""
    monkeypatch.setenv(f"HARNESS_FEATURE_CACHE_{rest}", value)
    with pytest.raises(ValueError, match=f"HARNESS_FEATURE_CACHE_{rest}='{value}'"):
        upstream_config()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[feature_cache]\ndisk = 9", "did you mean disk_mb"),
        ("[cache]\ndisk_mb = 9", "'cache'; did you mean feature_cache"),
        ('[feature_cache]\ndtype = "bf16"', "dtype = 'bf16'"),
    ],
)
def test_a_wrong_file_is_explained(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "cache.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=says) as caught:
        upstream_config(file)
    assert str(file) in str(caught.value)
