"""What an absent extra gives: one sentence with the command, before anything is written."""

from __future__ import annotations

import re
import sys
from importlib.metadata import metadata
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from harness_bench.asr.transcribe.pack import MODEL, open_model
from harness_bench.cli.doctor import diagnose
from harness_bench.core import extras
from harness_bench.core.extras import OPTIONAL, MissingLibraryError, explain, is_installed
from harness_bench.demo.plan import DemoCorpusConfig
from harness_bench.demo.synth import make_demo_task
from harness_bench.models.runtime import open_session
from harness_bench.probing.s3prl.predict import open_runner
from tests import warm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def trained_asr(folder: Path) -> Path:
    """Write what ESPnet's training leaves, as far as it is read before ESPnet is needed."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"token_list": ["a"]}))
    torch.save({}, folder / MODEL)
    return folder


# module -> what a user calls
CALLS: dict[str, Callable[[Path], Any]] = {
    "s3prl": lambda folder: open_runner(folder / "head.ckpt", folder, None),
    "espnet2": lambda folder: open_model(trained_asr(folder / "asr")),
    "espeakng_loader": lambda folder: make_demo_task(folder / "ser", "ser", DemoCorpusConfig()),
    "onnxruntime": lambda folder: open_session(folder / "model.onnx"),
}


@pytest.mark.parametrize("module", sorted(CALLS))
def test_an_absent_library_is_told_with_its_command(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `ValueError` it is one line of the command line, as `ImportError` what Python expects."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingLibraryError, match=re.escape(OPTIONAL[module].command)) as told:
        CALLS[module](tmp_path)
    assert isinstance(told.value, ValueError)
    assert (told.value.name, str(told.value).count("\n")) == (module, 0)


# (module, what is run where no optional library is installed, and asks for this one)
COMMANDS = (
    ("s3prl", "harness_bench.run_downstream -m train -u fbank -d ser"),
    ("s3prl", "harness_bench.cli probe -u fbank_cached -d did --cuts . --out out"),
    ("espnet2", "harness_bench.asr.espnet.run -m espnet2.bin.asr_train --config train.yaml"),
    ("onnx", "harness_bench.cli export harness_mini out --to onnx-int8"),
)


@pytest.mark.parametrize(("module", "command"), COMMANDS)
def test_a_command_ends_with_the_sentence_alone(module: str, command: str, tmp_path: Path) -> None:
    program, *words = command.split()
    code = (
        f"import runpy, sys\nsys.modules |= dict.fromkeys({[*OPTIONAL]})\n"
        f"sys.argv[1:] = {words!r}\n"
        f"runpy.run_module({program!r}, run_name='__main__', alter_sys=True)"
    )
    done = warm.run(["-c", code], cwd=tmp_path)
    assert done.returncode, done.stdout
    assert OPTIONAL[module].command in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_absent_library_of_the_core_is_told_too() -> None:
    """Whoever scores only may leave torch out; a fault inside a library keeps its traceback."""
    assert "pip install harness-ssl-bench" in str(explain(ModuleNotFoundError(name="torch.nn")))
    assert "scikit-learn" in str(explain(ModuleNotFoundError(name="sklearn")))
    assert OPTIONAL["wandb"].command in str(explain(ModuleNotFoundError(name="wandb")))
    assert explain(ModuleNotFoundError(name="harness_bench.absent")) is None
    for name in ("nltk", "sentencepiece"):  # of ESPnet: the core does not bring it
        assert explain(ModuleNotFoundError(name=name)) is None
    assert explain(ModuleNotFoundError()) is None


def test_a_checkout_that_is_not_installed_knows_no_requirements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extras, "PACKAGE", "no-such-distribution")
    assert explain(ModuleNotFoundError(name="torch")) is None


def test_the_doctor_takes_a_library_of_another_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as onnxruntime-gpu, or the original s3prl, whose clash the next line tells."""
    library = OPTIONAL["onnxruntime"]._replace(distribution="no-such-distribution")
    monkeypatch.setitem(OPTIONAL, "onnxruntime", library)
    (found,) = (each for each in diagnose() if each.name == "no-such-distribution")
    assert found.verdict == ("ok" if is_installed("onnxruntime") else "missing")


def test_the_doctor_parts_what_is_not_installed_from_what_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment for scores alone is whole; a library that cannot be imported is not."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "jiwer", raising=False)
    (tmp_path / "jiwer.py").write_text('raise OSError("libx.so:\\n cannot open")')
    monkeypatch.syspath_prepend(tmp_path)
    found = {each.name: each for each in diagnose()}
    absent, broken = found["transformers"], found["jiwer"]
    assert absent.verdict == "missing"
    assert all(part in absent.detail for part in ("probes", "pip install harness-ssl-bench"))
    assert broken.verdict == "broken"
    assert "OSError: libx.so: cannot open" in broken.detail
    assert found["numpy"].verdict == "ok"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert {each.verdict for each in diagnose() if each.name in {"torch", "device"}} == {"missing"}


def test_extras_are_those_of_the_package() -> None:
    """Pip only warns of an extra that it does not know, and installs nothing of it."""
    told = {each.extra for each in OPTIONAL.values()} - {None}
    assert told == set(metadata("harness-ssl-bench").get_all("Provides-Extra") or ())
