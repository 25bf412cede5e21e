"""Files that an earlier version left on users' disks are opened by this one, and mean the same.

`bfbc35e/` was made by the commands of the commit of that name; its README tells how. A format that
is given up one day is refused by a sentence that says what to do, and its test asks for that
sentence then. Everything goes through commands, because modules move and commands stay.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import pkgutil
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

ROOT, KEPT = Path(__file__).parents[2], Path(__file__).with_name("bfbc35e")
ANSWERS = KEPT / "answers"  # what commands printed then
PLACE = "@ROOT@"  # stands in the kept files where the folder's own absolute path stood
CLOSE = 1e-6  # how near trained weights come to those of then on another kind of CPU
# Frames of the noise that s3prl's featurizer hears first; it is other noise on another CPU.
SECOND = 49
Call = Callable[..., Any]  # runs `harness-bench` with words; gives what it printed (.out, .err)
TESTED = [f"corpus/audio/test{number:02d}.flac" for number in range(4)]
PROBE = [
    "probe", "-u", "harness_local", "-k", "models/small", "-d", "did", "--cuts", "cuts",
    "--config", "probe.toml", "--model", "small", "--corpus", "tones", "--synthetic",
]  # fmt: skip
RECIPE = [
    "--cuts", "cuts", "--expdir", "asr_demo", "--dumpdir", "asr_demo/formatted", "--upstream",
    "models/small", "--layers", "mean", "--feature_cache", "features.yaml", "--asr_config",
    "asr.yaml", "--inference_config", "decode.yaml", "--corpus", "tones", "--model", "small",
    "--synthetic", "true", "--test_sets", "test",
]  # fmt: skip


def replace_text(folder: Path, old: str, new: str) -> None:
    """Replace a path in all files, packed by gzip or not; all else stays to the byte."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        data, packed = path.read_bytes(), path.suffix == ".gz"
        text = gzip.decompress(data) if packed else data
        if old.encode() in text:
            assert b"\0" not in text, f"{path}: only text may change its length"
            text = text.replace(old.encode(), new.encode())
            path.write_bytes(gzip.compress(text, mtime=0) if packed else text)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the kept files with their paths put right; it is the working folder."""
    folder = tmp_path / "old"
    shutil.copytree(KEPT, folder, symlinks=True)
    replace_text(folder, PLACE, str(folder))
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("HARNESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return what runs `harness-bench` in this process to success, wherever its function lies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    main = pkgutil.resolve_name(project["scripts"]["harness-bench"])

    def run(*words: object) -> Any:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["harness-bench", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        done = capsys.readouterr()
        assert not code, done.err
        return done

    return run


@pytest.fixture
def _same_versions(old: Path, call: Call) -> None:
    """Skip where something has another version now than when the probe was made."""
    then = json.loads((old / "probe/provenance.json").read_text(encoding="utf-8"))["versions"]
    now = {each.metadata["Name"].lower(): each.version for each in metadata.distributions()}
    now |= {"python": platform.python_version(), "harness-ssl-bench": call("--version").out.strip()}
    changed = [name for name, version in then.items() if now.get(name, "absent") != version]
    if changed:
        pytest.skip(f"a probe of other versions counts as another one: {', '.join(changed)}")


def stamps(*folders: Path) -> dict[str, int]:
    """Return the time of change of every file below some folders, locks aside."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in files if path.suffix != ".lock"}


def rows(source: str | Path) -> list[Any]:
    """Return the values of JSON lines, given as text or as a file."""
    text = source if isinstance(source, str) else source.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def assert_alike(now: Any, then: Any, *, rel: float = 0.0, most: float = 0.0) -> None:
    """Compare two JSON values; numbers may differ by a share of the old one, or by `most`."""
    if isinstance(then, dict):
        assert now.keys() == then.keys()
        now, then = [now[key] for key in then], list(then.values())
    if isinstance(then, list):
        assert len(now) == len(then)
        for one, other in zip(now, then, strict=True):
            assert_alike(one, other, rel=rel, most=most)
    else:
        assert now == (pytest.approx(then, rel=rel, abs=most) if isinstance(then, float) else then)


