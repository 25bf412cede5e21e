"""The recipe as one call: skipped, continued, made anew; and the whole of it once on tiny data."""

import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch

from harness_bench.asr import run
from harness_bench.asr.config import AsrConfig, recipe_folder
from harness_bench.asr.run import AsrOutcome, run_asr
from harness_bench.core.config import resolved
from harness_bench.core.files import digest_file, digest_strings, write_json
from harness_bench.cuts.fields import text_of
from harness_bench.cuts.store import cuts_path, read_cuts, write_cuts
from harness_bench.results.predictions import TextPrediction, read_predictions
from tests.asr.trainings import other_checkpoint


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsrConfig:
    """Stand in for the stages: note each run and what it found, and write the predictions."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    for name, text in (("run.sh", ""), ("train.yaml", "a: 1\n"), ("decode.yaml", "b: 1\n")):
        (folder / name).write_text(text, encoding="utf-8")

    def run_logged(command: list[str], log: Path, **_: object) -> float:
        given = dict(zip(command[5::2], command[6::2], strict=True))
        asr = log.parent / "asr"
        with (tmp_path / "runs").open("a", encoding="utf-8") as stream:
            stream.write(f"run on {given['--upstream']} with {given['--test_sets']}\n")
            stream.write("continued\n" * asr.exists())
        asr.mkdir(parents=True, exist_ok=True)
        (log.parent / "predictions.test.jsonl").touch()
        weights = {"frontend.layer_weights": torch.tensor([0.0, 0.0])}
        torch.save(weights, asr / "valid.acc.ave.pth")
        if (tmp_path / "fail").exists():
            raise RuntimeError
        return 1.0

    monkeypatch.setattr(run, "run_logged", run_logged)
    return AsrConfig(
        recipe=folder, asr_config=Path("train.yaml"), inference_config=Path("decode.yaml")
    )


SPLITS = ("train", "dev", "test")


@pytest.fixture
def start(tone_corpus: Path, fake: AsrConfig) -> Callable[..., AsrOutcome]:
    """Return a call of `run_asr` with the stand-in."""
    return partial(run_asr, upstream="fbank", checkpoint=None, cuts=tone_corpus, config=fake)


def runs(tmp_path: Path) -> list[str]:
    path = tmp_path / "runs"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_an_equal_run_is_not_repeated_and_may_be_moved(
    tmp_path: Path, start: Callable[..., AsrOutcome]
) -> None:
    """The demo is called again and again; a training it has done already takes minutes.

    Copied to another machine a run must neither run again nor point back.
    """
    old, new = tmp_path / "old", tmp_path / "new"
    first, second = (start(out=old) for _ in range(2))
    assert first == second
    assert first.layer_weights == (0.5, 0.5)
    assert first.predictions["test"].is_file()
    old.rename(new)
    assert start(out=new).predictions["test"] == new / "predictions.test.jsonl"
    assert runs(tmp_path) == ["run on fbank with test"]


def test_a_changed_checkpoint_or_config_is_a_new_run(
    tmp_path: Path, fake: AsrConfig, start: Callable[..., AsrOutcome], tiny_checkpoint: Path
) -> None:
    """ESPnet would continue an old training with the new settings and call it theirs."""
    other = other_checkpoint(tiny_checkpoint, tmp_path / "other")
    for checkpoint in (tiny_checkpoint, other):
        start(upstream="harness", checkpoint=checkpoint, out=tmp_path / "out")
    (fake.recipe / "train.yaml").write_text("a: 2\n", encoding="utf-8")
    start(upstream="harness", checkpoint=other, out=tmp_path / "out")
    upstreams = (tiny_checkpoint, other, other)
    assert runs(tmp_path) == [f"run on {checkpoint} with test" for checkpoint in upstreams]


def test_a_run_cut_off_is_continued(tmp_path: Path, start: Callable[..., AsrOutcome]) -> None:
    """Seventy epochs must survive a power cut."""
    (tmp_path / "fail").touch()
    with pytest.raises(RuntimeError):
        start(out=tmp_path / "out")
    (tmp_path / "fail").unlink()
    start(out=tmp_path / "out")
    assert runs(tmp_path)[-1] == "continued"


def test_a_run_of_the_scripts_before_is_finished(tone_corpus: Path, tmp_path: Path) -> None:
    """Its digest covered run.sh and asr.sh, of which nothing else is left."""
    config = AsrConfig()
    conf = recipe_folder(config.recipe) / "conf"
    inputs = {
        "run.sh": "02cf5242e1d9eb22abdcecbb59abdcaa", "asr.sh": "57c40877f4830db56f43f0844b859b42",
        "config": digest_strings(f"{name} {value}" for name, value in resolved(config).items()),
        **{name: digest_file(conf / name) for name in ("demo.yaml", "decode_demo.yaml")},
        **{f"cuts.{name}": digest_file(cuts_path(tone_corpus, name)) for name in SPLITS},
    }  # fmt: skip
    outcome = AsrOutcome(
        digest=digest_strings(f"{name} {inputs[name]}" for name in sorted(inputs)),
        predictions={"test": tmp_path / "predictions.test.jsonl"},
        checkpoint_digest=None, seconds=1.0, command=("bash", "run.sh"),
    )  # fmt: skip
    (tmp_path / "predictions.test.jsonl").touch()
    write_json(tmp_path / "outcome.json", asdict(outcome))
    assert run_asr(upstream="fbank", checkpoint=None, cuts=tone_corpus, out=tmp_path) == outcome


def test_without_espnet_nothing_begins(
    tone_corpus: Path, tmp_path: Path, start: Callable[..., AsrOutcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Stages 1 to 10 take hours on the corpora of the paper, and do without it."""
    monkeypatch.setitem(sys.modules, "espnet2", None)
    with pytest.raises(ValueError, match=r"harness-ssl-bench\[espnet\]"):
        start(out=tmp_path / "out")
    assert not runs(tmp_path)
    recipe = recipe_folder(AsrConfig().recipe)
    conf = recipe / "conf"
    words = ["prepared", str(recipe / "run.sh"), "--cuts", str(tone_corpus),
             "--asr_config", str(conf / "train_asr.yaml"), "--expdir", str(tmp_path / "exp"),
             "--inference_config", str(conf / "decode.yaml")]  # fmt: skip
    with pytest.raises(SystemExit, match=r"harness-ssl-bench\[espnet\]"):
        run.main(words)
    assert not (tmp_path / "exp").exists()


