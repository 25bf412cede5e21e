"""docs/config.md is the only list of keys that users see: it must be whole, true and runnable."""

import re
import tomllib
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from harness_bench.asr.config import AsrConfig
from harness_bench.core.config import build, resolved
from harness_bench.models.config import HubertConfig
from harness_bench.pretrain.config import (
    AugmentConfig,
    IterationConfig,
    LabelConfig,
    PretrainConfig,
    SourceConfig,
    TrainingDataConfig,
    load_family,
)
from harness_bench.probing.probe import ProbeConfig
from harness_bench.study.config import (
    JobNeeds,
    StudyBoard,
    StudyConfig,
    StudyCorpus,
    StudyFamily,
    StudyHeads,
    StudyModel,
    StudyTask,
)

PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
TABLES: dict[str, Any] = {
    "model": HubertConfig,
    "labels": LabelConfig,
    "pretrain": PretrainConfig,
    "pretrain.augment": AugmentConfig,
    "data": TrainingDataConfig,
    "[data.sources]": SourceConfig,
    "probe": ProbeConfig,
    "recipe": AsrConfig,
    "corpora.NAME": StudyCorpus,
    "family": StudyFamily,
    "[models]": StudyModel,
    "[tasks]": StudyTask,
    "heads": StudyHeads,
    "board": StudyBoard,
    "needs.KIND": JobNeeds,
}

WORDS = ("required", "unset", "a table")


def documented(table: str) -> dict[str, str]:
    """Return key -> default of one table of the page."""
    section = PAGE.split(f"### [{table}]")[1].split("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, flags=re.MULTILINE))


def true_default(kind: Any, key: str) -> str | object:
    """Return a key's default as JSON has it, or the page's word for having none."""
    field = kind.__pydantic_fields__[key]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if is_dataclass(value):
        return "a table"
    return "unset" if value is None else TypeAdapter(Any).dump_python(value, mode="json")


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_there_with_its_default(table: str) -> None:
    kind, found = TABLES[table], documented(table)
    assert list(found) == list(kind.__pydantic_fields__)
    for key, text in found.items():
        given = text if text in WORDS else tomllib.loads(f"x = {text[1:-1]}")["x"]
        assert given == true_default(kind, key), key


def test_examples_are_read(tmp_path: Path) -> None:
    read = set()
    for text in EXAMPLES:
        (tmp_path / "example.toml").write_text(text)
        values = tomllib.loads(text)
        if "iterations" in values:
            made = load_family(tmp_path / "example.toml").iterations
            assert [step.pretrain.precision for step in made] == ["bf16-mixed"] * 3
        elif "tasks" in values:
            config = build(StudyConfig, values, source="docs")
            probe = build(ProbeConfig, config.heads.probe, source="docs")
            assert resolved(probe)["total_steps"] == 5000
            assert build(AsrConfig, config.asr, source="docs").max_epoch == 20
        else:
            assert build(IterationConfig, values, source="docs").labels.clusters == 100
        read.add(("iterations" in values, "tasks" in values))
    assert len(read) == 3
