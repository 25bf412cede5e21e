"""The import hook that lets an unchanged s3prl see this project's upstreams and tasks.

`activate()` costs nothing until s3prl is imported. Then `s3prl.hub` is our lazy hub,
`s3prl.downstream.X` is our package of that name where there is one, the bridges are applied before
s3prl's runner is imported, and the runner resumes exactly (see `resume`) and can take the plain
mean of the layers (see `layers`).
"""

import importlib
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import override

HUB, TASKS = "harness_bench.probing.s3prl.hub", "harness_bench.downstream"
COMMAND, SCRIPT = "s3prl.run_downstream", "run_downstream.py"
RUNNER = "s3prl.downstream.runner"


def activate() -> None:
    """Put the hook in front of Python's import path; a second call does nothing."""
    if not any(isinstance(finder, S3prlFinder) for finder in sys.meta_path):
        # First, because s3prl's own files would otherwise win. Extending
        # `s3prl.downstream.__path__` instead is lost in spawned DataLoader workers.
        sys.meta_path.insert(0, S3prlFinder())
        # s3prl's runner warns at its first step, in what is shown of a head's log.
        warnings.filterwarnings("ignore", r".*torch\.cuda\.amp\.autocast", FutureWarning)


def complete_script() -> None:
    """Do for `python3 run_downstream.py` in a checkout what the finder does for `python -m`."""
    script = Path(getattr(sys, "argv", [""])[0])
    if script.name == SCRIPT and (script.resolve().parent / "downstream" / "runner.py").is_file():
        from harness_bench.probing.s3prl import arguments, bridges  # noqa: PLC0415 - heavy

        arguments.complete_command()
        bridges.apply()


class S3prlFinder(MetaPathFinder):
    """Answers for the names of s3prl that this project replaces; leaves all others alone."""

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("s3prl."):
            return None
        if fullname == COMMAND:
            from harness_bench.probing.s3prl import arguments, bridges  # noqa: PLC0415 - heavy

            # Python looks for the module of `python -m MODULE` while sys.argv[0] is still "-m".
            if sys.argv[0] == "-m":
                arguments.complete_command()
            bridges.apply()  # without which the command cannot be imported
        if fullname == RUNNER:
            spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.origin is not None:
                spec.loader = _RunnerLoader(fullname, spec.origin)
            return spec
        if (real := real_name(fullname)) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, _Alias(real), origin=real)


class _Alias(Loader):
    """Gives an imported module a second name."""

    def __init__(self, real: str) -> None:
        self.real = real

    @override
    def exec_module(self, module: ModuleType) -> None:
        # The import system returns what is in sys.modules afterwards: one module, two names.
        # Returning it from create_module instead would overwrite its __spec__.
        sys.modules[module.__name__] = importlib.import_module(self.real)


def real_name(fullname: str) -> str | None:
    """Return our module that serves a name of s3prl's, or None where s3prl's own does."""
    if fullname == "s3prl.hub":
        return HUB
    # s3prl.downstream itself stays: its other tasks are found through it.
    parent, _, rest = fullname.partition("s3prl.downstream.")
    if parent or not rest:
        return None
    real = f"{TASKS}.{rest}"
    try:
        return real if importlib.util.find_spec(real) else None
    except ModuleNotFoundError:  # a parent package of it is not ours
        return None


class _RunnerLoader(importlib.machinery.SourceFileLoader):
    """Imports s3prl's runner, with the bridges that must precede and follow it."""

    @override
    def exec_module(self, module: ModuleType) -> None:
        from harness_bench.probing.s3prl import bridges  # noqa: PLC0415 - imports torch

        bridges.apply()
        super().exec_module(module)
        from harness_bench.probing.s3prl.frames import tell_shape  # noqa: PLC0415 - imports torch
        from harness_bench.probing.s3prl.layers import choose_layers  # noqa: PLC0415 - for it alone
        from harness_bench.probing.s3prl.resume import make_exact  # noqa: PLC0415 - imports torch

        bridges.plain_ddp(module)
        choose_layers(module)
        tell_shape(module)
        make_exact(module)
