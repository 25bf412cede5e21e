"""The public API: docs/api.md shows all of it, and importing it costs nothing."""

import subprocess

import harness_bench as hb
from tests import warm
from tests.docs.pages import ROOT, blocks


def test_the_page_shows_every_name() -> None:
    code = "".join(block.text for block in blocks(ROOT / "docs" / "api.md") if block.is_run)
    assert {name for name in hb.__all__ if f"hb.{name}(" not in code} == {"__version__"}


def test_nothing_is_imported_before_its_use() -> None:
    code = "import sys, harness_bench as hb; print(dir(hb)); assert 'numpy' not in sys.modules"
    done = subprocess.run([warm.REAL, "-c", code], capture_output=True, text=True, check=True)
    assert all(repr(name) in done.stdout for name in hb.__all__)
