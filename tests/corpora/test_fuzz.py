"""Broken corpora: each ends in a named error or a listed reason, and nothing else is written.

Every mutation comes of a number, so that a failure is had again by its number alone.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench import corpora
from harness_bench.audio.io import AUDIO_SUFFIXES
from harness_bench.corpora.base import Skipped, Utterance
from harness_bench.corpora.prepare import prepare
from tests.corpora.trees import build

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = tuple(corpora.available())
FEW = 60
ANYWHERE = ("tsv", "kaldi")  # tables may name audio beside their folder; nothing is written there
PIECES = (
    b"\0", b"\xff\xfe", b"\t", b"\n", b"\r\n", b"../../../etc/passwd", b"-1", b"1e999", b"NaN",
    b'"', b"{", b"[[[[", b"]", b"null", b"\\ud800", b",", b" ", "\u2028".encode(),
    "\u0646\u0639\u0645".encode(), b"9" * 400, b"|", b".mp3", b"/", b"LEV",
    b"<", b"&x;", b"<segment>", b"@@@ ", b"###", b"\xef\xbb\xbf", b"\xed\xa0\x80",
)  # fmt: skip
FILE_NAMES = (
    b"\xff\xfe.wav", b"D05E00P001S01T01.flac", b"D05E99P901S1T1.flac", b"a b\n.wav", b".hidden.wav",
    b"x" * 250 + b".wav", b"__1_2.wav", b"-.flac", b"EGY", b"Phase_", b"phase_\xc3\xa9", b"wav",
    b"reference", b"train.tsv", b"\xd9\x86.wav", b"train-", b"1-2.trans.txt",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a good tree of each corpus, never changed."""
    from lhotse.recipes import mgb2  # noqa: F401, PLC0415 - to import torch may take long; no hang

    roots = {name: tmp_path_factory.mktemp(name) for name in NAMES}
    for name, root in roots.items():
        build(name, root)
    return roots


