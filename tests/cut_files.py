"""Files of cuts made by tests: rows as lhotse writes cuts, of audio that need not be there."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness_bench.cuts import store

_PLAIN = ("text", "speaker", "language", "gender")
RATE = 16_000


def row(
    uid: str, seconds: float = 1.0, audio: str = "/nowhere.wav", rate: int = RATE, **fields: str
) -> dict[str, Any]:
    """Return a cut with one supervision; fields that are not lhotse's own are custom."""
    plain = {name: fields.pop(name) for name in _PLAIN if name in fields}
    return {
        "id": uid, "start": 0.0, "duration": seconds, "channel": 0,
        "supervisions": [
            {"id": uid, "recording_id": uid, "start": 0.0, "duration": seconds, "channel": 0,
             **plain, **({"custom": fields} if fields else {})}
        ],
        "recording": {
            "id": uid, "sources": [{"type": "file", "channels": [0], "source": audio}],
            "sampling_rate": rate, "num_samples": round(seconds * rate), "duration": seconds,
            "channel_ids": [0],
        },
        "type": "MonoCut",
    }  # fmt: skip


def write(folder: Path, split: str, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows as the cuts of a split; return the folder."""
    lines = (json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in rows)
    store.write_lines(folder, split, lines)
    return folder
