"""Taking up a past run: its own settings and upstream, or a refusal that names what differs."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from harness_bench.cuts.store import cuts_path
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.probing.s3prl import arguments
from harness_bench.probing.s3prl.arguments import make_parser, packaged_config
from harness_bench.probing.s3prl.past import DATA, KEY, UPSTREAM, cuts_of, upstream_of
from tests.probing.test_checkpoints import RUN, make_checkpoint

pytestmark = pytest.mark.s3prl


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "_has_gpu", lambda: False)


def completed(*words: object) -> dict[str, Any]:
    return vars(make_parser().parse_args(arguments.complete([*map(str, words)])))


def put(folder: Path, *words: object, **more: Any) -> Path:
    """Write the checkpoint of a run of ours, which says its upstream."""
    folder.mkdir(exist_ok=True)
    given = make_parser().parse_args([*RUN, *map(str, words)])
    part = {UPSTREAM: upstream_of(given)}
    return make_checkpoint(folder, 4, *map(str, words), **{KEY: part}, **more)


@pytest.fixture
def other(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Return a checkpoint of the tiny one's shape with other weights."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    weights = {name: value + 1 for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    return folder


def test_the_same_command_goes_on(tmp_path: Path) -> None:
    """Also where -u and -d are left out; nothing is overridden, so nothing is changed."""
    made = put(tmp_path / "run")
    for words in (RUN, RUN[:2]):
        found = completed(*words, "-a", "-p", tmp_path / "run")
        assert (found["past_exp"], found["override"]) == (str(made), None)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["-u", "fbank_cached"], ["args.upstream"]),
        (["-d", "did"], ["args.downstream", "config.downstream_expert.datarc.label_field"]),
        (["--seed", "5", "-f"], ["args.seed", "args.upstream_trainable"]),
        (["-l", "0"], ["args.upstream_layer_selection"]),
        (["-o", "config.optimizer.lr=0.5"], ["config.optimizer.lr"]),
        (["-o", "config.runner.gradient_accumulate_steps=7"], ["gradient_accumulate_steps"]),
        (["-o", "config.downstream_expert.modelrc.hidden=7"], ["modelrc.hidden"]),
        (["-o", "args.seed=7"], ["args.seed"]),
    ],
)
@pytest.mark.parametrize("resume", ["-a", "-e"])
def test_other_settings_are_refused_by_name(
    words: list[str], names: list[str], resume: str, tmp_path: Path
) -> None:
    """s3prl takes the old ones without a word; it saves a new learning rate and trains the old."""
    made = put(tmp_path)
    asked = [*RUN, "-a", "-p", tmp_path] if resume == "-a" else [*RUN[:2], "-e", made]
    with pytest.raises(ValueError, match="other settings") as refused:
        completed(*asked, *words)
    shown = names if resume == "-a" else names[:1]  # -e takes the task's settings from the run
    assert all(name in str(refused.value) for name in shown)


def test_length_and_pace_may_change_and_do(tmp_path: Path) -> None:
    """s3prl reads no file of settings where it resumes: a new total_steps in it was lost."""
    put(tmp_path)
    settings = yaml.safe_load(packaged_config("ser").read_text())
    settings["runner"] |= {"total_steps": 77, "eval_step": 7}
    settings["downstream_expert"]["datarc"]["num_workers"] = 1
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(settings))
    found = completed(*RUN, "-a", "-p", tmp_path, "-c", tmp_path / "own.yaml")
    assert set(found["override"].split(",,")) == {
        "config.runner.total_steps=77", "config.runner.eval_step=7",
        "config.downstream_expert.datarc.num_workers=1",
    }  # fmt: skip
    kept = completed(*RUN, "-a", "-p", tmp_path, "-o", "config.runner.total_steps=88")
    assert kept["override"] == "config.runner.total_steps=88"
    # The settings of the first start were given by -o alone, and are given so again.
    settings["runner"]["total_steps"] = 5
    put(tmp_path, Config=settings)
    kept = completed(*RUN, "-a", "-p", tmp_path, "-o", "config.runner.total_steps=88")
    said = kept["override"].split(",,")
    assert [word for word in said if "total_steps" in word] == ["config.runner.total_steps=88"]
    settings["runner"]["total_steps"] = 77
    # Where the learning rate follows the number of steps, that decides.
    settings["scheduler"] = {"name": "linear_schedule_with_warmup", "num_warmup_steps": 4}
    put(tmp_path, Config=settings)
    with pytest.raises(ValueError, match=r"config\.runner\.total_steps \(was 77, is 88\)"):
        completed(*RUN[:2], "-a", "-p", tmp_path, "-o", "config.runner.total_steps=88")


def test_a_run_is_of_one_upstream(
    tiny_checkpoint: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its digest: the same weights elsewhere are the same, others at the same path are not."""
    mine, copy = tmp_path / "mine", tmp_path / "copy"
    for folder in (mine, copy):
        shutil.copytree(tiny_checkpoint, folder)
    run = tmp_path / "run"
    words = ["-u", "harness_local", "-k"]
    made = put(run, *words, mine)
    digests = [checkpoint_digest(folder) for folder in (mine, other)]
    again = completed(*RUN, "-a", "-p", run, *words, copy)
    assert again["override"] == f"args.upstream_ckpt='{copy}'"
    with pytest.raises(ValueError, match=f'digest of -k .was "{digests[0]}", is "{digests[1]}"'):
        completed(*RUN, "-a", "-p", run, *words, other)
    tests = [["-m", "evaluate", "-e", made], ["-m", "inference", "-t", made, "-e", made]]
    for test in (*tests, [*RUN[:2], "-e", made]):
        assert completed(*test)["override"] is None
        assert completed(*test, "-k", copy)["override"] == f"args.upstream_ckpt='{copy}'"
        for name in (["-k", other], ["-o", f"args.upstream_ckpt={other}"]):
            with pytest.raises(ValueError, match=f"{digests[0]}.*{digests[1]}"):
                completed(*test, *name)
    by_weights = ["-m", "evaluate", "-d", "ser", "-i", made, *words]
    assert completed(*by_weights, copy)["init_ckpt"] == str(made)
    with pytest.raises(ValueError, match=f"{digests[0]}.*{digests[1]}"):
        completed(*by_weights, other)
    assert completed(*RUN, *words, other, "-i", made)["init_ckpt"] == str(made)  # a new training
    assert not capsys.readouterr().err.count("could not be compared")
    shutil.copy(other / "model.safetensors", mine)
    with pytest.raises(ValueError, match=f"{digests[0]}.*{digests[1]}"):
        completed(*tests[0])