@pytest.mark.parametrize("name", NAMES)
def test_reading_ends_in_a_named_error_or_a_list(
    name: str, whole: dict[str, Path], tmp_path: Path
) -> None:
    """A traceback from deep inside tells a user nothing; a hang tells less."""
    outcomes = [read_broken(name, seed, whole[name], tmp_path) for seed in range(FEW)]
    # Were all errors, or none, the mutations would be too coarse or too fine to prove anything.
    assert sum(outcomes) < len(outcomes)
    assert sum(outcomes) > 0 or name == "folder"  # any tree with one sound file in it is whole


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_broken_corpora(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """As above, more of them."""
    for seed in range(FEW, 3000):
        read_broken(name, seed, whole[name], tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_preparing_writes_in_its_own_folder_alone(
    name: str, whole: dict[str, Path], tmp_path: Path
) -> None:
    """Names and paths of a corpus must not lead a writer out of its folder."""
    for seed in range(8):
        root = broken(whole[name], tmp_path / "corpus", seed)
        before, told = snapshot(tmp_path), ValueError()
        with limited(), writes() as written:
            try:
                report = prepare(name, root, tmp_path / "out", jobs=1, max_skipped=1)
                left_out = sum(item.counts for item in report.skipped_list)
                assert report.kept + left_out == report.found, seed
            except ValueError as error:
                told = error
        assert type(told) is ValueError, seed
        assert written or str(told), "the watch is asleep"
        assert outside(written, tmp_path / "out") == [], seed
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert snapshot(tmp_path) == before, seed


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of everything below a folder."""
    files = ((path, path.lstat()) for path in folder.rglob("*") if not path.is_dir())
    return {str(path): (about.st_size, about.st_mtime_ns) for path, about in files}


def read_broken(name: str, seed: int, good: Path, folder: Path) -> bool:
    """Read one mutated corpus; return whether it ended in an error."""
    root = broken(good, folder / "corpus", seed)
    told: ValueError | None = None
    found: list[Utterance | Skipped] = []
    with limited():
        try:
            found = list(corpora.get(name)().utterances(root))
        except ValueError as error:
            told = error
    if told is not None:
        assert type(told) is ValueError, (seed, told)
        assert str(root) in str(told) or "Is the corpus whole?" in str(told), (seed, told)
    for item in found:
        assert sane(item, Path("/") if name in ANYWHERE else root), (seed, item)
    return told is not None


def sane(item: Utterance | Skipped, root: Path) -> bool:
    """Tell whether an item can be written, joined and opened, and lies within the corpus."""
    texts = [item.id, item.where, *([item.detail, item.audio] if isinstance(item, Skipped) else [])]
    if isinstance(item, Utterance):
        texts += [item.text or "", item.speaker or "", *item.custom.values()]
    "".join(texts).encode()
    if isinstance(item, Skipped):
        return bool(item.detail)
    times = [item.start, item.duration or 0.0]
    inside = Path(os.path.normpath(item.audio)).is_relative_to(root)
    return inside and all(isfinite(time) and time >= 0 for time in times)


class HangError(BaseException):
    """Reading takes without end; no reader catches this kind."""


@contextmanager
def limited(seconds: int = 20) -> Iterator[None]:
    """Turn a hang into a failure."""

    def stop(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def broken(good: Path, root: Path, seed: int) -> Path:
    """Copy a tree and break one to three things in it."""
    if root.exists():
        shutil.rmtree(root)
    shutil.copytree(good, root, symlinks=True)
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 3)):
        rng.choice(MUTATIONS)(root, rng)
    return root


def some_file(root: Path, rng: random.Random, *, text: bool) -> Path:
    """Choose a file, of text where there is one."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    written = [path for path in files if path.suffix.lower() not in AUDIO_SUFFIXES]
    return rng.choice((written if text else files) or files or [root / "none"])


def change_bytes(root: Path, rng: random.Random) -> None:
    """Cut, insert, repeat or replace within a file."""
    path = some_file(root, rng, text=rng.random() < 0.8)
    data = path.read_bytes() if path.is_file() else b""
    for _ in range(rng.randint(1, 4)):
        first, last = sorted(rng.choices(range(len(data) + 1), k=2))
        last = min(last, first + rng.choice([0, 1, 8, 10**9]))
        data = data[:first] + rng.choice(PIECES) * rng.choice([0, 1, 1, 3]) + data[last:]
    path.write_bytes(data)


def rename(root: Path, rng: random.Random) -> None:
    """Give a file or a folder a name that it should not have."""
    paths = sorted(root.rglob("*"))
    if paths:
        old = rng.choice(paths)
        new = os.path.join(os.fsencode(old.parent), rng.choice(FILE_NAMES))  # noqa: PTH118 - bytes
        if not os.path.lexists(new):
            os.rename(os.fsencode(old), new)  # noqa: PTH104 - bytes


def replace(root: Path, rng: random.Random) -> None:
    """Put something else where a file was."""
    path = some_file(root, rng, text=rng.random() < 0.5)
    path.unlink(missing_ok=True)
    kind = rng.choice(["nothing", "folder", "pipe", "loop", "dangling"])
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "nothing":
        path.symlink_to(path.name if kind == "loop" else "/nowhere/at/all")


MUTATIONS = (change_bytes, change_bytes, rename, replace)


# Python itself tells of each file that is written, wherever it is.
_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.truncate",
            "os.chmod", "os.rmdir", "shutil.")  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_watching: list[list[str]] = []
_hooked: list[bool] = []


@contextmanager
def writes() -> Iterator[list[str]]:
    """Yield a list that fills with every path that is written, made, moved or removed."""
    if not _hooked:
        sys.addaudithook(_hook)  # stays for good: Python has no way to take one back
        _hooked.append(True)
    found: list[str] = []
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def outside(found: list[str], folder: Path) -> list[str]:
    """Return what of it is neither in a folder nor Python's own compiled modules."""
    outer = (path for path in found if not Path(os.path.normpath(path)).is_relative_to(folder))
    return [path for path in outer if "__pycache__" not in path and path != os.devnull]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    paths: tuple[Any, ...] = ()
    if event == "open":
        paths = arguments[:1] if (arguments[2] or 0) & _WRITING else ()
    elif event.startswith(_CHANGES):
        paths = arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]
    for path in paths if _watching else ():
        if isinstance(path, str | bytes | os.PathLike):
            whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - no link is followed
            for found in _watching:
                found.append(whole)
