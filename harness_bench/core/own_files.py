"""What an earlier run wrote into a folder may be replaced; all else there is somebody's.

A step notes the files it writes in provenance.json, and in the mark that stands in the folder while
they are being written, so that a run cut off knows them too.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_json, write_json
from harness_bench.core.workdir import PROVENANCE, is_note

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

UNFINISHED = "UNFINISHED"  # this file stands in a folder while its files are being replaced
FILES = "files"  # field of provenance.json and of the mark: paths relative to the folder
_OURS = {"created", "command", "config", "versions"}  # what provenance.json always has
_SHOWN = 3  # names of strangers that an error gives


def own_files(
    out: Path, patterns: Collection[str], older: Callable[[], Collection[str]]
) -> list[Path]:
    """List the files of an earlier run in a folder; [] in a new one. Folders in it are left alone.

    Args:
        out: the folder that a step is about to write into.
        patterns: of the names of all that the step ever writes.
        older: gives the patterns of what it wrote there where a version before noted no list.

    Raises:
        ValueError: the folder holds files and no run wrote into it, or files of others under
            names of ours, which would be taken for what this step makes.
    """
    noted = _noted(out)
    if noted is None:
        refuse_files(out)
    there = {path for like in patterns for path in out.glob(like)}
    likes = older() if noted == [] else ()
    ours = {out / name for name in noted or ()} | {
        path for like in likes for path in out.glob(like)
    }
    if taken := there - ours:
        raise ValueError(refusal(out, taken))
    return sorted(there & ours)


def refuse_files(out: Path) -> None:
    """Refuse a folder that holds files, but for hidden ones and the note of a `WorkDir`.

    Folders in it are no matter.
    """
    try:
        files = [path for path in out.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise ValueError(f"{out} is a file; name a folder to write into.") from error
    if others := [path for path in files if not path.is_dir() and not is_note(path)]:
        raise ValueError(refusal(out, others))


def _noted(out: Path) -> list[str] | None:
    """Return the files that a run noted, [] if it noted no list, None where no run of ours was."""
    lists = [_list(out / name) for name in (UNFINISHED, PROVENANCE)]
    known = [names for names in lists if names is not None]
    return sorted({name for names in known for name in names}) if known else None


def _list(path: Path) -> list[str] | None:
    if not path.is_file():
        return None
    if path.name == UNFINISHED and not path.stat().st_size:  # of a version before
        return []
    try:
        found: Any = read_json(path)
    except (ValueError, OSError):
        return None
    if not isinstance(found, dict) or (path.name == PROVENANCE and not found.keys() >= _OURS):
        return None
    names = found.get(FILES, [])
    fit = isinstance(names, list) and all(isinstance(n, str) and _inside(n) for n in names)
    return names if fit else None


def _inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/")


def refusal(out: Path, strangers: Iterable[Path]) -> str:
    """Say that a folder holds strange files, and the way out."""
    names = sorted(path.relative_to(out).as_posix() for path in strangers)
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return (
        f"{out} holds what was not made here ({shown}), so nothing is written into it. Name "
        "another folder: a new or empty one, or one that the same command wrote before."
    )


def spoil(out: Path) -> None:
    """Mark a folder of which something is about to be removed before it is written anew."""
    if not (out / UNFINISHED).exists():
        write_json(out / UNFINISHED, {FILES: []})  # those of the earlier run stay in its provenance


@contextmanager
def replacing(out: Path, old: Iterable[Path], files: Collection[str]) -> Iterator[None]:
    """Remove the files of an earlier run; while the block writes `files`, a mark lists both.

    A run cut off within leaves the mark, by which the next run knows what is its own.
    """
    out.mkdir(parents=True, exist_ok=True)
    old = list(old)
    names = sorted({*files, *(path.relative_to(out).as_posix() for path in old)})
    write_json(out / UNFINISHED, {FILES: names})
    for path in old:
        path.unlink(missing_ok=True)
    yield
    (out / UNFINISHED).unlink()
