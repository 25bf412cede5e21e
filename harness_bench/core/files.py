"""Files that are either whole or absent: atomic writes, digests, JSON lines."""

import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Literal

# Begins what a clone holds in place of a large file where Git LFS is not installed.
LFS_POINTER = b"version https://git-lfs"
_LISTED = 2000  # names of a folder that are compared with a wrong one
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
        if path.is_symlink() and not path.exists():
            raise ValueError(f"{name} {path} is a link to nothing, {path.readlink()}; remove it.")
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


def check_given(
    path: Path, name: str, kind: Literal["file", "folder", "file or folder"], way_out: str = ""
) -> None:
    """Refuse an input that does not exist or is of another kind, before anything is read.

    `name` is what the user calls it, and `way_out` says what writes such an input. The `ValueError`
    names the folder that lacks it, and similar names there.
    """
    try:
        if path.exists():
            if kind == "file" and path.is_dir():
                raise ValueError(f"{name} {path} is a folder; name a file.")
            if kind == "folder" and not path.is_dir():
                raise ValueError(f"{name} {path} is a file; name a folder. {way_out}".rstrip())
            return
        lacking = _lacking(path)
        if lacking.is_symlink():
            raise ValueError(f"{name} {path}: {lacking} is a link to {lacking.readlink()}, which "
                             "does not exist.")  # fmt: skip
        advice = [each for each in (did_you_mean(path), way_out) if each]
    except OSError as error:
        raise ValueError(f"{name} {path} cannot be read: {error.strerror or error}.") from error
    raise ValueError(
        f"{name} {path}: there is no such {kind}; {lacking.parent.absolute()} does not contain "
        f"{lacking.name!r}. {' '.join(advice) or 'Check the path.'}"
    )


def did_you_mean(path: Path) -> str:
    """Ask for what lies where a path ends to exist and has a similar name.

    Empty where nothing has, where the place cannot be read, and of a path that exists.
    """
    with suppress(OSError):
        if path.exists():
            return ""
        lacking = _lacking(path)
        names = [each.name for each in islice(lacking.parent.iterdir(), _LISTED)]
        found = get_close_matches(lacking.name, [name for name in names if name != lacking.name])
        if found:
            return f"Did you mean {' or '.join(str(lacking.parent / name) for name in found)}?"
    return ""


def _lacking(path: Path) -> Path:
    """Return the first part of a path that does not exist."""
    return next((part for part in reversed(path.parents) if not part.exists()), path)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what will not fit: `needed` bytes of `what` in a folder not made yet."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ValueError(
            f"{what} takes {size_text(needed)} in {folder}, and {size_text(free)} are free there. "
            "Make room, or name another place."
        )


