"""The command line of run_downstream: completed where s3prl stumbles, refused where it is wrong."""

from pathlib import Path
from typing import Any

import pytest

from harness_bench.probing.s3prl import arguments
from harness_bench.probing.s3prl.arguments import make_parser
from tests.probing.test_checkpoints import RUN, make_checkpoint

TRAIN = [*RUN, "-p", "run"]
TEST = ["-m", "evaluate", "-d", "ser"]


@pytest.fixture(autouse=True)
def _no_gpu_no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "_has_gpu", lambda: False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("RANK", raising=False)


def completed(*words: str) -> dict[str, Any]:
    """Return what s3prl's parser makes of the completed words."""
    return vars(make_parser().parse_args(arguments.complete(words)))


@pytest.mark.parametrize("task", arguments.tasks())
def test_packaged_config_is_added_once(task: str, tmp_path: Path) -> None:
    """s3prl looks for ./downstream/TASK/config.yaml in whatever folder one stands in."""
    words = ["-m", "train", "-u", "fbank", "-d", task]
    assert completed(*words)["config"] == str(arguments.packaged_config(task))
    own = tmp_path / "own.yaml"
    own.touch()
    assert completed(*words, "-c", str(own))["config"] == str(own)


@pytest.mark.parametrize("resume", [["-e", "FOLDER"], ["-a", "-p", "FOLDER"]])
def test_resuming_passes_over_a_broken_checkpoint(
    resume: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """s3prl would take the newest and fail, at every start anew; the config is the checkpoint's."""
    whole, broken = make_checkpoint(tmp_path, 4), make_checkpoint(tmp_path, 10)
    broken.write_bytes(broken.read_bytes()[:-50])
    words = [word.replace("FOLDER", str(tmp_path)) for word in resume]
    known = completed("-m", "train", *words)
    assert (known["past_exp"], known["auto_resume"]) == (str(whole), False)
    assert known["config"] is None
    assert capsys.readouterr().err.count(f"{broken} is broken") == 1


def test_auto_resume_starts_where_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command line is given to a cluster for the first and every later start.

    -n means result/downstream/NAME of the folder one stands in.
    """
    assert completed(*TRAIN, "-a", "-p", str(tmp_path))["past_exp"] is None
    make_checkpoint(tmp_path, 1).write_bytes(b"")
    known = completed(*TRAIN, "-a", "-p", str(tmp_path))
    assert (known["past_exp"], known["auto_resume"]) == (None, False)
    assert known["config"] is not None
    folder = tmp_path / "result" / "downstream" / "name"
    folder.mkdir(parents=True)
    made = make_checkpoint(folder, 3)
    monkeypatch.chdir(tmp_path)
    assert completed(*TRAIN[:-2], "-a", "-n", "name")["past_exp"] == str(made.relative_to(tmp_path))


def test_device_falls_back_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """s3prl's default is cuda; with a GPU nothing may change."""
    assert completed(*TRAIN)["device"] == "cpu"
    assert completed(*TRAIN, "--device", "cuda:1")["device"] == "cpu"
    monkeypatch.setattr(arguments, "_has_gpu", lambda: True)
    assert completed(*TRAIN)["device"] == "cuda"


def test_local_rank_of_new_and_old_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old launcher writes a dash, which s3prl refuses; torchrun sets the environment alone."""
    assert completed(*TRAIN)["local_rank"] is None
    assert completed(*TRAIN, "--local-rank=1")["local_rank"] == 1
    monkeypatch.setenv("LOCAL_RANK", "3")
    known = completed(*TRAIN)
    assert (known["local_rank"], known["backend"]) == (3, "gloo")
    assert completed(*TRAIN, "--local_rank", "1")["local_rank"] == 1
    monkeypatch.setattr(arguments, "_has_gpu", lambda: True)
    assert completed(*TRAIN)["backend"] == "nccl"


def test_only_training_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process would test every utterance and append the same lines to the same files."""
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("RANK", "0")
    assert completed(*TEST)["local_rank"] is None
    monkeypatch.setenv("RANK", "8")  # the first process of another machine
    with pytest.raises(SystemExit) as end:
        completed(*TEST)
    assert end.value.code is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-u", "harnes_local"], r"no upstream \(-u\) 'harnes_local'; did you mean harness_local"),
        (["-u", "fbank", "-d", "sre"], r"no task \(-d\) 'sre'; did you mean ser"),
        (["-u", "harness_local", "-d", "ser"], "give it with -k"),
        (["-u", "harness_local", "-d", "ser", "-k", "/nowhere"], "-k /nowhere: there is no such"),
        (["-c", "/nowhere.yaml"], r"-c /nowhere\.yaml: there is no such file"),
        (["-p", "/proc/none"], "-p /proc/none cannot be written"),
        (["-o", "config.a=1,,config.b=x=y"], "exactly one '='"),
        (["--hub", "huggingface"], "hf upload"),
        (["--push_to_hf_hub", "True"], "hf upload"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    """Each would otherwise end in a traceback from inside s3prl, some after training."""
    with pytest.raises(ValueError, match=message):
        arguments.complete(["-m", "train", *words])


def test_unknown_flags_are_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """s3prl says so after 15 seconds of imports."""
    with pytest.raises(SystemExit) as end:
        arguments.complete([*TRAIN, "--upstream_layer", "1", "--sed", "3"])
    assert end.value.code == 2
    assert "--sed" in capsys.readouterr().err
