"""The command line of run_downstream: completed where s3prl stumbles, refused where it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.s3prl_plugin import arguments

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = ["-m", "train", "-u", "fbank", "-d", "ser", "-p", "run"]


@pytest.fixture(autouse=True)
def _no_gpu_no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "_has_gpu", lambda: False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


def after(words: list[str], flag: str) -> str:
    """Return what follows the last `flag`, which is what argparse takes."""
    return words[len(words) - words[::-1].index(flag)]


@pytest.mark.parametrize("task", arguments.tasks())
def test_packaged_config_is_added_once(task: str, tmp_path: Path) -> None:
    """s3prl looks for ./downstream/TASK/config.yaml in whatever folder one stands in."""
    words = ["-m", "train", "-u", "fbank", "-d", task]
    assert after(arguments.complete(words), "-c") == str(arguments.packaged_config(task))
    own = tmp_path / "own.yaml"
    own.touch()
    assert after(arguments.complete([*words, "-c", str(own)]), "-c") == str(own)


def test_a_past_run_brings_its_own_config(tmp_path: Path) -> None:
    """With -e s3prl takes the config of the checkpoint."""
    assert "-c" not in arguments.complete(["-m", "evaluate", "-d", "ser", "-e", str(tmp_path)])


def test_device_falls_back_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """s3prl's default is cuda; with a GPU nothing may change."""
    assert after(arguments.complete(TRAIN), "--device") == "cpu"
    assert after(arguments.complete([*TRAIN, "--device", "cuda"]), "--device") == "cpu"
    monkeypatch.setattr(arguments, "_has_gpu", lambda: True)
    assert "--device" not in arguments.complete(TRAIN)


def test_local_rank_of_new_and_old_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old launcher writes a dash, which s3prl refuses; torchrun sets the environment alone."""
    assert "--local_rank=1" in arguments.complete([*TRAIN, "--local-rank=1"])
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert after(arguments.complete(TRAIN), "--local_rank") == "3"
    assert "3" not in arguments.complete([*TRAIN, "--local_rank", "1"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-u", "harnes_local"], r"no upstream \(-u\) 'harnes_local'; did you mean harness_local"),
        (["-u", "fbank", "-d", "sre"], r"no task \(-d\) 'sre'; did you mean ser"),
        (["-u", "harness_local", "-d", "ser"], "give it with -k"),
        (["-u", "harness_local", "-d", "ser", "-k", "/nowhere"], "/nowhere is not a checkpoint"),
        (["-c", "/nowhere.yaml"], r"-c /nowhere\.yaml: there is no such file"),
        (["-o", "config.a=1,,config.b=x=y"], "exactly one '='"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    """Each would otherwise end in a traceback from inside s3prl after its imports."""
    with pytest.raises(ValueError, match=message):
        arguments.complete(words)
