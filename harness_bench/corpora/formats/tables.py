"""Tables of utterances as people write them: TSV, CSV or JSON lines, under the usual names."""

from __future__ import annotations

import csv
import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from harness_bench.audio.io import AUDIO_SUFFIXES
from harness_bench.core.sanitize import is_name, unseen, visible
from harness_bench.corpora.base import REFERENCE, printable
from harness_bench.corpora.formats.raw_files import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

# What programs write for nothing, pandas and its like among them. In small letters, `none` and `na`
# are words.
ABSENT = frozenset(["", "-", "nan", "NaN", "None", "null", "NULL", "NA", "N/A", "n/a", "<NA>"])
# Column -> what others call it. Case does not matter, and the first of a row here that there is
# counts; every other column keeps its name.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "path": ("audio", "audio_filepath", "audio_file", "audio_path", "file", "filename",
             "file_name", "wav"),
    "transcript": ("text", "sentence", "transcription"),
    "start": ("offset", "start_time"),
    "end": ("end_time",),
    "speaker": ("speaker_id", "client_id"),
    "language": ("locale", "lang"),
    **dict.fromkeys(("id", "duration", "split", "gender", "label", "emotion", "dialect"), ()),
}  # fmt: skip
# In a header these tell that the file is written in another way.
_FOREIGN = (
    ("\r", "ends its lines by CR alone, as old Macs did", "tr '\\r' '\\n'"),
    ("\0", "holds NUL characters, as UTF-16 does", "iconv -f UTF-16 -t UTF-8"),
)
_JSON = (".json", ".jsonl", ".ndjson")

type Rows = Iterator[tuple[int, str, dict[str, str] | str]]


def table(
    path: Path, needed: Sequence[str], rename: Callable[[list[str]], list[str]] = list
) -> Rows:
    """Yield line number, first cell, and column -> cell or what is wrong, of a table.

    Cells are stripped. Of tab-separated lines quotes are part of the text; CSV (named so, or with
    commas and no tab in its header) has the quotes of the `csv` module. Files named .json or .jsonl
    hold one object a line. `rename` gives the columns other names.

    Raises:
        ValueError: unreadable, no UTF-8, quotes without end, or a header that lacks needed columns,
            repeats names or has one that cannot be seen or written.
    """
    columns: list[str] = []
    source = _json_rows(path) if path.suffix.lower() in _JSON else _rows(path)
    for number, cells in source:
        if not columns:
            columns = rename(cells)
            _check_header(path, cells, columns, needed)
        elif len(cells) != len(columns):
            yield number, cells[0], f"{len(cells)} cells where the header has {len(columns)}"
        else:
            row = dict(zip(columns, cells, strict=True))
            row.pop("", None)
            yield number, cells[0], row
    if not columns:
        wanted = f" with {', '.join(needed)}" if needed else ""
        raise ValueError(f"{path} is empty; expected a header{wanted}.")


def understood(columns: Sequence[str], transcript: str | None = None) -> list[str]:
    """Return the columns under the names that are known here, see `SYNONYMS`.

    `transcript` chooses the column of that meaning; one that is not there is a `ValueError`.
    """
    if transcript is not None and transcript not in columns:
        raise ValueError(
            f"transcript = {transcript!r} is no column; the table has {', '.join(columns)[:200]}."
        )
    names, folded = list(columns), [name.lower().replace(" ", "_") for name in columns]
    for meaning, others in SYNONYMS.items():
        if meaning == "transcript" and transcript is not None:
            # A field `text` would be taken for the transcript.
            names = [f"other_{name}" if name in (meaning, "text") else name for name in names]
            names[columns.index(transcript)] = meaning
        elif meaning not in columns:
            known = [folded.index(name) for name in (meaning, *others) if name in folded]
            names = [meaning if place in known[:1] else name for place, name in enumerate(names)]
    return names


def transcripts(names: Sequence[str]) -> list[str]:
    """Return which of the columns understood hold a transcript; `transcript` is the first."""
    order = ("transcript", *SYNONYMS["transcript"])
    return sorted((name for name in names if name.lower() in order), key=lambda n: n != order[0])


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and cells of each line that is not blank, the header first."""
    stream = lines(path)
    first = next(((number, line) for number, line in stream if line.strip()), None)
    if first is None:
        return
    head = first[1]
    for sign, what, convert in _FOREIGN:
        if sign in head:
            raise ValueError(f"{path} {what}. Convert it: `{convert} < {path.name} > new.tsv`.")
    separator = max(",;\t" if path.suffix.lower() == ".csv" else "\t,;", key=head.count)
    if separator == "\t":
        for number, line in chain([first], stream):
            if line.strip():
                yield number, [cell.strip() for cell in line.split("\t")]
    else:
        yield from _csv_rows(path, first, stream, separator)


def _csv_rows(
    path: Path, first: tuple[int, str], rest: Iterator[tuple[int, str]], separator: str
) -> Iterator[tuple[int, list[str]]]:
    before = first[0] - 1
    text = (line + "\n" for _, line in chain([first], rest))
    reader = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield before + reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(
            f"{path}:{before + reader.line_num} is no line of CSV ({error}). A cell with quotes, "
            f'line ends or {separator!r} in it must be in quotes, and a quote inside is written "".'
        ) from error


def _json_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the names of all keys, then the values of each object; it is read twice for this."""
    columns = list(dict.fromkeys(key for _, row in _objects(path) for key in row))
    if {"supervisions", "recording"} & {*columns}:
        raise ValueError(
            f"{path} holds lhotse's cuts. Write one flat object a line instead, such as "
            '{"audio_filepath": "a.wav", "offset": 0.5, "duration": 2.0, "text": "..."}.'
        )
    if columns:
        yield 1, [printable(name.strip()) for name in columns]
    for number, row in _objects(path):
        yield number, [_cell(row.get(name)) for name in columns]


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines(path):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise ValueError(
                    f"{path}:{number} is no JSON object. Expected one object a line; of a list of "
                    f"objects `jq -c '.[]' {path.name} > manifest.jsonl` makes it."
                )
            yield number, row


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text)  # JSON can write halves of characters


def _check_header(path: Path, cells: list[str], columns: list[str], needed: Sequence[str]) -> None:
    """Refuse a header by which rows would be misread, or files be named."""
    named = [name for name in columns if name]
    if hidden := [name for name in columns if unseen(name)]:
        fault = f"has signs that cannot be seen in {', '.join(map(visible, hidden))}"
    elif absent := ", ".join(name for name in needed if name not in columns):
        fault = f"lacks {absent}" + _instead(cells)
    elif len({*named}) < len(named):
        fault = "repeats names"
    elif paths := [name for name in named if name.startswith(REFERENCE) and not _is_part(name)]:
        fault = f"has {paths[0][:80]!r}, which would be part of a file's name"
    else:
        return
    raise ValueError(
        f"{path}: the header {fault}; it reads {visible(', '.join(cells))[:200]!r}. Expected "
        f"column names, {', '.join(needed)} among them, in the first line: "
        "tab-separated, CSV, or the keys of JSON objects."
    )


def _is_part(name: str) -> bool:
    return is_name(name.removeprefix(REFERENCE))


def _instead(cells: list[str]) -> str:
    """Say what stands where the header should, where that can be seen."""
    if cells[0].startswith("#"):
        return " (is it a comment? Take it out)"
    suffixes = {cell[cell.rfind(".") :].lower() for cell in cells if "." in cell}
    return " (is there no header line at all?)" if suffixes & AUDIO_SUFFIXES else ""
