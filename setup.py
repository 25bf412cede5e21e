"""Ship the plugin folders that stand beside the package inside it, and a README for PyPI.

``upstream/`` becomes ``harness_bench.upstream`` and so on: as top-level packages they would
collide with other distributions (a PyPI package named ``downstream`` exists, for one). The
paper's configs stand in their recipe's ``conf/`` and go along as ``harness_bench.pretrain.paper``,
the demo's study as ``harness_bench.study.shipped``, the recipes of ASR with the places that they
have in the repository below ``harness_bench.asr.shipped``.
Everything else is in pyproject.toml.
"""

import re
import tomllib
from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

ROOT = Path(__file__).parent
FOLDERS = ("upstream", "downstream", "leaderboard")
PRESETS = {
    "harness_bench.pretrain.paper": "egs/harness/pretrain1/conf",
    "harness_bench.study.shipped": "egs/demo",
}
RECIPES = {
    f"harness_bench.asr.shipped.{folder.replace('/', '.')}": folder
    for folder in (
        "egs",  # python.sh, which every run.sh reads
        "egs/demo/asr1", "egs/demo/asr1/conf",
        "egs/qasr/asr1", "egs/qasr/asr1/conf", "egs/qasr/asr1/local",
    )
}  # fmt: skip
# [words](place), with a ! before a picture, whose place is a path of the repository.
RELATIVE = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)")


def readme() -> str:
    """Return README.md as PyPI can show it: with links to the repository, or without any."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = project.get("urls", {}).get("Source", "").rstrip("/")

    def place(found: re.Match[str]) -> str:
        picture, words, path = found.groups()
        if source:
            return f"{picture}[{words}]({source}/{'raw' if picture else 'blob'}/main/{path})"
        return "" if picture else words

    return RELATIVE.sub(place, (ROOT / "README.md").read_text(encoding="utf-8"))


setup(
    packages=[
        *find_packages(include=["harness_bench*"]),
        *find_namespace_packages(include=["harness_bench.models.box*"]),  # folders of files alone
        *PRESETS,
        *RECIPES,
        *(f"harness_bench.{name}" for name in find_packages(include=[f"{f}*" for f in FOLDERS])),
    ],
    package_dir={f"harness_bench.{folder}": folder for folder in FOLDERS} | PRESETS | RECIPES,
    long_description=readme(),
    long_description_content_type="text/markdown",
)
