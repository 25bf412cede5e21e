"""One checked utterance as lhotse writes a cut, made without lhotse: a tenth of its time.

Tests hold every field against `lhotse.cut.Cut.to_dict`.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness_bench import leakage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness_bench.corpora.check import Checked

type Row = dict[str, Any]

_encode = json.JSONEncoder(ensure_ascii=False).encode

# As `leakage.KINDS`, of a row in place of a cut.
KINDS: dict[str, Callable[[Row], str | None]] = {
    "speaker": lambda row: row["supervisions"][0].get("speaker"),
    "cluster": lambda row: row["supervisions"][0].get("custom", {}).get("cluster"),
    "recording": lambda row: row["recording"]["sources"][0]["source"],
    "audio": lambda row: row.get("custom", {}).get(leakage.DIGEST),
    "text": lambda row: row["supervisions"][0].get("text"),
}


def row_of(item: Checked) -> Row:
    """Describe a checked utterance; what is absent has no key."""
    utterance, rate = item.utterance, item.sampling_rate
    channels = list(range(item.channels))
    channel: Any = channels if item.channels > 1 else 0
    recording = {
        "id": utterance.id,
        "sources": [{"type": "file", "channels": channels, "source": _absolute(utterance.audio)}],
        "sampling_rate": rate,
        "num_samples": item.file_samples,
        "duration": item.file_samples / rate,
        "channel_ids": channels,
    }
    supervision = {
        "id": utterance.id,
        "recording_id": utterance.id,
        "start": 0.0,
        "duration": item.duration,
        "channel": channel,
        "text": utterance.text,
        "language": utterance.language,
        "speaker": utterance.speaker,
        "gender": utterance.gender,
        "custom": dict(sorted(utterance.custom.items())) or None,
    }
    row = {
        "id": utterance.id,
        "start": round(utterance.start * rate) / rate,
        "duration": item.duration,
        "channel": channel,
        "supervisions": [{key: value for key, value in supervision.items() if value is not None}],
        "recording": recording,
    }
    if item.digest:
        row["custom"] = {leakage.DIGEST: item.digest}
    return row | {"type": "MultiCut" if item.channels > 1 else "MonoCut"}


def to_line(row: Row) -> bytes:
    """Return a row as a line of JSON, as `cuts.to_line` writes a cut."""
    return _encode(row).encode() + b"\n"


@lru_cache(maxsize=256)
def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - drops "..", keeps links
