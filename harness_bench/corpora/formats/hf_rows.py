"""Rows of a dataset in parquet or Arrow files, read by pyarrow piece by piece.

`datasets` notes in such files which columns are audio and what the numbers of a class stand for.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness_bench.core.files import LFS_POINTER
from harness_bench.corpora.base import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

BATCH = 32  # rows read at a time; audio of many of them would be long in memory
_BUFFER = 1 << 20  # bytes; with a buffer, parquet is read page by page and not by row groups
_SCALARS = 1000  # rows read at a time without their audio


class AudioKind(Enum):
    """How a column holds audio."""

    ENCODED = auto()  # struct of the bytes of a file and its path, as datasets writes audio
    BYTES = auto()  # the bytes of a file
    DECODED = auto()  # struct of samples and their rate
    SAMPLES = auto()  # a list of samples; another column has the rate
    PATH = auto()  # a path relative to the dataset


class Audio(NamedTuple):
    """The audio of one row: a file's bytes, or samples, or a path alone; nothing where null."""

    data: memoryview | None = None
    path: str | None = None
    samples: NDArray[Any] | None = None  # (samples,) or (channels, samples)
    sampling_rate: Any = None  # of samples, as the file has it


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn pyarrow's errors into one that names the file."""
    import pyarrow as pa  # noqa: PLC0415 - a third of a second

    if not path.is_file():  # a pipe would be waited for without end
        raise ValueError(f"{printable(path)} cannot be read: it is no file, or a link to none.")
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as error:
        said = " ".join(str(error).split())[:200]
        with path.open("rb") as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                said = "it is a pointer of Git LFS, not the file: run `git lfs pull`"
        name = printable(path)
        raise ValueError(f"{name} cannot be read as {path.suffix[1:]} ({said}).") from error


def schema_of(path: Path) -> pa.Schema:
    """Return a file's columns; a broken file is a `ValueError` that names it."""
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    with told(path):
        if path.suffix == ".parquet":
            return pq.read_schema(path)
        with pa.memory_map(str(path)) as source, _arrow(source) as reader:
            return reader.schema


def _arrow(source: pa.MemoryMappedFile) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - as above

    magic = source.read(6)
    source.seek(0)
    return pa.ipc.open_file(source) if magic == b"ARROW1" else pa.ipc.open_stream(source)


def batches(path: Path, columns: Sequence[str], *, whole: bool) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows in pieces, of some columns; a dotted name is a field of a struct.

    `whole` says that there is audio among them, so that the pieces stay small.
    """
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    size = BATCH if whole else _SCALARS
    if path.suffix == ".parquet":
        with told(path), pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield from file.iter_batches(size, columns=list(columns), use_threads=False)
        return
    with told(path), pa.memory_map(str(path)) as source, _arrow(source) as reader:
        many = hasattr(reader, "num_record_batches")
        found = map(reader.get_batch, range(reader.num_record_batches)) if many else reader
        there = reader.schema.names
        tops = [name if name in there else name.partition(".")[0] for name in columns]
        for batch in found:
            kept = batch.select(list(dict.fromkeys(tops)))
            kept.validate(full=True)  # a wrong offset would be read beyond the file, or end Python
            yield from (kept.slice(first, size) for first in range(0, kept.num_rows, size))


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """Return what datasets notes of a file's columns; {} where it was not made by datasets."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of classes, by column."""
    return {
        column: list(map(str, about["names"]))
        for column, about in features.items()
        if isinstance(about, dict) and about.get("_type") == "ClassLabel" and about.get("names")
    }


def kind_of(column: pa.DataType) -> AudioKind | None:
    """Return how a column of this type may hold audio; None if it cannot."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    if pa.types.is_struct(column):
        parts = {each.name: each.type for each in column}
        if {"array", "sampling_rate"} <= parts.keys():
            return AudioKind.DECODED if _is_samples(parts["array"]) else None
        data, path = parts.get("bytes", pa.null()), parts.get("path", pa.null())
        fit = (is_binary(data) or pa.types.is_null(data)) and (
            is_text(path) or pa.types.is_null(path)
        )
        return AudioKind.ENCODED if fit and parts.keys() & {"bytes", "path"} else None
    if is_binary(column):
        return AudioKind.BYTES
    if _is_samples(column):
        return AudioKind.SAMPLES
    return AudioKind.PATH if is_text(column) else None


def is_binary(column: pa.DataType) -> bool:
    """Whether a column holds bytes."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(is_kind(column) for is_kind in kinds)


def is_text(column: pa.DataType) -> bool:
    """Whether a column holds text."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(column) for is_kind in kinds)


def is_scalar(column: pa.DataType) -> bool:
    """Whether a column holds text, numbers or truth values."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    if pa.types.is_dictionary(column):
        return is_scalar(column.value_type)
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return is_text(column) or any(is_kind(column) for is_kind in kinds)


def _is_samples(column: pa.DataType) -> bool:
    """Whether a column holds lists of numbers, or of such lists: one for each channel."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    if not _is_list(column):
        return False
    inner = column.value_type.value_type if _is_list(column.value_type) else column.value_type
    return bool(pa.types.is_floating(inner) or pa.types.is_integer(inner))


def _is_list(column: pa.DataType) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - as above

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(column) for is_kind in kinds)


def audio_size(path: Path, column: str, kind: AudioKind) -> int:
    """Return about how many bytes the audio of a file takes once unpacked, from its metadata."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    if path.suffix != ".parquet":
        return path.stat().st_size
    with told(path):
        about, total = pq.read_metadata(path), 0
        for group in map(about.row_group, range(about.num_row_groups)):
            for leaf in map(group.column, range(group.num_columns)):
                if f"{leaf.path_in_schema}.".startswith(f"{column}."):
                    # Samples are written with 16 bits, as a rule.
                    sampled = kind in (AudioKind.SAMPLES, AudioKind.DECODED)
                    total += 2 * leaf.num_values if sampled else leaf.total_uncompressed_size
    return total


def audio_at(column: pa.Array, row: int, kind: AudioKind) -> Audio:
    """Return the audio of a row of a batch."""
    value = column[row]
    if not value.is_valid:
        return Audio()
    if kind is AudioKind.BYTES:
        return Audio(memoryview(value.as_buffer()))
    if kind is AudioKind.PATH:
        return Audio(path=value.as_py())
    if kind is AudioKind.SAMPLES:
        return Audio(samples=_samples(value))
    fields = dict(value.items())
    if kind is AudioKind.ENCODED:
        data, path = fields.get("bytes"), fields.get("path")
        held = memoryview(data.as_buffer()) if data is not None and data.is_valid else None
        return Audio(held, path and path.as_py())
    array, rate = fields["array"], fields["sampling_rate"].as_py()
    samples = _samples(array) if array.is_valid else None
    return Audio(None, None, samples, rate)


def _samples(value: pa.ListScalar) -> NDArray[Any]:
    """Return the numbers of a list, or of lists of equal length: one for each channel."""
    inner = value.values
    if not _is_list(inner.type):
        return np.asarray(inner.to_numpy(zero_copy_only=False))
    channels = [np.asarray(each.values.to_numpy(zero_copy_only=False)) for each in inner]
    if len({len(channel) for channel in channels}) > 1:
        return np.full((1, 1), np.nan)  # no audio: left out by name as not finite
    return np.stack(channels) if channels else np.zeros(0)
