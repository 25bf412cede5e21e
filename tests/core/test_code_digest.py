"""What stands for the code that computes features."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from harness_bench.core import code_digest, files, rng

SOURCES = {
    "base_of_one": "from torch import nn\nclass Base(nn.Module):\n    pass\n",
    "inner_of_one": "from torch import nn\nclass Inner(nn.Module):\n    pass\n",
    "outer_of_one": "import base_of_one, inner_of_one\nclass Outer(base_of_one.Base):\n"
    "    def __init__(self):\n        super().__init__()\n"
    "        self.inner = inner_of_one.Inner()\n",
}


@pytest.fixture
def digest_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function: the digest of a model and a package, with changed sources."""
    monkeypatch.syspath_prepend(tmp_path)

    def digest(**changed: str) -> str:
        package = tmp_path / "helpers_of_one"
        package.mkdir(exist_ok=True)
        texts = {**SOURCES, "helpers_of_one/__init__": "", "helpers_of_one/norm": "x = 1\n"}
        for name, text in (texts | changed).items():
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        code_digest._digest.cache_clear()
        importlib.invalidate_caches()
        for name in [*SOURCES, "helpers_of_one"]:
            sys.modules.pop(name, None)
        outer = importlib.import_module("outer_of_one")
        return code_digest.code_digest(outer.Outer(), ["helpers_of_one"])

    return digest


@pytest.mark.parametrize("name", [*SOURCES, "helpers_of_one/norm"])
def test_code_anywhere_in_the_model_counts(name: str, digest_with: Any) -> None:
    """Features of yesterday's code under today's would be wrong without a sign."""
    before = digest_with()
    assert digest_with(**{name: SOURCES.get(name, "") + "y = 2\n"}) != before
    assert digest_with() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("VERSION", code_digest.VERSION + 1), ("_version", lambda name: f"{name} 99")],
)
def test_versions_count(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new torch may round in another way; and what no file shows has its number."""
    before = code_digest.code_digest(nn.ReLU())
    monkeypatch.setattr(code_digest, name, value)
    assert code_digest.code_digest(nn.ReLU()) != before


def test_torchs_own_layers_count_by_its_version() -> None:
    """Thousands of files need not be read for a probe."""
    assert code_digest.code_digest(nn.Linear(1, 1)) == code_digest.code_digest(nn.Conv1d(1, 1, 1))


def test_modules_and_libraries_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no model is named by its modules."""
    names, libraries = [files.__name__, rng.__name__], ["numpy"]
    before = code_digest.modules_digest(names, libraries)
    assert code_digest.modules_digest(names[::-1], libraries) == before
    assert code_digest.modules_digest(names[:1], libraries) != before
    assert code_digest.modules_digest(names, [*libraries, "scipy"]) != before
    assert code_digest.modules_digest(names, libraries, ["harness_bench.audio"]) != before
    monkeypatch.setattr(code_digest, "_digest", lambda file: f"{file} of tomorrow")
    assert code_digest.modules_digest(names, libraries) != before
