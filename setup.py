"""Ship the plugin folders that stand beside the package inside it.

``upstream/`` becomes ``harness_bench.upstream`` and so on: as top-level packages they would
collide with other distributions (a PyPI package named ``downstream`` exists, for one). The
paper's configs stand in their recipe's ``conf/`` and go along as ``harness_bench.pretrain.paper``,
the demo's study as ``harness_bench.study.shipped``.
Everything else is in pyproject.toml.
"""

from setuptools import find_packages, setup

FOLDERS = ("upstream", "downstream", "leaderboard")
PRESETS = {
    "harness_bench.pretrain.paper": "egs/harness/pretrain1/conf",
    "harness_bench.study.shipped": "egs/demo",
}

setup(
    packages=[
        *find_packages(include=["harness_bench*"]),
        *PRESETS,
        *(f"harness_bench.{name}" for name in find_packages(include=[f"{f}*" for f in FOLDERS])),
    ],
    package_dir={f"harness_bench.{folder}": folder for folder in FOLDERS} | PRESETS,
)