def test_ctrl_c_ends_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not with the traceback of wherever the run was."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_steps", stop)
    monkeypatch.setattr(run, "_chosen", lambda *_: ([("a stage", stop)], None))
    with pytest.raises(SystemExit) as ended:
        run.main(["prepared", "run.sh"])
    assert ended.value.code == 128 + signal.SIGINT
    assert "resume" in capsys.readouterr().err


@pytest.mark.parametrize("upstream", ["fbank", "harness"])
def test_checkpoint_and_upstream_must_fit(
    tmp_path: Path, upstream: str, start: Callable[..., AsrOutcome]
) -> None:
    """FBANK figures under a model's name would go into the leaderboard."""
    checkpoint = tmp_path if upstream == "fbank" else None
    with pytest.raises(ValueError, match=f"upstream '{upstream}' with checkpoint"):
        start(upstream=upstream, checkpoint=checkpoint, out=tmp_path)


def test_the_demo_recipe_is_found() -> None:
    """Its path is relative to the repository, wherever the command is called."""
    assert (recipe_folder(AsrConfig().recipe) / "conf" / "demo.yaml").is_file()
    with pytest.raises(ValueError, match="egs/demo/asr1, egs/qasr/asr1"):
        recipe_folder(Path("egs/nowhere"))


@pytest.mark.espnet
@pytest.mark.usefixtures("warm_python")
def test_training_and_decoding_give_a_prediction_for_every_utterance(
    tone_corpus: Path, tmp_path: Path
) -> None:
    """The whole recipe with real ESPnet: text as written, groups of the cuts, nobody missing.

    tests/egs/test_asr_recipes.py does the same with a checkpoint.
    """
    cuts = tmp_path / "cuts"
    for split, count in (("train", 4), ("dev", 2), ("test", 3)):
        rows = read_cuts(tone_corpus, split)[:count]
        for cut in rows:
            cut.supervisions[0].text = f"كتابُ {cut.id}"
        write_cuts(cuts, split, rows)
    outcome = run_asr(
        upstream="fbank", checkpoint=None, cuts=cuts, out=tmp_path / "out",
        config=AsrConfig(max_epoch=1),
    )  # fmt: skip
    rows = read_predictions(outcome.predictions["test"], TextPrediction)
    expected = {cut.id: text_of(cut) for cut in read_cuts(cuts, "test")}
    assert {row.id: row.ref for row in rows} == expected
    assert {row.group for row in rows} == {f"test-speaker-{number}" for number in range(3)}
