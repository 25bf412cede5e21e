"""The rules of the house that no linter checks: sizes, import direction, no code in data files."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness_bench.core.extras import OPTIONAL

ROOT = Path(__file__).parent.parent
PLUGIN_FOLDERS = ("upstream", "downstream", "leaderboard")
SHIPPED = ("harness_bench", *PLUGIN_FOLDERS)
MAX_LINES, MAX_STATEMENTS = 500, 40
MAX_ROOMS, MAX_MODULES, MAX_DEPTH = 19, 3, 7  # of harness_bench, plugin folders included
# Formats that run code when they are read.
CODE_IN_DATA = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# What decodes or resamples audio; soundfile may be imported to write it.
SOUND_LIBRARIES = {"audioread", "av", "librosa", "soxr", "torchcodec"}
# What plugin folders may import of harness_bench: what lies below them, and themselves.
BELOW_ALL = {"audio", "core", "cuts", "models", "results", "scoring"}
MAY_IMPORT = {
    "upstream": BELOW_ALL | {"upstream", "probing"},
    "downstream": BELOW_ALL | {"downstream", "probing"},
    "leaderboard": BELOW_ALL | {"leaderboard"},
}
# Modules whose distribution has another name, or is brought and pinned by another.
MODULES = {"dask": "distributed", "pydantic_core": "pydantic", "sklearn": "scikit-learn",
           "yaml": "pyyaml"}  # fmt: skip
ONLY_ELSEWHERE = {"gradio"}  # imported in the Space alone, which has requirements of its own
# Class names that plugins have by convention.
FIXED_NAMES = {"Corpus", "DownstreamExpert", "UpstreamExpert"}
# The only parts of harness_bench that may name the leaderboard; plugins are found, never named.
NAMES_LEADERBOARD = ("__init__.py", "cli", "study")


def files(*folders: str) -> list[Path]:
    """List the Python files of some folders, hidden and generated ones aside."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path.relative_to(ROOT) for path in found if "__pycache__" not in path.parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imported(module: ast.Module) -> set[str]:
    """Return all modules and names a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return found


def long_functions(module: ast.Module) -> list[str]:
    """Name the functions of more statements than the house allows, their own inner ones counted."""
    return [
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1 > MAX_STATEMENTS
    ]


def unsafe_loads(module: ast.Module) -> list[int]:
    """Return the lines that call `torch.load` without a literal `weights_only=True`."""
    calls = (node for node in ast.walk(module) if isinstance(node, ast.Call))
    return [
        call.lineno
        for call in calls
        if ast.unparse(call.func) == "torch.load"
        and not any(
            word.arg == "weights_only" and ast.unparse(word.value) == "True"
            for word in call.keywords
        )
    ]


def hears_by_itself(module: ast.Module) -> set[str]:
    """Name what a file decodes or resamples audio by; writing by soundfile is none of it."""
    names = imported(module)
    found = {name for name in names if name.split(".")[0] in SOUND_LIBRARIES}
    found |= {name for name in names if re.fullmatch(r"torchaudio\..*\.[Rr]esample", name)}
    aliases = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "soundfile"
    }
    uses = (node for node in ast.walk(module) if isinstance(node, ast.Attribute))
    read = {ast.unparse(node) for node in uses if ast.unparse(node.value) in aliases}
    return found | {name for name in read if not name.endswith(".write")}


def top_levels(module: ast.Module) -> set[str]:
    return {name.split(".")[0] for name in imported(module)}


def parts_imported(module: ast.Module) -> set[str]:
    """Return the direct children of harness_bench that a file imports."""
    return {room(name) for name in imported(module) if name.startswith("harness_bench.")}


def room(module: str) -> str:
    """Return the direct child of harness_bench that a module lies in."""
    return module.split(".")[1]


def breaches(paths: list[Path], look: Callable[[ast.Module], object]) -> dict[str, object]:
    """Return what `look` finds in each file, files without a finding left out."""
    return {str(path): found for path in paths if (found := look(tree(path)))}


EVERY = files(*SHIPPED, "egs", "benchmarks", "tests")
OURS = files(*SHIPPED, "egs", "benchmarks")


def test_files_are_short() -> None:
    """A file that does not fit in the head is two files."""
    lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in EVERY}
    assert not {str(path): count for path, count in lines.items() if count >= MAX_LINES}


def test_functions_are_short() -> None:
    """A function is one thought; ruff does not count inner functions, this does."""
    assert not breaches(EVERY, long_functions)


def test_nothing_read_can_run_code() -> None:
    """Checkpoints and results come from strangers."""
    assert not breaches(OURS, lambda module: top_levels(module) & CODE_IN_DATA)
    assert not breaches(OURS, unsafe_loads)


def test_audio_is_read_and_resampled_in_one_room() -> None:
    """A format that one room reads and another does not, or hears shorter, is silently lost."""
    outside = [path for path in files(*SHIPPED) if path.parts[:2] != ("harness_bench", "audio")]
    assert not breaches(outside, hears_by_itself)
    told = ast.parse(
        "import soundfile as sf, av\nfrom torchaudio.functional import resample\nsf.info('a')"
    )
    assert hears_by_itself(told) == {"av", "torchaudio.functional.resample", "sf.info"}


def test_plugin_folders_are_imported_by_their_installed_name() -> None:
    """`import downstream` works in a clone alone, and may be another project's package."""
    assert not breaches(EVERY, lambda module: top_levels(module) & set(PLUGIN_FOLDERS))


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS)
def test_plugins_import_what_lies_below_them(folder: str) -> None:
    """A plugin that reached up would pull the whole house into s3prl's processes."""
    assert files(folder)
    assert not breaches(files(folder), lambda module: parts_imported(module) - MAY_IMPORT[folder])


