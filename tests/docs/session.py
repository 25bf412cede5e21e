"""Runs the blocks of a page in order, as a reader does: in one folder, one shell, one Python."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
from typing import TYPE_CHECKING

from tests import warm
from tests.docs import given
from tests.docs.pages import ROOT, Block, blocks

if TYPE_CHECKING:
    from pathlib import Path

# Goes on where the block before it ended: its folder and its exported variables.
_SHELL = """
if [ -f {state} ]; then . {state}; fi
trap '{{ export -p; printf "cd %q\\n" "$PWD"; }} >{state}' EXIT
trap 'status=$?; [ $status = {status} ] || exit $status' ERR
set -uo pipefail
{text}
"""
_END = "\0end\0"
_PYTHON = f"""
import json, os, sys, traceback
asked = os.fdopen(os.dup(0))
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(1, 2)
names = {{"__name__": "__main__"}}
for line in asked:
    state, name, code = 0, *json.loads(line)
    try:
        exec(compile(code, name, "exec"), names)
    except BaseException:
        state = 1
        traceback.print_exc()
    sys.stderr.flush()
    print({_END!r}, state, flush=True)
"""


def may_end(block: Block) -> int:
    """Return the status that a block's commands may end with, beside 0."""
    return int(block.notes.get("may end with", "0").partition(",")[0])


class Session:
    """A page's folder, and what its blocks printed."""

    def __init__(self, page: Path, folder: Path, store: Path) -> None:
        self.blocks, self.store = blocks(page), store
        self.printed: dict[int, str] = {}
        self.folder, self.state = folder / "here", folder / "state"
        self.folder.mkdir(parents=True)
        self.environment = os.environ | self._programs(folder / "bin") | {
            "HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "COLUMNS": "100",
        }  # fmt: skip
        self.python: subprocess.Popen[str] | None = None

    def _programs(self, folder: Path) -> dict[str, str]:
        """Put `harness-bench` and `python` of warm processes in front of all others."""
        folder.mkdir()
        for name, words in {"harness-bench": "-m harness_bench.cli ", "python": ""}.items():
            (folder / name).write_text(f'#!/bin/sh\nexec {warm.python()} {words}"$@"\n')
            (folder / name).chmod(0o755)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HARNESS_PYTHON": str(folder / "python")}

    def run(self, number: int) -> str:
        """Run a block, and those before it that need and cost no more; return what it printed."""
        last = self.blocks[number]
        for each, block in enumerate(self.blocks[: number + 1]):
            needs, there = (one.notes.get("needs", "").split() for one in (block, last))
            fits = set(needs) <= set(there)
            fits &= "slow" not in block.notes or "slow" in last.notes
            if each not in self.printed and fits:
                self.printed[each] = ""  # once, also if it fails
                for place, words in block.given.items():
                    given.put(self.folder / place, words, self.store)
                if block.is_run:
                    ran = self._bash if block.language == "bash" else self._python
                    status, self.printed[each] = ran(block)
                    assert status in (0, may_end(block)), (
                        f"{block.name} ended with {status}:\n{block.text}\n{self.printed[each]}"
                    )
        return self.printed[number]

    def _bash(self, block: Block) -> tuple[int, str]:
        script = _SHELL.format(state=self.state, text=block.text, status=may_end(block))
        done = subprocess.run(
            ["/bin/bash", "-c", script], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _python(self, block: Block) -> tuple[int, str]:
        if self.python is None:
            wanted = any(each.notes.get("needs") == "espnet" for each in self.blocks)
            kind = "espnet" if wanted and importlib.util.find_spec("espnet2") else "python"
            self.python = subprocess.Popen(
                [warm.python(kind), "-c", _PYTHON], cwd=self.folder, env=self.environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert self.python.stdin is not None
        assert self.python.stdout is not None
        self.python.stdin.write(json.dumps([block.name, block.text]) + "\n")
        self.python.stdin.flush()
        lines = list[str]()
        for line in self.python.stdout:
            if line.startswith(_END):
                return int(line.split()[-1]), "".join(lines)
            lines.append(line)
        return -1, "".join(lines)

    def end(self) -> None:
        """End the page's Python."""
        if self.python is not None:
            with contextlib.suppress(OSError):
                self.python.communicate(timeout=10)
