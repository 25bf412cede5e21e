"""Files that commit bfbc35e left, laid out as on a user's disk, and the command that opens them."""

from __future__ import annotations

import gzip
import json
import os
import pkgutil
import platform
import shutil
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT, KEPT = Path(__file__).parents[2], Path(__file__).with_name("bfbc35e")
ANSWERS = KEPT / "answers"  # what commands printed then
CLOSE = 1e-6  # how near trained weights come to those of then on another kind of CPU
PLACE = b"@ROOT@"  # stands in the kept files where the folder's own absolute path stood


class Done(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]


def restore(folder: Path) -> None:
    """Put a folder's own path where its files, packed by gzip or not, have `PLACE`."""
    own = str(folder).encode()
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        data, packed = path.read_bytes(), path.suffix == ".gz"
        text = gzip.decompress(data) if packed else data
        if PLACE in text:  # all else stays to the byte: digests hang on it
            text = text.replace(PLACE, own)
            path.write_bytes(gzip.compress(text, mtime=0) if packed else text)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the kept files with their paths put right; it is the working folder."""
    folder = tmp_path / "old"
    shutil.copytree(KEPT, folder, symlinks=True)
    restore(folder)
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("HARNESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return what runs `harness-bench` in this process, wherever its function lies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    main = pkgutil.resolve_name(project["scripts"]["harness-bench"])

    def run(*words: object) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["harness-bench", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run


def stamps(*folders: Path) -> dict[str, int]:
    """Return the time of change of every file below some folders, locks aside."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files = [path for path in files if path.suffix != ".lock"]
    return {str(path): path.stat().st_mtime_ns for path in files}


def rows(source: str | Path) -> list[Any]:
    """Return the values of JSON lines, given as text or as a file."""
    text = source if isinstance(source, str) else source.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def assert_alike(now: Any, then: Any, *, rel: float = 0.0, most: float = 0.0) -> None:
    """Compare two JSON values; numbers may differ by a share of the old one, or by `most`."""
    if isinstance(then, dict):
        assert now.keys() == then.keys()
        for key, value in then.items():
            assert_alike(now[key], value, rel=rel, most=most)
    elif isinstance(then, list):
        assert len(now) == len(then)
        for one, other in zip(now, then, strict=True):
            assert_alike(one, other, rel=rel, most=most)
    elif isinstance(then, float):
        assert now == pytest.approx(then, rel=rel, abs=most)
    else:
        assert now == then


def machine_of_then() -> bool:
    """Whether this CPU and this torch are of the kind that made the files."""
    import torch  # noqa: PLC0415 - keeps collection light

    block = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", maxsplit=1)[0]
    pairs = (line.partition(":") for line in block.splitlines())
    now = {name.strip(): value.strip() for name, _, value in pairs}
    now |= {"capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}
    then = json.loads((ANSWERS / "machine.json").read_text(encoding="utf-8"))
    return all(now.get(name) == value for name, value in then.items())


def assert_same_weights(now: Path, then: Path) -> None:
    """Compare trained models: to the bit on the machine of then, else within `CLOSE`."""
    import torch  # noqa: PLC0415 - keeps collection light
    from safetensors.torch import load_file  # noqa: PLC0415

    close = 0.0 if machine_of_then() else CLOSE
    for file in ("model.safetensors", "pretraining_head.safetensors"):
        one, other = load_file(now / file), load_file(then / file)
        assert one.keys() == other.keys()
        for name, value in one.items():
            torch.testing.assert_close(value, other[name], rtol=0, atol=close, msg=name)


def other_versions(call: Call, provenance: Path) -> list[str]:
    """Name what has another version now than when a folder was made."""

    def now(name: str) -> str:
        if name in ("python", "harness-ssl-bench"):
            return platform.python_version() if name == "python" else call("--version").out.strip()
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "absent"

    then = json.loads(provenance.read_text(encoding="utf-8"))["versions"]
    return [name for name, version in then.items() if now(name) != version]
