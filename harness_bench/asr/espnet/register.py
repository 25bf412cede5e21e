"""Make ESPnet know the frontend `harness` and the data type `harness_features`."""

import importlib
import sys

from harness_bench.core.extras import is_installed, require

# espnet3 keeps its own copy of espnet2's table of frontends.
_TASKS = ("espnet2.tasks.asr", "espnet3.systems.esp2_asr.task")
NAME = "harness"
_HELP = """Features of a frozen checkpoint, by harness_bench.asr.features

   utterance_id_a feats-00000.npy 0 523
   utterance_id_b feats-00000.npy 527 88
   ...  (shard, first row, frames)"""


def register_if_used() -> None:
    """Register if an ASR task is imported: a task takes seconds, and most programs need none.

    asr.sh starts ESPnet's tokeniser six times for each test set.
    """
    if sys.modules.keys() & {*_TASKS}:
        register()


def register() -> None:
    """Add the frontend to every ASR task of the installed ESPnet, and the type of cached features.

    Repeating it is harmless. A DataLoader's workers need no entry: they get the open reader.
    ESPnet not being installed is a `ValueError` that says how to install it.
    """
    require("espnet2")
    from espnet2.train.dataset import DATA_TYPES  # noqa: PLC0415 - heavy

    from harness_bench.asr.espnet.frontend import HarnessFrontend  # noqa: PLC0415 - heavy
    from harness_bench.models.features.shards import DATA_TYPE, FeatureReader  # noqa: PLC0415

    # espnet3 has no such table: a dataset there is a class, which can hold a FeatureReader.
    DATA_TYPES[DATA_TYPE] = {"func": FeatureReader, "kwargs": [], "help": _HELP}

    for task in _TASKS:
        if is_installed(task.partition(".")[0]):
            importlib.import_module(task).frontend_choices.classes[NAME] = HarnessFrontend
