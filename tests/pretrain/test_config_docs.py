"""docs/config.md is the only list of keys that users see: it must be whole and true."""

import re
import tomllib
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from harness_bench.asr.config import AsrConfig
from harness_bench.models.config import HubertConfig
from harness_bench.pretrain.config import (
    AugmentConfig,
    LabelConfig,
    PretrainConfig,
    SourceConfig,
    TrainingDataConfig,
)
from harness_bench.probing.probe import ProbeConfig
from harness_bench.study.config import (
    JobNeeds,
    StudyBoard,
    StudyCorpus,
    StudyFamily,
    StudyHeads,
    StudyModel,
    StudyTask,
)

PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text(encoding="utf-8")
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
