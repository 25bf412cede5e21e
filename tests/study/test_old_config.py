"""A demo's config decides what is run on what: mistakes must show before hours of computing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness_bench.core.config import build
from harness_bench.pretrain.config import load_family
from harness_bench.study.old_config import DemoConfig, data_folder, family_file, load_demo

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "egs" / "evidence"
SHIPPED = [
    None, ROOT / "egs" / "demo" / "real_arabic.toml",
    EVIDENCE / "evidence.toml", EVIDENCE / "gpu.toml",
]  # fmt: skip
VALUES: dict[str, Any] = {
    "name": "mine", "title": "Mine", "synthetic": False, "data_root": "data",
    "pretraining": {"folder": "speech"}, "asr": {"folder": "sentences"},
    "classification": [{"task": "did", "label_field": "dialect", "source": {"folder": "words"}}],
}  # fmt: skip


def demo(**changes: Any) -> DemoConfig:
    return build(DemoConfig, {**VALUES, **changes}, source="mine.toml")


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_shipped_configs_are_whole(path: Path | None) -> None:
    """The embedded default and every TOML of egs/demo: family, task folders, layouts are there.

    A synthesis writes the folders that are read.
    """
    from harness_bench.corpora import available  # noqa: PLC0415 - keeps collection light
    from harness_bench.demo.plan import TASKS  # noqa: PLC0415
    from harness_bench.probing.s3prl.arguments import tasks  # noqa: PLC0415

    config = load_demo(path)
    assert load_family(family_file(config, path)).iterations
    assert {task.task for task in config.classification} <= set(tasks())
    assert {source.corpus for source in config.sources().values()} <= set(available())
    assert config.synthetic == (config.synthesis is not None)
    assert config.synthesis is None or set(config.sources()) == set(TASKS)


def test_sources_are_listed_once() -> None:
    """One folder may serve twice; it must be prepared once."""
    config = demo(asr={"folder": "speech"})
    assert list(config.sources()) == ["speech", "words"]
    assert [source.name for source in config.asr_sources] == ["speech"]
    several = [{"folder": "speech"}, {"folder": "words", "alias": "others"}]
    names = [source.name for source in demo(pretraining=several).pretraining_sources]
    assert names == ["speech", "others"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_root": ""}, r"either data_root .* or \[synthesis\]"),
        ({"synthesis": {}}, r"either data_root .* or \[synthesis\]"),
        ({"classification": []}, "classification"),
        ({"name": "a/b"}, "name"),
        ({"sythesis": {}}, "did you mean synthesis"),
        ({"asr": {"folder": "speech", "options": {"manifest": "b"}}}, "'speech' is read in two"),
        ({"asr": {"folder": "other/words"}}, "words' is read in two ways"),
        ({"asr": {"folder": "sentences", "max_skipped": 2.0}}, "max_skipped = 2.0"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    """Two sources of one name would overwrite each other's cuts, and nobody would see it."""
    with pytest.raises(ValueError, match=f"(?s){message}"):
        demo(**changes)


def test_data_root_is_relative_to_the_config_file(tmp_path: Path) -> None:
    """A config must mean the same from whatever folder the command is started."""
    data, path = tmp_path / "data", tmp_path / "configs" / "mine.toml"
    (data / "speech").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"/data has no folder sentences, words.*--data-root"):
        data_folder(demo(data_root="../data"), path, None)
    for name in ("words", "sentences"):
        (data / name).mkdir()
    assert data_folder(demo(data_root="../data"), path, None) == data
    assert data_folder(demo(data_root="elsewhere"), path, data) == data


def test_a_family_beside_the_config_comes_first(tmp_path: Path) -> None:
    """Own files before embedded ones; a name that is neither is an error."""
    path = tmp_path / "mine.toml"
    assert family_file(demo(), path) == family_file(load_demo(None), None)
    (tmp_path / "family.toml").touch()
    assert family_file(demo(), path) == tmp_path / "family.toml"
    with pytest.raises(ValueError, match=r"'absent\.toml'.*mine\.toml"):
        family_file(demo(family="absent.toml"), path)