def machine() -> dict[str, str]:
    """Describe this CPU and this torch: trained weights are equal to the bit on such alone."""
    block = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", maxsplit=1)[0]
    pairs = (line.partition(":") for line in block.splitlines())
    found = {name.strip(): value.strip() for name, _, value in pairs}
    found |= {"capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}
    names = ("capability", "cpu family", "model", "model name", "stepping", "torch")
    return {name: found.get(name, "") for name in names}


def machine_of_then() -> bool:
    return bool(machine() == json.loads((ANSWERS / "machine.json").read_text(encoding="utf-8")))


def recipe(*words: str) -> str:
    """Run the ASR recipe with the options of then; return what it said."""
    script = str(ROOT / "egs" / "demo" / "asr1" / "run.sh")
    line = ["bash", script, "--python", sys.executable, *RECIPE, *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_a_corpus_is_prepared_to_the_cuts_of_then(old: Path, call: Call) -> None:
    """Whoever prepares anew must get the utterances that old labels and splits are of."""
    call("prepare", "tsv", "corpus", "again", "--require", "text", "--max-skipped", "0.1")
    for name in ("cuts.train.jsonl.gz", "cuts.dev.jsonl.gz", "cuts.test.jsonl.gz"):
        now, then = (
            gzip.decompress((old / at / name).read_bytes()) for at in ("again", "prepared")
        )
        assert now == then
    found, before = (reported(old / at / "report.json") for at in ("again", "prepared"))
    assert {key: found[key] for key in before} == before


def reported(path: Path) -> dict[str, Any]:
    """Read a report; of what was left out, which and why, and not the reader's words for it."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    known = ("id", "reason", "audio", "where")
    found["skipped_list"] = [{key: row[key] for key in known} for row in found["skipped_list"]]
    return found


def test_prepared_folders_and_shards_are_read(old: Path, call: Call) -> None:
    """Cuts outlive programs: the doctor finds them whole, lists and shards of them are the same."""
    assert json.loads(call("corpora-doctor", "prepared", "--json").out)[0]["sound"]
    call("subset", "cuts", "again", "--hours", "train=0.0004", "--seed", 1)
    assert (old / "again/ids.train.txt").read_bytes() == (old / "drawn/ids.train.txt").read_bytes()
    before = stamps(old / "shar")
    for out in ("shar", "shards"):
        call("shard", "prepared", out, "--shard-cuts", 4)
    assert stamps(old / "shar") == before, "written anew"
    assert (old / "shards/index.json").read_bytes() == (old / "shar/index.json").read_bytes()


def test_an_interrupted_pretraining_goes_on(old: Path, call: Call) -> None:
    """A job of weeks is requeued into a new version: state, labels and cuts are of the old one.

    Weights and momenta go on; its place in the old order of batches says nothing now.
    """
    done = call("pretrain", "iteration.toml", "cuts", "labels", "run_interrupted")
    assert "resumed run_interrupted at update" in done.err
    assert "its audio is read from the start" in done.err
    log = rows(old / "run_interrupted/train.jsonl")
    assert [row["update"] for row in log] == list(range(5, 61, 5))


def test_finished_labels_and_pretraining_are_left_alone(old: Path, call: Call) -> None:
    """Nobody's GPU-days may be spent twice."""
    folders = [old / name for name in ("labels", "run_finished", "family")]
    before = stamps(*folders)
    call("labels", "iteration.toml", "cuts", "labels")
    call("pretrain", "iteration.toml", "cuts", "labels", "run_finished")
    call("family", "family.toml", "shar", "family")
    assert stamps(*folders) == before


def test_a_student_is_trained_on_old_labels_of_an_old_teacher(old: Path, call: Call) -> None:
    """A family is made over months: what stands there must serve the iterations to come.

    The weights that were kept started from another distribution than fairseq's.
    """
    labels = stamps(old / "family/second/labels")
    shutil.rmtree(old / "family/second/run")
    call("family", "family.toml", "shar", "family")
    assert stamps(old / "family/second/labels") == labels
    place = "family/second/run/checkpoint/model.safetensors"
    new, then = load_file(old / place), load_file(KEPT / place)
    assert {name: tensor.shape for name, tensor in new.items()} == {
        name: tensor.shape for name, tensor in then.items()
    }
    assert all(tensor.isfinite().all() for tensor in new.values())


@pytest.mark.parametrize(
    ("source", "kept"), [("run_finished", "small"), ("models/untrained", "untrained")]
)
def test_a_checkpoint_is_exported_as_then(old: Path, call: Call, source: str, kept: str) -> None:
    """Results name checkpoints by the digest of these files."""
    call("export", source, "again")
    (old / "again" / "README.md").unlink()  # versions of then wrote none
    now, then = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (old / "again", KEPT / "models" / kept)
    )
    assert now == then


@pytest.mark.s3prl
@pytest.mark.usefixtures("_same_versions")
def test_a_finished_probe_is_not_trained_anew(old: Path, call: Call) -> None:
    """A grid of hours is read, not repeated, and its result is written as it was."""
    before = stamps(*old.glob("probe/lr*"))
    call(*PROBE, "--out", "probe", "--results", "again")
    assert stamps(*old.glob("probe/lr*")) == before
    grid, kept = (json.loads((at / "probe/grid.json").read_bytes()) for at in (old, KEPT))
    del grid["advice"]  # later versions add it
    assert grid == kept
    name = "small.did.tones.test.json"
    now, then = (json.loads((old / at / name).read_bytes()) for at in ("again", "results"))
    for result in (now, then):  # intervals were those of a bootstrap
        result["metrics"] = {key: one["value"] for key, one in result["metrics"].items()}
    for field in ("metrics", "layer_weights", "learning_rates", "seed", "split_digest"):
        assert now[field] == then[field], field


@pytest.mark.s3prl
@pytest.mark.usefixtures("_same_versions")
def test_a_killed_probe_goes_on_with_old_features(
    old: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as the unbroken one, whether kept features are found or, of other code, made anew.

    A digest of the code is in the keys: all entries are found, or all made again and alike.
    """
    monkeypatch.setenv("HARNESS_FEATURE_CACHE", "features")
    before = {path: path.read_bytes() for path in old.glob("features/??/*.safetensors")}
    call(*PROBE, "--lr", "1e-2", "--out", "probe_interrupted", "--results", "again")
    whole, resumed = (old / at / "lr0.01.seed1" for at in ("probe", "probe_interrupted"))
    said = (resumed / "log.txt").read_text(encoding="utf-8")
    assert "Resume from probe_interrupted/lr0.01.seed1/s3prl/states-50.ckpt" in said
    share = 1e-6 if machine_of_then() else 0.02  # 200 updates at a high rate drift apart
    for name in ("metrics.jsonl", "predictions.test.jsonl"):
        now, then = (rows(each / "s3prl" / name) for each in (resumed, whole))
        assert_alike(now, then, rel=share, most=share)
    after = {path: path.read_bytes() for path in old.glob("features/??/*.safetensors")}
    assert before.items() <= after.items()
    kept, made = (
        sorted(float(states.double().sum()) for states in features if states.shape[1] < SECOND)
        for features in (
            [load_file(path)["features"] for path in paths]
            for paths in (before, after.keys() - before.keys())
        )
    )
    assert len(kept) == 16
    assert made == [] or made == pytest.approx(kept, rel=1e-4, abs=1e-3)


@pytest.mark.s3prl
def test_an_old_head_classifies_as_then(old: Path, call: Call) -> None:
    """A head is an experiment of s3prl's, with arguments and settings inside."""
    done = call("predict", old / "probe", *TESTED, "--json")
    assert_alike(rows(done.out), rows(ANSWERS / "predict.jsonl"), rel=1e-3, most=1e-5)


@pytest.mark.espnet
@pytest.mark.parametrize("model", ["pack.zip", "asr_demo"])
def test_an_old_recogniser_transcribes_as_then(old: Path, call: Call, model: str) -> None:
    """Packs are passed on and kept for years; an experiment's folder is opened where it lies."""
    done = call("transcribe", old / model, *TESTED, "--json", "--beam", 3, "--ctc-weight", 0.5)
    assert_alike(rows(done.out), rows(ANSWERS / "transcribe.jsonl"), most=0.011)


@pytest.mark.espnet
def test_an_old_training_is_known_and_decodes_its_old_features(old: Path) -> None:
    """Its inputs are those of then, so it is not refused; ESPnet finds nothing left to train."""
    shutil.rmtree(old / "asr_demo/decode")
    before = stamps(old / "asr_demo/features")
    recipe("--stage", "11", "--stop_stage", "13")
    epochs = sorted(path.name for path in (old / "asr_demo/asr").glob("*epoch.pth"))
    assert epochs == sorted(path.name for path in (KEPT / "asr_demo/asr").glob("*epoch.pth"))
    place = "asr_demo/predictions.test.jsonl"
    assert (old / place).read_bytes() == (KEPT / place).read_bytes()
    assert stamps(old / "asr_demo/features") == before


@pytest.mark.slow
@pytest.mark.espnet
def test_an_old_training_goes_on_for_more_epochs(old: Path) -> None:
    """The states of ESPnet's optimiser and reporter are taken up."""
    recipe("--stage", "11", "--stop_stage", "11", "--asr_args", "--max_epoch 41")
    assert (old / "asr_demo/asr/latest.pth").resolve().name == "41epoch.pth"


@pytest.mark.espnet
def test_old_cached_features_are_kept_or_made_anew_with_a_reason(old: Path) -> None:
    """Features of other code must not be used unseen; those of the same must not cost again."""
    before = stamps(old / "asr_demo/features")
    said = recipe("--stage", "10", "--stop_stage", "10")
    if stamps(old / "asr_demo/features") != before:
        assert said.count("Computed again, for changed ") == 3, said  # train, dev, test
    for name in ("feats.scp", "speech_shape"):
        for path in KEPT.glob(f"asr_demo/features/*/*/{name}"):
            assert (old / path.relative_to(KEPT)).read_bytes() == path.read_bytes()


def test_old_results_are_valid_and_say_the_same(old: Path, call: Call) -> None:
    """Result files of all ages lie in one folder, and are sent from lab to lab."""
    done = call("results", "validate", "results", "asr_demo/results")
    assert done.out == "5 files checked, 0 problems in 0 of them\n"
    listed = json.loads(call("results", "list", "results", "--json").out)
    assert listed == json.loads((ANSWERS / "results.json").read_bytes())
    for path in sorted((old / "results").glob("*.json")):
        call("results", "add", path, "again")
    call("results", "diff", "results", "again")


def test_a_leaderboard_is_built_of_old_results(old: Path, call: Call) -> None:
    """They have costs, layer weights, seeds, predictions, and one a printed figure."""
    assert call("leaderboard", "build", "results", "board", "--no-reported").err == ""
    with (old / "board/leaderboard.csv").open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    listed = json.loads((ANSWERS / "results.json").read_bytes())
    wanted = {(row["file"], name): str(v) for row in listed for name, v in row["metrics"].items()}
    assert {(row["file"], row["metric"]): row["value"] for row in table} == wanted
    assert {row["file"] for row in table if row["disk_bytes"]} == {
        "small.asr.tones.test.json", "small.did.tones.test.json",
    }  # fmt: skip
    assert list((old / "board").glob("*layers.png"))


@pytest.mark.parametrize(("kind", "row"), [("cls", "FBANK.did"), ("asr", "small.asr")])
def test_old_predictions_score_as_then(old: Path, call: Call, kind: str, row: str) -> None:
    """They hold what every seed's head answered, probabilities, raw texts and tags."""
    result = json.loads((old / "results" / f"{row}.tones.test.json").read_bytes())
    done = call("score", kind, "--predictions", f"results/{result['predictions']}", "--json")
    found = json.loads(done.out)
    assert result["main_metric"] in found
    for name in found.keys() & result["metrics"].keys():
        assert_alike(found[name]["value"], result["metrics"][name]["value"], rel=1e-6)