def test_core_names_no_plugin() -> None:
    """A new upstream or task is a new folder; were one named here, it would be edited here."""
    every = files("harness_bench")
    core = [path for path in every if path.parts[1] not in NAMES_LEADERBOARD]
    assert core != every
    assert not breaches(core, lambda module: parts_imported(module) & set(PLUGIN_FOLDERS))
    assert not breaches(every, lambda module: parts_imported(module) & {"upstream", "downstream"})


def test_what_is_imported_is_declared() -> None:
    """What a library of ours happens to bring today may be gone with its next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    named = MODULES | {module: library.distribution for module, library in OPTIONAL.items()}
    found = {name for path in files(*SHIPPED) for name in top_levels(tree(path))}
    found -= {*sys.stdlib_module_names, "harness_bench", "", *ONLY_ELSEWHERE}
    used = {canonicalize_name(named.get(name, name)) for name in found}
    assert used - declared == {"wandb"}  # one's own choice, as OPTIONAL says
    assert declared - used == {"urllib3"}  # see pyproject.toml


def test_class_names_are_unique() -> None:
    """A name that two rooms give to different things is looked up in the wrong one."""
    nodes = (node for path in files(*SHIPPED) for node in ast.walk(tree(path)))
    counts = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    assert {name for name, count in counts.items() if count > 1} <= FIXED_NAMES


def module_name(path: Path) -> str:
    """Return a file's module as it is named when installed."""
    parts = path.with_suffix("").parts
    parts = parts if parts[0] == "harness_bench" else ("harness_bench", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> dict[str, set[str]]:
    """Return module -> modules it imports, those under TYPE_CHECKING and in functions counted."""
    modules = {module_name(path): path for path in files(*SHIPPED)}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        targets = (known(resolve_name(each, package), modules) for each in imported(tree(path)))
        graph[name] = {*targets} - {"", name, "harness_bench"}
    return graph


def known(target: str, modules: Collection[str]) -> str:
    """Return the longest prefix of an imported name that is a module of ours, or nothing."""
    while target and target not in modules:
        target = target.rpartition(".")[0]
    return target


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return a circle of imports, its first member twice; nothing where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def rooms_of(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return room -> rooms that it imports."""
    rooms: dict[str, set[str]] = {room(name): set() for name in graph if "." in name}
    for name, targets in graph.items():
        if "." in name:
            rooms[room(name)] |= {room(target) for target in targets} - {room(name)}
    return rooms


def test_no_import_circle() -> None:
    """What imports each other, even for types alone, can only be understood together."""
    graph = import_graph()
    assert len(graph) > 200
    assert not circle(graph)
    assert not circle(rooms_of(graph))


def test_a_newcomer_can_guess_the_room() -> None:
    """Few rooms on few floors; loose modules at the top are rooms without a door."""
    rooms = rooms_of(import_graph())
    modules = {p.stem for p in files("harness_bench") if len(p.parts) == 2} - {"__init__"}
    assert len(rooms) <= MAX_ROOMS
    assert len(modules) <= MAX_MODULES

    def depth(name: str) -> int:
        return 1 + max(map(depth, rooms[name]), default=0)

    assert max(map(depth, rooms)) <= MAX_DEPTH


def test_names_are_resolved() -> None:
    """A graph of names that lead nowhere has no circle, whatever is imported."""
    graph = import_graph()
    assert "harness_bench.core.files" in graph["harness_bench.results.record"]
    assert "harness_bench.leaderboard.board" in graph["harness_bench.leaderboard.page"]
    assert {*circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})} == {"b", "c"}


def test_layers_and_borders() -> None:
    """The contracts of pyproject.toml hold: import direction, s3prl and ESPnet behind borders.

    In a process of its own, since the linter sets up logging for all that follows.
    """
    lint = "import importlinter.cli as cli; raise SystemExit(cli.lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


BREACHES = ast.parse(
    """
import pickle
from downstream import ser
import torch
torch.load("x")
torch.load("x", weights_only=False)
def long():
    def inner():
        import harness_bench.leaderboard.build
        from harness_bench import demo
"""
    + "        x = 1\n" * 40
)


def test_the_checks_see_breaches() -> None:
    """Checks that walk a syntax tree pass easily by looking at the wrong nodes."""
    assert top_levels(BREACHES) == {"pickle", "downstream", "torch", "harness_bench"}
    assert parts_imported(BREACHES) == {"leaderboard", "demo"}
    assert long_functions(BREACHES) == ["long", "inner"]
    assert unsafe_loads(BREACHES) == [5, 6]
