"""Files that are either whole or absent: atomic writes, digests, JSON lines."""

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_blake2b_128 = functools.partial(hashlib.blake2b, digest_size=16)


@contextmanager
def atomic_path(target: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces it when the block ends without error.

    The data reach the disk (fsync) before the rename, so a killed run leaves the old file or
    the new one and never a half of either. The temporary name keeps the suffixes of `target`
    (libraries choose compression by them). Without `sync` a power cut may leave a torn file: for
    files that carry a checksum and can be made again.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(target.suffixes)
    descriptor, name = tempfile.mkstemp(prefix=".partial-", suffix=suffix, dir=target.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        if sync:
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
        mask = os.umask(0o022)  # there is no way to read it without setting it
        os.umask(mask)
        partial.chmod(0o666 & ~mask)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def check_writable(path: Path, name: str, *, file: bool = False) -> None:
    """Refuse a place where nothing can be written, before work is spent on what goes there.

    Nothing is left behind. `name` is what the user calls the place; `file` tells that it is to be a
    file, not a folder, which need not exist yet.
    """
    try:
        if path.exists() and path.is_dir() == file:
            raise ValueError(f"{name} {path} is a {'folder' if file else 'file'}; name a new one.")
        place = path.parent if file else path
        while not place.exists():
            place = place.parent
        with tempfile.TemporaryFile(dir=place):
            return
    except OSError as error:
        raise ValueError(
            f"{name} {path} cannot be written: {error.strerror or error}. Name another place."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write indented UTF-8 JSON atomically; NaN and infinity are refused (`ValueError`)."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=str)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a broken one is a `ValueError` that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}). Make it again or delete it."
        ) from error


def read_settings(path: Path) -> dict[str, Any]:
    """Read a JSON file of settings; empty where there is none, a ValueError if it holds others."""
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, where settings are expected.")  # noqa: TRY004 - user input
    return found


def write_jsonl(path: Path, rows: Iterable[object]) -> int:
    """Write one JSON value a line, atomically; return the number of lines."""
    count = 0
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def append_jsonl(path: Path, row: object) -> None:
    """Add one JSON value as a line; a kill may cut it off."""
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
    except OSError as error:  # of a full disk, it does not say where
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_jsonl(path: Path) -> Iterator[Any]:
    """Yield the values of a JSON-lines file; a broken line is a `ValueError` with its number."""
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number} is not valid JSON ({error.msg}).") from error
            except RecursionError:
                raise ValueError(f"{path}:{number} is nested too deeply.") from None


def read_ids(path: Path) -> list[str]:
    """Read ids, one a line, each once; empty lines and lines that begin with # are passed over.

    A byte order mark, as Windows writes one, is no part of the first id. No such file, or one that
    is not UTF-8, is a `ValueError`.
    """
    try:
        lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
        return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no list of ids in UTF-8, one a line.") from error
    except OSError as error:
        raise ValueError(f"{path}, a list of ids, cannot be read ({error.strerror}).") from error


def paths_below(root: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Yield what is visible below a folder, sorted, with one of `suffixes` (`.wav`) in any case."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if not hidden and path.suffix.lower() in suffixes:
            yield path


def stamp(path: Path) -> tuple[int, int]:
    """Return size and time of change (ns) of a file: a cheap sign that it is as it was."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def digest_file(path: Path) -> str:
    """Return the BLAKE2b-128 digest of a file's content as 32 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, _blake2b_128).hexdigest()


def digest_strings(strings: Iterable[str]) -> str:
    """Return the BLAKE2b-128 digest of strings, in the order given, as 32 hex digits."""
    state = _blake2b_128()
    for string in strings:
        state.update(string.encode() + b"\0")
    return state.hexdigest()
