"""The quick start: its calls fit the public API, its outputs are of its code, and it runs."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

import harness_bench as hb

ROOT = Path(__file__).parent.parent
PATH = ROOT / "notebooks" / "quickstart.ipynb"
NOTEBOOK = nbformat.read(PATH, as_version=4)
CELLS = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
# The first cell has a command of Jupyter's own.
TREE = ast.parse("\n".join(cell.source for cell in CELLS[1:]))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """Import tools/execute_notebook.py, which is no package's."""
    spec = importlib.util.spec_from_file_location(
        "execute_notebook", ROOT / "tools" / "execute_notebook.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(kind: str) -> list[Any]:
    return [one for cell in CELLS for one in cell.outputs if one.output_type == kind]


def keywords_of(name: str) -> set[str]:
    """Return what a public function takes by name, from its source: importing all takes seconds."""
    module, _, function = hb._PUBLIC[name].partition(":")
    room, *_ = module.split(".")
    folder = ROOT if (ROOT / room).is_dir() else ROOT / "harness_bench"
    tree = ast.parse(folder.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8"))
    (found,) = (
        each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == function
    )
    return {each.arg for each in (*found.args.args, *found.args.kwonlyargs)} | (
        {"require"} if name == "prepare" else set()  # one of `PrepareConfig`
    )


def test_its_calls_fit_the_public_api() -> None:
    """A renamed keyword breaks the notebook in a second here, not in minutes below."""
    called = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("hb."):
            name = ast.unparse(node.func).removeprefix("hb.")
            assert name in hb.__all__
            assert {each.arg for each in node.keywords if each.arg} <= keywords_of(name)
            called.add(name)
    assert {"prepare", "hidden_states", "probe", "train_family", "score", "compare"} <= called
    imported = {node.module for node in ast.walk(TREE) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in imported if str(name).startswith("harness_bench")}


def test_its_outputs_are_of_its_code(tool: ModuleType) -> None:
    """Who changes a cell runs `make notebook`: outputs of other code would be an invention."""
    assert NOTEBOOK.metadata[tool.KEPT] == tool.code_digest(NOTEBOOK)
    assert [cell.execution_count for cell in CELLS] == [*range(1, len(CELLS) + 1)]
    assert not outputs("error")
    assert not re.search(r"/(home|root|tmp|work)/", PATH.read_text(encoding="utf-8"))


def test_a_reader_sees_tables_pictures_and_arabic() -> None:
    kinds = [
        key for one in (*outputs("display_data"), *outputs("execute_result")) for key in one.data
    ]
    assert kinds.count("image/png") >= 5
    tables = [one.data["text/html"] for one in outputs("execute_result") if "text/html" in one.data]
    arabic = [table for table in tables if re.search(r"[\u0621-\u064a]", table)]
    assert len(arabic) == 2
    assert all('dir="rtl"' in table for table in arabic)
    assert PATH.stat().st_size < 600_000


@pytest.mark.slow
@pytest.mark.s3prl
def test_it_runs(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures may differ in the last digits between machines; models and metrics do not."""
    import pandas as pd  # noqa: PLC0415 - a second, of a slow test alone

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    fresh = nbformat.read(PATH, as_version=4)
    for cell in fresh.cells:
        cell.pop("outputs", None) if cell.cell_type == "markdown" else cell.update(outputs=[])
    tool.execute(fresh, tmp_path)
    rows = pd.read_csv(tmp_path / "quickstart" / "board" / "leaderboard.csv").query("main")
    assert set(rows.model) == {"FBANK", "harness_mini", "student"}
    assert rows.synthetic.all()
    assert rows.set_index("model").value["harness_mini"] > 20  # chance of five classes, in %