def size_text(size: float) -> str:
    """Return bytes as people read them.

    >>> size_text(263_400_000_000), size_text(1_900_000_000), size_text(120_000)
    ('263 GB', '1.9 GB', '120 kB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:  # noqa: PLR2004 - the prefixes' step, to three digits
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


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
    """Yield the values of a JSON-lines file; a broken line is a `ValueError` with its number.

    A byte order mark, as Windows writes one, is no part of the first line.
    """
    with path.open(encoding="utf-8-sig") as stream:
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


@dataclass
class Aside:
    """What `paths_below` did not yield, to be told: losses, folders met again, other files."""

    lost: list[tuple[Path, str]] = field(default_factory=list)  # what may hold files, and why not
    again: list[tuple[Path, str]] = field(default_factory=list)  # links to folders, and to which
    others: dict[str, tuple[int, Path]] = field(default_factory=dict)  # suffix: files, the first

    def count(self, path: Path) -> None:
        """Count a file of another kind under its suffix; a number after a dot is none."""
        suffix = path.suffix.lower() if _SUFFIX.fullmatch(path.suffix) else ""
        known, first = self.others.get(suffix, (0, path))
        self.others[suffix] = known + 1, first

    def losses(self) -> str:
        """Say what could not be read; empty where all was."""
        if not self.lost:
            return ""
        path, why = self.lost[0]
        more = f" and {len(self.lost) - 1} more" if len(self.lost) > 1 else ""
        return f"not read: {path} ({why}){more}"

    def held(self) -> str:
        """Say what there is instead where nothing was yielded."""
        return "; ".join(filter(None, (self.kinds(), self.losses()))) or "no file"

    def kinds(self, limit: int = 8) -> str:
        """Say how many files of which other suffixes there are, the most first."""
        most = sorted(self.others.items(), key=lambda item: (-item[1][0], item[0]))
        shown = [f"{suffix or 'no suffix'}: {count}" for suffix, (count, _) in most[:limit]]
        return ", ".join(shown + ["..."] * (len(most) > limit))


_SUFFIX = re.compile(r"\.(?=\w*[^\W\d])\w{1,9}")


def paths_below(
    root: Path, suffixes: Collection[str], aside: Aside | None = None
) -> Iterator[Path]:
    """Yield the files below a folder with one of `suffixes` (`.wav`) in any case, by path.

    Hidden files and folders and `__MACOSX` are passed over. Links are followed: links to nothing
    are yielded where their name has such a suffix; a folder that is met again, or holds the root,
    is not read again. `aside` takes what was not yielded, complete at the end.
    """
    walk = _Walk(root, Aside() if aside is None else aside)
    stack = [(walk.listed(os.fspath(root)), False)]
    while stack:
        entries, linked = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
        elif (kind := _kind(entry)) == "folder":
            linked = linked or entry.is_symlink()
            if walk.is_new(entry, linked=linked):
                stack.append((walk.listed(entry.path), linked))
        elif walk.is_wanted(entry, kind, suffixes):
            yield Path(entry.path)


class _Walk:
    """The folders that a walk has entered, so that each is read once."""

    def __init__(self, root: Path, aside: Aside) -> None:
        self.root, self.aside = Path(os.path.realpath(root)), aside
        self.entered: dict[tuple[int, int], str] = {}  # device and inode -> path

    def listed(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """Return what is visible in a folder, by name; nothing where it cannot be read."""
        try:
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not _hidden(entry.name)]
        except OSError as error:
            self.aside.lost.append((Path(folder), error.strerror or str(error)))
            return iter(())
        return iter(sorted(visible, key=lambda entry: entry.name))

    def is_new(self, entry: os.DirEntry[str], *, linked: bool) -> bool:
        """Tell whether a folder is to be read; links to what is read elsewhere are put aside."""
        elsewhere = self.in_root(entry.path) if entry.is_symlink() else None
        try:
            about = entry.stat()
        except OSError:
            return True  # it cannot be listed either, and is told then
        first = self.entered.setdefault((about.st_dev, about.st_ino), entry.path)
        # Some network file systems have no inodes; folders without links are no circles.
        if linked and about.st_ino and first != entry.path:
            elsewhere = elsewhere or first
        if elsewhere:
            self.aside.again.append((Path(entry.path), elsewhere))
        return not elsewhere

    def is_wanted(self, entry: os.DirEntry[str], kind: str, suffixes: Collection[str]) -> bool:
        """Tell whether this is a file that was asked for; others are put aside."""
        is_file, suffix = kind == "file", os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
        if suffix in suffixes:
            if is_file or entry.is_symlink():
                return True
            self.aside.lost.append((Path(entry.path), kind))
        elif entry.is_symlink() and not is_file and not suffix:  # it may have led to a folder
            self.aside.lost.append((Path(entry.path), kind))
        else:
            self.aside.count(Path(entry.path))
        return False

    def in_root(self, link: str) -> str | None:
        """Return where a link leads, if that is the root, above it, or read below it anyway."""
        target = Path(os.path.realpath(link))
        circle = self.root.is_relative_to(target)
        below = target.is_relative_to(self.root) and not any(
            _hidden(part) for part in target.relative_to(self.root).parts
        )
        return str(target) if circle or below else None


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _kind(entry: os.DirEntry[str]) -> str:
    """Return "folder", "file", or what it is instead."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_symlink() and not entry.is_file():
            return f"a link to nothing, {Path(entry.path).readlink()}"
        return "file" if entry.is_file() else "a pipe, socket or device"
    except OSError as error:  # links in a circle, or through a folder that may not be entered
        return error.strerror or str(error)


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
