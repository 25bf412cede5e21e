"""A checkout of s3prl, and our folders copied into it as docs/s3prl.md says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness_bench.probing.s3prl import autoload
from harness_bench.probing.s3prl.hub import s3prl_folder
from tests.probing.conftest import Python

pytestmark = [pytest.mark.s3prl, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
# s3prl's own command on today's libraries, without our import hook.
STOCK = """
import runpy
from harness_bench.probing.s3prl import bridges
bridges.apply()
runpy.run_module("s3prl.run_downstream", run_name="__main__")
"""


def lines_of_the_page() -> list[str]:
    """Return the commands of the page that change a checkout."""
    page = (ROOT / "docs" / "s3prl.md").read_text(encoding="utf-8")
    section = page.split("## With a checkout of s3prl")[1].split("\n## ")[0]
    return re.findall(r"^(?:cp|sed|echo) .*S3PRL.*$", section, flags=re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of s3prl with our folders in it, made by the page's own commands."""
    place = tmp_path / "checkout"
    shutil.copytree(s3prl_folder(), place / "s3prl", ignore=shutil.ignore_patterns("__pycache__"))
    commands = lines_of_the_page()
    assert len(commands) == 4
    script = "\n".join(["set -e", *commands]).replace("S3PRL", str(place))
    bash = shutil.which("bash")
    assert bash
    subprocess.run([bash, "-c", script], cwd=ROOT, check=True)
    return place


def test_four_ways_give_equal_figures(
    checkout: Path, tmp_path: Path, tone_corpus: Path, tiny_checkpoint: Path, python: Python
) -> None:
    """Our names on a checkout by our command and by its script, copies by ours and s3prl's own."""
    override = (
        f"config.downstream_expert.datarc.cuts={tone_corpus},,config.runner.total_steps=4,,"
        "config.runner.eval_step=2"
    )
    config = checkout / "s3prl" / "downstream" / "my_ser" / "config.yaml"
    script = str(checkout / "s3prl" / "run_downstream.py")
    copies = ("-u", "my_harness_local", "-d", "my_ser", "-c", str(config), "--device", "cpu")
    ways = {
        "ours": ("-m", "harness_bench.run_downstream", "-u", "harness_local", "-d", "ser"),
        "script": (script, "-u", "harness_local", "-d", "ser"),
        "copies": ("-m", "harness_bench.run_downstream", *copies),
        "stock": ("-c", STOCK, *copies),
    }
    found = {}
    for name, words in ways.items():
        folder = tmp_path / name
        further = ("-m", "train", "-k", str(tiny_checkpoint), "-p", str(folder), "-o", override)
        first = f"{autoload.__path__[0]}:" if name == "script" else ""
        python(*words, *further, PYTHONPATH=f"{first}{checkout}")
        found[name] = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert found["ours"] == found["script"]
    assert found["ours"].replace('"ser"', "") == found["copies"].replace('"my_ser"', "")
    assert found["copies"] == found["stock"]
    assert found["stock"].count("\n") >= 2


def test_the_checkout_is_the_s3prl_that_runs(checkout: Path, python: Python) -> None:
    """Not the one that pip put beside us; and the copies are what its names mean."""
    code = (
        "from harness_bench.probing.s3prl.hook import activate; activate()\n"
        "import s3prl.downstream.runner as runner, s3prl.downstream.my_ser.expert as task\n"
        "import s3prl.hub as hub\n"
        "print(runner.__file__, task.__file__, hub.my_harness_local.__code__.co_filename)"
    )
    for path in python("-c", code, PYTHONPATH=str(checkout)).split()[-3:]:
        assert Path(path).is_relative_to(checkout)
