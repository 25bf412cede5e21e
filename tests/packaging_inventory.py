"""Print as JSON what an installation of harness_bench finds; run in two of them and compared."""

import json
from collections.abc import Mapping

import harness_bench
from harness_bench import corpora
from harness_bench.asr.config import REPOSITORY
from harness_bench.core.registry import package_folder
from harness_bench.corpora import presets
from harness_bench.models import hub as model_hub
from harness_bench.pretrain.config import load_preset, preset_names
from harness_bench.probing.s3prl import arguments, hub
from harness_bench.scoring.registry import metric_names, profile_names
from harness_bench.study.opened import DEMO, FAMILIES, open_study


def inventory() -> Mapping[str, list[str]]:
    """List every kind of plugin and of data file that the project finds at run time."""
    board = package_folder("harness_bench.leaderboard")
    return {
        "corpora": [corpora.get(name).__module__ for name in corpora.available()],
        "datasets": [presets.get(name).title for name in presets.available()],
        "upstreams": hub.own_names(),
        "named models": model_hub.names(),
        "tasks": arguments.tasks(),
        "task configs": [arguments.packaged_config(name).name for name in arguments.tasks()],
        "metrics": metric_names(),
        "profiles": profile_names(),
        "presets": [load_preset(name).name for name in preset_names()],
        "templates": sorted(
            path.name for path in board.glob("page/page*.*") if path.suffix != ".py"
        ),
        "reported": sorted(path.name for path in board.glob("results/paper/*.json")),
        "recipes": sorted(
            str(path.relative_to(REPOSITORY))
            for path in REPOSITORY.glob("egs/*/asr1/**/*")
            if path.is_file()
        ),
        "demo files": [
            open_study(None).config.name,
            *sorted(
                path.name for folder in (FAMILIES, DEMO.parent) for path in folder.glob("*.toml")
            ),
        ],
    }


if __name__ == "__main__":
    print(json.dumps({"from": [harness_bench.__file__], **inventory()}))  # noqa: T201
