"""The stages of a recipe: what they call ESPnet's programs with, and what is told before them."""

import re
import shutil
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from harness_bench.asr import fit
from harness_bench.asr.config import PreparedConfig
from harness_bench.asr.kaldi import write_skipped, write_table
from harness_bench.asr.recipe import Recipe, upstream_folder
from harness_bench.core.files import read_json, write_json

CONF = Path(__file__).parents[2] / "egs" / "qasr" / "asr1" / "conf"


def recipe(cuts: Path, **options: object) -> Recipe:
    config = {"asr_config": CONF / "train_asr.yaml", "inference_config": CONF / "decode.yaml"}
    return Recipe(PreparedConfig(cuts=str(cuts), expdir="my exp", **config, **options), "x")  # type: ignore[arg-type]


def words_of(made: Recipe, title: str) -> list[str]:
    """Return the words that a step calls its program with."""
    (found,) = [step.run for step in made.steps() if step.title.startswith(title)]
    assert isinstance(found, partial)
    return list(found.args[1])


def test_decoding_is_called_as_it_always_was(tmp_path: Path) -> None:
    """A digest of these words, in this order, tells whether a decoded part is kept."""
    made = recipe(tmp_path, stage=12, stop_stage=12, inference_args="--beam_size 2")
    (step,) = made.steps()
    assert step.title == "decoding test [train_asr_FBANK_char/decode_valid.acc.ave]"
    assert isinstance(step.run, partial)
    assert step.run.args[1:] == (
        Path("my exp/dump/raw/test/wav.scp"), Path("my exp/decode/test"), 1, (
            "--config", str(CONF / "decode.yaml"),
            "--data_path_and_name_and_type", "my exp/dump/raw/test/wav.scp,speech,sound",
            "--asr_train_config", "my exp/asr/config.yaml",
            "--asr_model_file", "my exp/asr/valid.acc.ave.pth",
            "--num_workers", "0", "--ngpu", "0", "--seed", "0", "--beam_size", "2",
        ),
    )  # fmt: skip


def test_steps_say_whether_they_need_espnet(tmp_path: Path) -> None:
    """Who lacks it learns so before hours of data preparation: all its programs are marked."""
    config = CONF / "train_lm.yaml"
    made = recipe(tmp_path, use_lm=True, pack="model.zip", token_type="bpe", lm_config=config)  # noqa: S106 - no secret
    needing = {step.title: step.espnet for step in made.steps()}
    programs = {
        step.title: step.run.args[0].startswith("espnet2.")
        for step in made.steps()
        if isinstance(step.run, partial) and isinstance(step.run.args[0], str)
    }
    assert sum(programs.values()) == 4  # the language model's three, and the training
    others = {name for name, needs in needing.items() if needs and not programs.get(name)}
    assert all(needing[name] for name, is_espnet in programs.items() if is_espnet)
    assert {name.partition(" [")[0] for name in others} == {
        "token list", "decoding test", "model pack"
    }  # fmt: skip


def test_options_given_last_win_over_those_of_the_recipe(tmp_path: Path) -> None:
    """ESPnet takes the last value of an option; --asr_args must be behind the recipe's own."""
    words = words_of(recipe(tmp_path, max_epoch=3, asr_args="--max_epoch 4 --seed 7"), "training [")
    epochs = [value for name, value in pairwise(words) if name == "--max_epoch"]
    assert epochs == ["3", "4"]
    assert words[-4:] == ["--max_epoch", "4", "--seed", "7"]


def test_a_name_of_the_family_is_looked_up(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `-u harness_st` in s3prl: one name, one model on both sides."""
    shutil.copytree(tiny_checkpoint, tmp_path / "harness_st")
    monkeypatch.setenv("HARNESS_MODELS", str(tmp_path))
    assert upstream_folder("harness_st") == tmp_path / "harness_st"
    with pytest.raises(ValueError, match="harness_s: no weights of this model"):
        upstream_folder("harness_s")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        # XLS-R's config names another model type and has keys of its own.
        ({"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForPreTraining"]}, ""),
        ({"model_type": "bert"}, "model_type is 'bert'"),
        (None, "has neither model.safetensors nor pytorch_model.bin"),
    ],
)
def test_what_cannot_be_computed_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, change: dict[str, Any] | None, told: str
) -> None:
    """Stage 11 would find it, hours later."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | (change or {}))
    if change is None:
        (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=told) if told else nullcontext():
        assert upstream_folder(str(folder)) == folder


def test_a_layer_that_is_not_there_is_refused(tiny_checkpoint: Path) -> None:
    """Two blocks have the hidden states 0, 1 and 2."""
    for layers in ("mean", "2", "-3"):
        assert upstream_folder(str(tiny_checkpoint), layers) == tiny_checkpoint
    for layers in ("3", "-4"):
        with pytest.raises(ValueError, match=f"layers = {layers}"):
            upstream_folder(str(tiny_checkpoint), layers)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ngpu": 99}, "--ngpu 99"),
        ({"dumpdir": "/proc/dump"}, "--dumpdir /proc/dump"),
        ({"asr_exp": __file__}, f"--asr_exp {__file__}"),
        ({"pack": "/proc/model.zip"}, "--pack /proc/model.zip"),
        ({"lm_exp": "a,b"}, "commas"),
    ],
)
def test_what_is_not_there_is_told_before_the_first_stage(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    """ESPnet would say it hours later; data alone may be made on a machine without GPUs."""
    with pytest.raises(ValueError, match=re.escape(told)):
        recipe(tmp_path, **options)
    if "ngpu" in options:
        recipe(tmp_path, **options, stop_stage=5)


def test_weights_that_are_no_numbers_are_told_before_the_first_stage(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Stage 11 would be the first to open them; data may be made without them."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415 - heavy

    shutil.copytree(tiny_checkpoint, tmp_path / "nan")
    weights = load_file(tmp_path / "nan" / "model.safetensors")
    next(each for name, each in weights.items() if "layers.1" in name)[:1] = torch.nan
    save_file(weights, tmp_path / "nan" / "model.safetensors")
    with pytest.raises(ValueError, match="NaN"):
        recipe(tmp_path, upstream=str(tmp_path / "nan"))
    assert recipe(tmp_path, upstream=str(tmp_path / "nan"), stop_stage=5).checkpoint


def test_a_training_of_an_older_version_goes_on_with_what_it_had(tmp_path: Path) -> None:
    """Lists made in the middle of it would be other inputs, and it would be refused."""
    made = recipe(tmp_path, asr_exp=str(tmp_path / "asr"))
    (tmp_path / "asr").mkdir()
    (tmp_path / "asr" / "checkpoint.pth").touch()
    write_table(tmp_path / "stats" / "train" / "speech_shape", {"a": 1})
    for _ in range(2):
        made.leave_out()
        fit.trained_on(tmp_path / "stats", made.lists, ("train",))
    assert fit.left_out(made.lists, ("train",)) == {}
    write_skipped(made.lists / "train", {"a": "too short"})
    with pytest.raises((ValueError, FileNotFoundError)):  # of this version: it reads the tokens
        made.leave_out()


@pytest.mark.parametrize("stage", [1, 11])
def test_a_model_on_data_of_another_gets_lists_of_its_own(
    stage: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data are prepared once: --stage 10 of the next model trained on what it has no frames for."""
    made = recipe(tmp_path, asr_exp=str(tmp_path / "asr"), stage=stage)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(made, "leave_out", asked.append)
    monkeypatch.setattr(fit, "trained_on", lambda *_: None)
    made.begin({}, {})
    assert asked == [("train", "dev")] * (stage > 5)
