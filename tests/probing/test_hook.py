"""The import hook: s3prl sees our names under its own, and nothing else changes."""

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest

from harness_bench.probing.s3prl import autoload, hub
from harness_bench.probing.s3prl.arguments import tasks
from harness_bench.probing.s3prl.hook import S3prlFinder, activate, real_name
from tests.probing.conftest import Python

pytestmark = pytest.mark.s3prl
STOCK_NAMES = """
import json
from harness_bench.probing.s3prl.bridges import hub_names
hub_names()  # without it some stock hubconf files cannot be imported
import s3prl.hub
print(json.dumps([s3prl.hub.__file__, s3prl.hub.options(), s3prl.hub.options(True)]))
"""
START = """
import json, sys
from harness_bench.probing.s3prl.hook import activate
activate()
light = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "numpy", "s3prl"})
import s3prl.hub, s3prl.run_downstream, s3prl.downstream.ser.expert
s3prl.hub.harness_local("CHECKPOINT"), s3prl.hub.fbank()
print(json.dumps([light, "transformers" in sys.modules, "sklearn" in sys.modules]))
"""


def test_activating_twice_adds_one_finder_in_front() -> None:
    """Behind the standard finder s3prl's own hub would be found first."""
    activate()
    activate()
    # A library imported later (one of ESPnet's) may put a finder of its own names before all.
    finders = [finder for finder in sys.meta_path if isinstance(finder, S3prlFinder)]
    assert len(finders) == 1
    assert sys.meta_path.index(finders[0]) < sys.meta_path.index(PathFinder)


@pytest.mark.parametrize("task", tasks())
def test_task_is_one_module_under_two_names(task: str) -> None:
    """Two copies would have two classes, and pickled objects of one would not fit the other."""
    activate()
    alias = importlib.import_module(f"s3prl.downstream.{task}.expert")
    real = importlib.import_module(f"harness_bench.downstream.{task}.expert")
    assert alias is real
    assert real.__spec__ is not None
    assert real.__spec__.name == f"harness_bench.downstream.{task}.expert"


def test_other_names_are_left_alone() -> None:
    """s3prl's own tasks must stay reachable, and s3prl.downstream be s3prl's."""
    left = ("s3prl", "s3prl.downstream", "s3prl.downstream.emotion", "s3prl.downstream.nothing.x")
    assert [real_name(name) for name in left] == [None] * 4
    assert real_name("s3prl.hub") == hub.__name__
    assert real_name("other.s3prl.downstream.ser") is None


def test_hub_has_the_stock_names_and_ours(printed_json: Callable[[str], Any]) -> None:
    """The lazy hub reads names without importing; the stock hub, imported, is the oracle."""
    file, stock, registered = printed_json(STOCK_NAMES)
    assert file.endswith("s3prl/hub.py")
    assert set(hub.options()) == set(stock) | set(hub.own_names())
    ours = {name for name in hub.own_names() if not name.endswith("_local")}
    assert set(hub.options(only_registered_ckpt=True)) == set(registered) | ours
    # Names of both are s3prl's own models; ours opens them where -k gives a local copy.
    shared = {hub.index()[name] for name in set(stock) & set(hub.own_names())}
    assert shared <= {"harness_bench.upstream.published.hubconf"}
    with pytest.raises(AttributeError, match="did you mean hubert_local"):
        _ = hub.hubert_locale


def test_start_is_light(printed_json: Callable[[str], Any], tiny_checkpoint: Path) -> None:
    """Each probe pays for its imports: activating costs none, running neither of the two."""
    found = printed_json(START.replace("CHECKPOINT", str(tiny_checkpoint)))
    assert found == [[], False, False]


def test_literal_s3prl_command_trains(python: Python, tone_corpus: Path, tmp_path: Path) -> None:
    """With the autoload folder on PYTHONPATH, s3prl's documented command works as it stands."""
    data = f"config.downstream_expert.datarc.cuts={tone_corpus}"
    steps = "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.log_step=2"
    python(
        "-m", "s3prl.run_downstream", "-m", "train", "-u", "fbank", "-d", "keyword",
        "-p", str(tmp_path / "run"), "-o", f"{data},,{steps}",
        PYTHONPATH=next(iter(autoload.__path__)),
    )  # fmt: skip
    assert (tmp_path / "run" / "dev-best.ckpt").is_file()
    assert (tmp_path / "run" / "predictions.dev.jsonl").is_file()


def test_autoload_runs_the_sitecustomize_it_hides(python: Python, tmp_path: Path) -> None:
    """A cluster's own settings must not vanish because ours stands first on the path."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.hidden_one_ran = True\n")
    path = f"{next(iter(autoload.__path__))}:{tmp_path}"
    code = "import sys; print(sys.hidden_one_ran, type(sys.meta_path[0]).__name__)"
    assert python("-c", code, PYTHONPATH=path).split() == ["True", "S3prlFinder"]
