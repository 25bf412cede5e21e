"""A prepared corpus: one lhotse cut per utterance, one file of cuts per split.

A prepared folder holds `cuts.<split>.jsonl.gz`, `report.json`, `skipped.tsv` and
`provenance.json`. The cut's id is the utterance's id, and each cut has exactly one supervision:
raw text, speaker, language and gender, and every further field in its `custom`.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from harness_bench.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lhotse.cut import Cut

UNFINISHED = "UNFINISHED"  # this file stands in a folder while its cuts are being replaced
_PREFIX, _SUFFIX = "cuts.", ".jsonl.gz"
_USUAL_ORDER = ("train", "dev", "test")
_PLAIN_FIELDS = ("speaker", "language", "gender", "text")


def cuts_path(folder: Path, split: str) -> Path:
    """Return where the cuts of a split stand in a prepared folder."""
    return folder / f"{_PREFIX}{split}{_SUFFIX}"


def cuts_files(folder: Path) -> list[Path]:
    """List the files of cuts in a folder, by name."""
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))


def splits(folder: Path) -> list[str]:
    """List the splits of a prepared folder: train, dev, test, then others by name.

    Raises:
        ValueError: no such folder, no cuts in it, or a run that was cut off while writing.
    """
    if (folder / UNFINISHED).exists():
        raise ValueError(f"{folder}: writing was cut off there. Run `harness-bench prepare` again.")
    names = [path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for path in cuts_files(folder)]
    if not names:
        raise ValueError(
            f"{folder} holds no cuts. Make them with `harness-bench prepare CORPUS FROM {folder}`."
        )
    rank = {name: number for number, name in enumerate(_USUAL_ORDER)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def read_cuts(folder: Path, split: str) -> list[Cut]:
    """Read all cuts of one split, in the file's order.

    Raises:
        ValueError: no such split (lists those there are), or a broken file.
    """
    if split not in (known := splits(folder)):
        raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(known)}.")
    return read_cuts_file(cuts_path(folder, split))


def read_cuts_file(path: Path) -> list[Cut]:
    """Read all cuts of one file, in its order; a broken file is a `ValueError` that names it."""
    from lhotse import CutSet  # noqa: PLC0415 - imports torch

    try:
        return list(CutSet.from_file(path))
    except (OSError, EOFError, ValueError, KeyError, AssertionError) as error:
        raise ValueError(
            f"{path} cannot be read as cuts ({error}). Prepare the corpus again."
        ) from error


def write_cuts(folder: Path, split: str, cuts: Iterable[Cut]) -> int:
    """Write the cuts of one split atomically; return their number."""
    return write_lines(folder, split, map(to_line, cuts))


def to_line(cut: Cut) -> bytes:
    """Return a cut as a line of JSON, as it stands in a file of cuts."""
    return json.dumps(cut.to_dict(), ensure_ascii=False).encode() + b"\n"


def write_lines(folder: Path, split: str, lines: Iterable[bytes]) -> int:
    """Write lines of `to_line` as the cuts of one split, atomically; return their number.

    Equal lines give equal bytes: no time of writing goes into the gzip header.
    """
    count = 0
    with (
        atomic_path(cuts_path(folder, split)) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream,
    ):
        for line in lines:
            stream.write(line)
            count += 1
    return count


def text_of(cut: Cut) -> str:
    """Return a cut's raw transcript; a cut without one is a `ValueError` that names it."""
    text = _supervision(cut).text
    if not text:
        raise ValueError(
            f"Cut {cut.id!r} has no transcript. Prepare its corpus with `--require text`."
        )
    return str(text)


def label_of(cut: Cut, field: str) -> str:
    """Return a cut's label: a custom field, or speaker, language or gender.

    Raises:
        ValueError: the cut has no such field; names the cut and the fields it has.
    """
    known = fields_of(cut)
    if field not in known:
        raise ValueError(
            f"Cut {cut.id!r} has no field {field!r}; it has {', '.join(sorted(known)) or 'none'}. "
            f"Prepare its corpus with `--require {field}` to leave such cuts out."
        )
    return str(known[field])


def group_of(cut: Cut) -> str:
    """Return a cut's natural cluster for resampling: `cluster` if given, speaker, or recording."""
    supervision = _supervision(cut)
    cluster = (supervision.custom or {}).get("cluster")
    return str(cluster or supervision.speaker or cut.recording_id)


def fields_of(cut: Cut) -> dict[str, Any]:
    """Return what is known of a cut: text, speaker, language, gender, and its custom fields."""
    supervision = _supervision(cut)
    plain = {name: getattr(supervision, name) or None for name in _PLAIN_FIELDS}
    known = {**plain, **(supervision.custom or {})}
    return {name: value for name, value in known.items() if value is not None}


def _supervision(cut: Cut) -> Any:
    """Return a cut's only supervision."""
    if len(cut.supervisions) != 1:
        raise ValueError(
            f"Cut {cut.id!r} has {len(cut.supervisions)} supervisions; exactly one is expected. "
            "Trim cuts to their supervisions, or prepare the corpus with `harness-bench prepare`."
        )
    return cut.supervisions[0]
