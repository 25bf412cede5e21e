"""What a clone can do, an installed wheel must do: every plugin and data file goes with it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from harness_bench import __version__

ROOT = Path(__file__).parent.parent
PLUGIN_FOLDERS = ("upstream", "downstream", "leaderboard")
CONFIGS = Path("egs/harness/pretrain1/conf")
DEMO = Path("egs/demo")  # its studies alone; recipes stay with the repository
SHIPPED = ("harness_bench", *PLUGIN_FOLDERS, str(CONFIGS))
NEW = Path("downstream/new_task/config.yaml")
BOXED = [
    Path("harness_bench/models/box/new_model", name)
    for name in ("model.safetensors", "it1.train.jsonl", "curves.png", "LICENSE.md")
]
BUILD_FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
INVENTORY = Path(__file__).with_name("packaging_inventory.py")
GENERATED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a build needs, and a new task and a new model, which no line of a build file names.

    A build in the clone would pick up what an earlier one left.
    """
    folder = tmp_path_factory.mktemp("source")
    for name in SHIPPED:
        shutil.copytree(ROOT / name, folder / name, ignore=GENERATED)
    (folder / DEMO).mkdir()
    studies = (str(path.relative_to(ROOT)) for path in (ROOT / DEMO).glob("*.toml"))
    for name in (*BUILD_FILES, *studies):
        shutil.copy(ROOT / name, folder / name)
    (folder / "downstream" / "new_task").mkdir()
    (folder / NEW).with_name("__init__.py").write_text('"""New."""\n')
    (folder / NEW).write_text("{}\n")
    (folder / BOXED[0]).parent.mkdir(parents=True)
    for path in BOXED:
        (folder / path).write_bytes(b"\0")
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """Build with the setuptools that is here; nothing is downloaded."""
    out = source / "dist"
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source))
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone into an empty folder."""
    target = tmp_path_factory.mktemp("installed")
    run("-m", "uv", "pip", "install", "--offline", "--no-deps", "--target", str(target), str(wheel))
    return target


def run(*arguments: str, cwd: Path | None = None, **variables: str) -> str:
    """Run this Python with arguments; return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_installed(installed: Path, *arguments: str) -> str:
    """Run Python with the installed wheel and our libraries, without the editable install.

    With -S no .pth file is read, and an editable install is one.
    """
    libraries = f"{installed}{os.pathsep}{sysconfig.get_path('purelib')}"
    return run("-S", *arguments, cwd=installed, PYTHONPATH=libraries)


def installed_as(path: Path) -> str:
    """Return where a wheel holds a file of the source."""
    if path.is_relative_to(CONFIGS):
        return f"harness_bench/pretrain/paper/{path.relative_to(CONFIGS)}"
    if path.is_relative_to(DEMO):
        return f"harness_bench/study/shipped/{path.relative_to(DEMO)}"
    return f"harness_bench/{path}" if path.parts[0] in PLUGIN_FOLDERS else str(path)


def test_the_wheel_holds_every_file_of_the_source_and_nothing_else(
    source: Path, wheel: Path
) -> None:
    """A data file forgotten in package-data is missed by users alone: here everything is there.

    Two distributions that install `downstream/` would overwrite each other without a word.
    """
    expected = {
        installed_as(path)
        for folder in (*SHIPPED, DEMO)
        for path in (each.relative_to(source) for each in (source / folder).rglob("*"))
        if (source / path).is_file()
    }
    facts = f"harness_ssl_bench-{__version__}.dist-info"
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if not name.startswith(facts)} == expected
    assert {installed_as(NEW), "harness_bench/py.typed", *map(str, BOXED)} <= expected
    assert f"{facts}/licenses/LICENSE" in names
    metadata = zipfile.ZipFile(wheel).read(f"{facts}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata


def test_the_installed_wheel_finds_what_the_clone_finds(installed: Path) -> None:
    """Discovery looks into folders, and an installed package's folders lie elsewhere."""
    there = json.loads(run_installed(installed, str(INVENTORY)))
    here = json.loads(run(str(INVENTORY)))
    there["tasks"].remove("new_task")
    there["task configs"].remove(NEW.name)
    assert Path(there.pop("from")[0]).is_relative_to(installed)
    assert Path(here.pop("from")[0]).is_relative_to(ROOT)
    assert there == here
    assert all(there.values())


def test_the_installed_command_runs(installed: Path) -> None:
    """The script's entry point exists and reads the presets from where it is installed."""
    assert (installed / "bin" / "harness-bench").is_file()
    rows = json.loads(run_installed(installed, "-m", "harness_bench.cli", "models", "--json"))
    assert len(rows) == len(list((ROOT / CONFIGS).glob("harness_*.toml")))
