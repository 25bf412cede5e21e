"""Run a notebook in a fresh folder and keep its outputs in it: `make notebook`.

What goes to standard error, progress and log lines, is left out: it differs from run to run. The
digest of the code is kept beside the outputs, so that a test sees outputs of other code.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

KEPT = "executed_code"  # in the notebook's metadata


def code_digest(notebook: Any) -> str:
    """Return the digest of all code cells."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\0\n".join(code).encode()).hexdigest()


def execute(notebook: Any, folder: Path) -> None:
    """Run all cells in a kernel that works in `folder`; the first error is raised."""
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=resources, record_timing=False
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    notebook.metadata[KEPT] = code_digest(notebook)
    notebook.metadata.pop("language_info", None)  # the version of whoever ran it


def main() -> None:
    """Execute the notebooks that are named, in place."""
    for path in map(Path, sys.argv[1:]):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
