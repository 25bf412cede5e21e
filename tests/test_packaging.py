"""What a clone can do, an installed wheel must do: every plugin and data file goes with it."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.utils import canonicalize_name
from readme_renderer import markdown

from harness_bench import __version__
from tools import third_party

ROOT = Path(__file__).parent.parent
PLUGIN_FOLDERS = ("upstream", "downstream", "leaderboard")
CONFIGS = Path("egs/harness/pretrain1/conf")
DEMO = Path("egs/demo")  # its studies
RECIPES = ("egs/demo/asr1", "egs/qasr/asr1")  # those of ASR; the others stay with the repository
SHELL = Path("egs/python.sh")
SHIPPED = ("harness_bench", *PLUGIN_FOLDERS, str(CONFIGS), *RECIPES)
NEW = Path("downstream/new_task/config.yaml")
BOXED = [
    Path("harness_bench/models/box/new_model", name)
    for name in ("model.safetensors", "it1.train.jsonl", "curves.png", "LICENSE.md")
]
BUILD_FILES = (
    "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "THIRD_PARTY.md",
    "CHANGELOG.md",
)  # fmt: skip
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
    studies = (str(path.relative_to(ROOT)) for path in (ROOT / DEMO).glob("*.toml"))
    for name in (*BUILD_FILES, str(SHELL), *studies):
        shutil.copy(ROOT / name, folder / name)
    (folder / "downstream" / "new_task").mkdir()
    (folder / NEW).with_name("__init__.py").write_text('"""New."""\n')
    (folder / NEW).write_text("{}\n")
    (folder / BOXED[0]).parent.mkdir(parents=True)
    for path in BOXED:
        (folder / path).write_bytes(b"\0")
    return folder


@pytest.fixture(scope="module")
def sdist(source: Path) -> Path:
    """Build with the setuptools that is here; nothing is downloaded."""
    (source / "tests").mkdir()
    (source / "tests" / "test_new.py").touch()  # what setuptools takes along unless it is told
    return built("--sdist", source)


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """Build from the tree, as from a clone."""
    return built("--wheel", source)


def built(kind: str, source: Path) -> Path:
    """Build one distribution of a folder into its dist/; return the file."""
    out = source / "dist"
    run("-m", "build", kind, "--no-isolation", "--outdir", str(out), str(source))
    (made,) = out.glob("*.whl" if kind == "--wheel" else "*.tar.gz")
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
    if path.parent == DEMO:
        return f"harness_bench/study/shipped/{path.name}"
    if path.parts[0] == SHELL.parts[0]:
        return f"harness_bench/asr/shipped/{path}"
    return f"harness_bench/{path}" if path.parts[0] in PLUGIN_FOLDERS else str(path)


def test_the_wheel_holds_every_file_of_the_source_and_nothing_else(
    source: Path, wheel: Path
) -> None:
    """A data file forgotten in package-data is missed by users alone: here everything is there.

    Two distributions that install `downstream/` would overwrite each other without a word.
    """
    held = [path for folder in (*SHIPPED, DEMO) for path in (source / folder).rglob("*")]
    expected = {
        installed_as(path.relative_to(source)) for path in [*held, source / SHELL] if path.is_file()
    }
    facts = f"harness_ssl_bench-{__version__}.dist-info"
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if not name.startswith(facts)} == expected
    assert {installed_as(NEW), "harness_bench/py.typed", *map(str, BOXED)} <= expected
    licences = {"LICENSE", "THIRD_PARTY.md", "harness_bench/models/box/harness_mini/LICENSE.md"}
    assert {f"{facts}/licenses/{name}" for name in licences} <= {*names}


def test_the_sdist_makes_the_same_wheel(
    source: Path, sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    """Whoever packages it for a cluster or a distribution builds from the sdist alone."""
    with tarfile.open(sdist) as packed:
        packed.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    brought = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    made_by_setuptools = {Path("PKG-INFO"), Path("setup.cfg")}
    extra = {path for path in brought - made_by_setuptools if not (source / path).is_file()}
    assert {path.parts[0] for path in extra} <= {"harness_ssl_bench.egg-info"}
    assert not any(path.parts[0] == "tests" for path in brought)
    assert {*map(Path, BUILD_FILES)} <= brought
    assert contents(built("--wheel", unpacked)) == contents(wheel)


def contents(wheel: Path) -> dict[str, bytes]:
    """Return every file of a wheel; the last lists the others."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_the_metadata_are_whole_and_the_readme_renders(wheel: Path) -> None:
    """PyPI refuses broken metadata at the upload, and shows a README it cannot render as text."""
    (name,) = (name for name in contents(wheel) if name.endswith(".dist-info/METADATA"))
    found = Metadata.from_email(contents(wheel)[name], validate=True)
    assert (found.name, str(found.version)) == ("harness-ssl-bench", __version__)
    assert found.license_expression == "Apache-2.0 AND CC-BY-4.0"
    assert {*(found.provides_extra or ())} == {"demo", "espnet", "onnx", "s3prl"}
    readme = found.description or ""
    page = markdown.render(readme, stream=sys.stderr)
    assert page is not None
    assert "<table>" in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert not [link for link in links if not link.startswith(("https://", "#"))]


def test_links_of_the_readme_lead_to_the_repository(source: Path, tmp_path: Path) -> None:
    """Pages and pictures of the repository are not on PyPI."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    urls = '[project.urls]\nSource = "https://example.org/h"\n\n[project.scripts]'
    (tmp_path / "pyproject.toml").write_text(project.replace("[project.scripts]", urls))
    (tmp_path / "README.md").write_text("![a](b.png) [c](d.md#e) [f](https://g) [h](#i)")
    shutil.copy(source / "setup.py", tmp_path)
    code = "import setuptools; setuptools.setup = lambda **k: print(k['long_description'])"
    told = run("-c", f"{code}; import runpy; runpy.run_path('setup.py')", cwd=tmp_path)
    assert told.split() == [
        "![a](https://example.org/h/raw/main/b.png)", "[c](https://example.org/h/blob/main/d.md#e)",
        "[f](https://g)", "[h](#i)",
    ]  # fmt: skip


def test_every_dependency_has_its_licence() -> None:
    """`third_party` refuses a dependency without a use, a licence or, of GPL kind, a word on it."""
    kept = third_party.PAGE.read_text(encoding="utf-8").splitlines()
    due = third_party.page().splitlines()
    assert not [line for line in due if line not in kept], "run tools/third_party.py"
    # Python 3.13 brings more; nothing else is left over.
    names = {canonicalize_name(each.name) for each in distributions()}
    left = [line for line in kept if line not in due and line.startswith("| ")]
    assert not [line for line in left if line.split(" | ")[0].strip("| ") in names]


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
