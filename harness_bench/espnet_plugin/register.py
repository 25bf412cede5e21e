"""Make ESPnet know the frontend `harness`."""

from __future__ import annotations

import importlib
import importlib.util

# espnet3 keeps its own copy of espnet2's table of frontends.
_TASKS = ("espnet2.tasks.asr", "espnet3.systems.esp2_asr.task")
NAME = "harness"


def register() -> None:
    """Add the frontend to every ASR task of the installed ESPnet; repeating it is harmless."""
    from harness_bench.espnet_plugin.frontend import HarnessFrontend  # noqa: PLC0415 - heavy

    for task in _TASKS:
        if importlib.util.find_spec(task.partition(".")[0]) is not None:
            importlib.import_module(task).frontend_choices.classes[NAME] = HarnessFrontend
