"""The demo corpus on disk: manifest.tsv, README.md and where the audio stands."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from harness_bench.core.files import digest_strings, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.demo.plan import Planned

MANIFEST = "manifest.tsv"
_ABSENT = "-"
_CLASS_COLUMN = {"ser": "emotion", "did": "dialect"}

_ABOUT = {
    "ssl": "Speech of the train speakers alone, for pretraining; no transcripts, no labels.",
    "ser": (
        "Six emotion-like classes (column label, also emotion): the pitch, pitch range, rate, "
        "level, brightness and closing intonation of a few short sentences are drawn around a "
        "mean per class (emotions.toml), with spreads wide enough that classes overlap."
    ),
    "did": (
        "Five dialect-like classes (column label, also dialect): Modern Standard Arabic "
        "sentences, their words and sounds replaced by the class's rules (dialects.toml), each "
        "rule by chance, so that classes overlap. The rules only resemble the dialects they "
        "are named after."
    ),
    "asr": (
        "Short sentences of a small vocabulary with transcripts (column transcript, without "
        "diacritics). No sentence stands in two splits."
    ),
}
_README = """# Synthetic Arabic speech: {task}
**Everything here is synthetic.** No person spoke it, and no figure measured on it says anything
about real speech. It exists so that the whole chain can be tried in minutes.

{about}

- Text, word lists and rules were written for the harness_bench project.
- The voices are eSpeak NG's (licensed under the GPL, version 3 or later), which ran as a separate
  program; the audio is its output, changed in rate, brightness and level, with noise added.
- Speakers and voices of train, dev and test differ.
- Columns: path (relative), duration (seconds), speaker, label, transcript, split, id, gender,
  language, synthetic, spoken (the diacritised text given to the synthesiser); `-` is absent.
- provenance.json says from which settings, seed and versions it was made.
"""


def audio_path(item: Planned) -> str:
    """Return where an utterance's audio stands, relative to the manifest."""
    return f"audio/{item.split}/{item.id}.flac"


def write_manifest(path: Path, planned: list[Planned], durations: Mapping[str, float]) -> None:
    """Write the manifest, sorted by id."""
    rows = [_row(item, durations[item.id]) for item in sorted(planned, key=lambda item: item.id)]
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def plan_digest(planned: list[Planned]) -> str:
    """Return the digest of all that was decided, texts, speakers, prosody and order."""
    return digest_strings(json.dumps(asdict(item), sort_keys=True) for item in planned)


def readme(task: str) -> str:
    """Return the README of a task's folder: synthetic, by which rules, under which licences."""
    return _README.format(task=task, about=_ABOUT[task])


def _row(item: Planned, duration: float) -> dict[str, str]:
    task = item.id.split("_", 1)[0]
    row = {
        "path": audio_path(item),
        "duration": f"{duration:.4f}",
        "speaker": item.speaker.name,
        "label": item.label or _ABSENT,
        "transcript": item.transcript or _ABSENT,
        "split": item.split,
        "id": item.id,
        "gender": item.speaker.gender,
        "language": "ar",
        "synthetic": "yes",
        "spoken": item.spoken,
    }
    if column := _CLASS_COLUMN.get(task):
        row[column] = item.label or _ABSENT
    return row
