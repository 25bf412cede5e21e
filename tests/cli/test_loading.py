"""A verb that imports torch for seconds must not look as if it hung."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from harness_bench.cli.loading import told_while_loading
from tests.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("imports", [True, False])
def test_an_import_is_told_and_work_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, imports: bool
) -> None:
    (tmp_path / "slow_library.py").write_text("import time\ntime.sleep(0.3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_library", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with told_while_loading(patience=0.05):
        if imports:
            __import__("slow_library")
        else:
            time.sleep(0.2)
    assert terminal.getvalue() == ("loading libraries ...\n" if imports else "")


def test_a_log_gets_no_word(capfd: pytest.CaptureFixture[str]) -> None:
    with told_while_loading(patience=0):
        time.sleep(0.02)
    assert capfd.readouterr() == ("", "")