def test_fine_tuned_weights_come_with_the_head(
    tiny_checkpoint: Path, other: Path, tmp_path: Path
) -> None:
    """The checkpoint replaces the weights, and not what the settings decide."""
    made = put(tmp_path / "run", "-u", "harness_local", "-k", tiny_checkpoint, "-f", Upstream={})
    assert completed("-m", "evaluate", "-e", made, "-k", other)["override"]
    with pytest.raises(ValueError, match="digest of -k"):  # the run's own start was another
        completed(*RUN, "-a", "-p", tmp_path / "run", "-u", "harness_local", "-f", "-k", other)
    settings = other / "preprocessor_config.json"
    settings.write_text('{"do_normalize": true, "feature_size": 1}')
    with pytest.raises(ValueError, match="with settings"):
        completed("-m", "evaluate", "-e", made, "-k", other)


def test_an_older_checkpoint_opens_and_says_that_it_could_not_be_checked(
    tiny_checkpoint: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names no digest; the path of the same command is all that can be compared."""
    words = ["-u", "harness_local", "-k"]
    made = make_checkpoint(tmp_path, 4, *words, str(tiny_checkpoint))
    completed("-m", "evaluate", "-e", made)
    completed(*RUN, "-a", "-p", tmp_path, *words, f"{tiny_checkpoint}/")
    assert capsys.readouterr().err.count("could not be compared") == 2
    with pytest.raises(ValueError, match="-k"):
        completed(*RUN, "-a", "-p", tmp_path, *words, other)


def test_a_copied_or_moved_experiment_goes_on_where_it_lies(tmp_path: Path) -> None:
    """s3prl would write into the folder that it was copied from."""
    put(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    again = completed(*RUN, "-a", "-p", tmp_path / "second")
    assert again["override"] == f"args.expdir='{tmp_path / 'second'}'"
    shutil.rmtree(tmp_path / "first")
    moved = completed("-m", "evaluate", "-e", tmp_path / "second")
    assert moved["override"] == f"args.expdir='{tmp_path / 'second'}'"
    torch.save({"Step": 1}, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="no checkpoint of run_downstream"):
        completed(*RUN[:2], "-e", tmp_path / "foreign.ckpt")


def test_cuts_may_be_moved_and_not_changed(tmp_path: Path) -> None:
    """Their content counts; -a with another way to write the same place was refused."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    cuts_path(first, "train").write_bytes(b"one")
    name = "config.downstream_expert.datarc.cuts"
    settings = yaml.safe_load(packaged_config("ser").read_text())
    settings["downstream_expert"]["datarc"]["cuts"] = str(first)
    run = tmp_path / "run"
    run.mkdir()
    part = {UPSTREAM: upstream_of(make_parser().parse_args(RUN)), DATA: cuts_of(settings)}
    make_checkpoint(run, 4, Config=settings, **{KEY: part})
    first.rename(second)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(settings).replace(str(first), str(second)))
    by_file = completed(*RUN, "-a", "-p", run, "-c", tmp_path / "own.yaml")
    assert by_file["override"] == f"{name}={str(second)!r}"
    by_word = completed(*RUN, "-a", "-p", run, "-o", f"{name}={second}")
    assert by_word["override"].split(",,")[-1] == f"{name}={str(second)!r}"
    cuts_path(second, "train").write_bytes(b"two")
    with pytest.raises(ValueError, match=r"datarc\.cuts"):
        completed(*RUN, "-a", "-p", run, "-o", f"{name}={second}")


def test_a_moved_file_of_upstream_settings_is_read_where_it_lies(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """s3prl opened it at its old place, after the new one had been compared."""
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text("[upstream]\nper_utterance = false\n")
    made = put(tmp_path / "run", "-u", "harness_local", "-k", tiny_checkpoint, "-g", old)
    old.rename(new)
    found = completed("-m", "evaluate", "-e", made, "-g", new)
    assert found["override"] == f"args.upstream_model_config='{new}'"
    new.write_text("[upstream]\nper_utterance = true\n")
    with pytest.raises(ValueError, match="with config"):
        completed("-m", "evaluate", "-e", made, "-g", new)


def test_an_address_is_compared_as_it_is_written(tmp_path: Path) -> None:
    """What s3prl fetches has no digest before: two repositories passed for one upstream."""
    made = put(tmp_path / "run", "-u", "hf_hubert_custom", "-k", "owner/one")
    completed("-m", "evaluate", "-e", made, "-k", "owner/one")
    with pytest.raises(ValueError, match=r"owner/one.*owner/two"):
        completed("-m", "evaluate", "-e", made, "-k", "owner/two")
