"""Activate the s3prl hook when Python starts, then run the sitecustomize this one hides."""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

from harness_bench.probing.s3prl.hook import activate, complete_script


def run_hidden() -> None:
    """Run the next sitecustomize on the path: a system's own settings must not get lost."""
    here = Path(__file__).parent
    others = [entry for entry in sys.path if Path(entry).resolve() != here.resolve()]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


activate()
run_hidden()
complete_script()
