"""CONTRIBUTING.md's promise: a plugin is one new file or folder, and every verb sees it.

A copy of the package, laid out as an installation has it, gets one made-up plugin of every kind.
No file of the copy is edited. The verbs then run in that copy alone.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness_bench.results.predictions import TextPrediction, write_predictions
from tests import cut_files, warm
from tests.models.test_types import MADE_UP
from tests.pretrain.objectives.test_contract import MADE_UP as OBJECTIVE
from tests.study.chain import STUDY, write_study
from tests.tiny import DEFAULTS

ROOT = Path(__file__).parent.parent
PRESETS = ROOT / "egs" / "harness" / "pretrain1" / "conf"
GENERATED = shutil.ignore_patterns("__pycache__")

MODEL_TYPE = MADE_UP.replace("160", "320")  # labels stand for 20 ms

CORPUS = '''"""One wave file per utterance, named by its word."""

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import Utterance


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """A made-up corpus.

    Expects wave files named SPLIT-NUMBER.wav.
    """

    @property
    def splits(self):
        return ("train", "dev", "test")

    def utterances(self, root):
        for path in sorted(root.glob("*.wav")):
            split, number = path.stem.split("-")
            word = ("high", "low", "middle")[int(number) % 3]
            yield Utterance(id=path.stem, audio=path, split=split, text=f"the {word} tone",
                speaker=f"{split}{int(number) % 4}", custom={"label": word})
'''

DATASET = """title = "A made-up dataset"
hub = "nobody/madeup"
licence = "none"
homepage = "https://example.org"
"""

TASK = '''"""A made-up task."""

from harness_bench.probing.head.expert import ClassifierExpert


class DownstreamExpert(ClassifierExpert):
    """One of three tones."""
'''

UPSTREAM = '''"""A checkpoint's hidden states, doubled."""

from harness_bench.probing.s3prl.upstream import FrozenExpert


class UpstreamExpert(FrozenExpert):
    """Twice what the checkpoint gives."""

    def encode(self, wavs):
        return [2 * states for states in super().encode(wavs)]
'''

HUBCONF = '''"""The name after -u."""

from .expert import UpstreamExpert as _UpstreamExpert


def madeup(ckpt, **kwargs):
    """A made-up upstream."""
    return _UpstreamExpert(ckpt, **kwargs)
'''

METRIC = '''"""The share of reference words that were deleted."""

from harness_bench.scoring.statistics import DELETIONS, HITS, SUBSTITUTIONS, WORDS

NAME = "madeup"
KIND = "text"
HIGHER_IS_BETTER = False
UNIT = "%"


def value(totals):
    """Return deletions in percent of the reference words; totals (..., 2, 4) -> (...)."""
    words = totals[..., WORDS, :]
    return 100 * words[..., DELETIONS] / words[..., [HITS, SUBSTITUTIONS, DELETIONS]].sum(-1)
'''

SAID = (("u1", "the high tone", "high tone"), ("u2", "low", "low"))  # id, reference, hypothesis

PROFILE = '''"""A made-up text profile: the article goes."""

NAME = "madeup"
VERSION = "1"
RULE = "The word `the` is removed."


def normalise(text):
    """Remove the article."""
    return " ".join(word for word in text.split() if word != "the")
'''


JOB = '''"""A made-up kind of job."""


def run(place):
    """Return what it was told, and what there was before it."""
    place.progress(1, 2, "letters")
    return {"letters": place.job.settings["letters"], "found": sorted(place.found)}
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for PYTHONPATH with the package and its made-up plugins."""
    folder = tmp_path_factory.mktemp("site")
    package = folder / "harness_bench"
    shutil.copytree(ROOT / "harness_bench", package, ignore=GENERATED)
    for name in ("upstream", "downstream", "leaderboard"):
        shutil.copytree(ROOT / name, package / name, ignore=GENERATED)
    shutil.copytree(PRESETS, package / "pretrain" / "paper")
    files = {
        "corpora/layouts/madeup.py": CORPUS,
        "corpora/presets/madeup.toml": DATASET,
        "models/types/loudness.py": MODEL_TYPE,
        "pretrain/objectives/madeup.py": OBJECTIVE,
        "scoring/metrics/madeup.py": METRIC,
        "scoring/profiles/madeup.py": PROFILE,
        "study/kinds/madeup.py": JOB,
        "upstream/madeup/__init__.py": "",
        "upstream/madeup/expert.py": UPSTREAM,
        "upstream/madeup/hubconf.py": HUBCONF,
        "downstream/madeup/__init__.py": "",
        "downstream/madeup/expert.py": TASK,
        "downstream/madeup/config.yaml": (ROOT / "downstream/keyword/config.yaml").read_text(),
    }
    for name, text in files.items():
        path = package / name
        assert not path.exists(), f"{name} would edit a file that is there"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def verb(site: Path, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs the copy's command line and returns what it prints."""

    def run(*words: object, command: tuple[str, ...] = ("-m", "harness_bench.cli")) -> str:
        environment = {**os.environ, "PYTHONPATH": str(site)}
        done = warm.run([*command, *words], cwd=tmp_path, env=environment)
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr[-4000:]}"
        return done.stdout

    return run


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Return a folder with references, and hypotheses of which one lacks one word of four."""
    for name, place in (("ref", 1), ("hyp", 2), ("text", 2)):
        lines = [f"{said[0]} {said[place]}\n" for said in SAID]
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
    return tmp_path


def test_a_corpus(verb: Callable[..., str], tone_corpus: Path, tmp_path: Path) -> None:
    """Its name, its tree and its utterances."""
    listed = verb("corpora", "madeup")
    assert "SPLIT-NUMBER.wav" in listed
    verb("prepare", "madeup", tone_corpus, tmp_path / "cuts", "--require", "label")
    report = json.loads((tmp_path / "cuts" / "report.json").read_text(encoding="utf-8"))
    assert report["splits"]["train"]["labels"] == {"high": 8, "low": 8, "middle": 8}


def test_a_dataset_of_the_hub(verb: Callable[..., str]) -> None:
    """Its name stands where a folder would."""
    assert "madeup: A made-up dataset. nobody/madeup; licence: none." in verb("corpora", "hf")


def test_a_text_metric(verb: Callable[..., str], texts: Path, tmp_path: Path) -> None:
    """In the scores of two files, where systems are compared, in recipe scores and results."""
    words = ("score", "asr", "--hyp", texts / "hyp", "--ref", texts / "ref", "--profile", "none")
    assert json.loads(verb(*words, "--json"))["madeup"] == 25
    rows = [TextPrediction(id=key, ref=ref, hyp=hyp, group=key) for key, ref, hyp in SAID]
    write_predictions(tmp_path / "a.jsonl", rows)
    write_predictions(tmp_path / "b.jsonl", [row.model_copy(update={"hyp": ""}) for row in rows])
    found = json.loads(
        verb("score", "compare", "b.jsonl", "a.jsonl", "--metric", "madeup", "--json")
    )
    assert [one["value"] for one in found["systems"]] == [25, 100]
    cuts = cut_files.write(
        tmp_path, "test", [cut_files.row(key, text=ref, cluster=key) for key, ref, _ in SAID]
    )
    verb(
        "--cuts", cuts, "--split", "test", "--decoded", texts, "--corpus", "made", "--out",
        tmp_path / "out", "--results", tmp_path / "results", "--model", "m", "--profiles", "none",
        command=("-m", "harness_bench.asr.score"),
    )  # fmt: skip
    (result,) = (tmp_path / "results").glob("*.json")
    assert json.loads(result.read_text(encoding="utf-8"))["metrics"]["madeup"]["value"] == 25
    assert "MADEUP" in (tmp_path / "out" / "scores.test.md").read_text(encoding="utf-8")


def test_a_text_profile(verb: Callable[..., str], texts: Path) -> None:
    """By its name, and among all."""
    words = ("score", "asr", "--hyp", texts / "hyp", "--ref", texts / "ref", "--profile")
    assert json.loads(verb(*words, "madeup", "--json"))["wer"] == [0]
    assert "madeup" in verb(*words, "all")


@pytest.fixture
def loudness(tmp_path: Path) -> Path:
    """Return a checkpoint of the made-up model type."""
    folder = tmp_path / "loudness"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "loudness"}), encoding="utf-8")
    save_file({"scale": torch.tensor([3.0])}, folder / "model.safetensors")
    return folder


def iteration(folder: Path, top: str, labels: str) -> Path:
    """Write the config of one tiny iteration of two updates."""
    text = DEFAULTS.replace("[defaults.", "[").replace("max_update = 3", "max_update = 2")
    text = text.replace("[model]", f"{top}\n[model]").replace("[labels]", f"[labels]\n{labels}")
    path = folder / "iteration.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_model_type(
    verb: Callable[..., str], loudness: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    """As a teacher of labels, and in the costs of models."""
    config = iteration(tmp_path, 'teacher = "./loudness"', 'source = "hidden"\nlayer = 1')
    out = tmp_path / "labels"
    said = verb("labels", config, tone_corpus, out, "--accelerator", "cpu")
    assert "24 utterances" in said
    (cost,) = json.loads(verb("efficiency", loudness, "--json"))
    assert cost["parameters"] == 1


def test_a_kind_of_job(verb: Callable[..., str], tmp_path: Path) -> None:
    """A study plans it behind all results, and a worker runs it."""
    text = STUDY.replace("[synthesis]", "[outputs.madeup]\nletters = 3\n[synthesis]")
    path = write_study(tmp_path, text)
    plan = json.loads(verb("study", path, "--dry-run", "--json", "--only", "madeup"))
    assert {"madeup", "publish_heads", "prepare"} <= {each["kind"] for each in plan["stages"]}
    code = (
        "from pathlib import Path\nfrom harness_bench.study.job import StudyJob, run_job\n"
        "job = StudyJob(name='a', kind='madeup', settings={'letters': 3})\n"
        "print(run_job(Path('out'), job, 'key', {}).outcome)"
    )
    assert verb(command=("-c", code)) == "{'letters': 3, 'found': []}\n"


@pytest.mark.s3prl
def test_a_model_type_as_an_upstream(verb: Callable[..., str], loudness: Path) -> None:
    """`-u harness_local -k FOLDER` opens it."""
    code = (
        "import sys, torch\nfrom harness_bench.upstream.harness.hubconf import harness_local\n"
        "states = harness_local(sys.argv[1])([torch.ones(4000)])['hidden_states']\n"
        "print(len(states), *states[1].shape)"
    )
    assert verb(loudness, command=("-c", code)).split()[-4:] == ["2", "1", "12", "1"]


def test_an_objective(verb: Callable[..., str], tone_corpus: Path, tmp_path: Path) -> None:
    """Trained for two updates without labels, logged and exported."""
    top = 'objective = "madeup"\nobjective_options = { scale = 2.0 }'
    config, out = iteration(tmp_path, top, 'source = "none"'), tmp_path / "run"
    verb("pretrain", config, tone_corpus, tmp_path / "none", out, "--accelerator", "cpu")
    assert (out / "checkpoint" / "model.safetensors").is_file()
    assert "loss_masked" in (out / "train.jsonl").read_text(encoding="utf-8")


@pytest.mark.s3prl
def test_an_upstream_and_a_task(
    verb: Callable[..., str], loudness: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    """A head of the made-up task on the made-up upstream, by s3prl's own command line."""
    said = verb(
        "probe", "-u", "madeup", "-k", loudness, "-d", "madeup", "--cuts", tone_corpus,
        "--steps", 4, "--out", tmp_path / "out", "--kind", "other", "--synthetic",
    )  # fmt: skip
    assert "madeup" in said
    (result,) = (tmp_path / "out" / "results").glob("*.json")
    assert json.loads(result.read_text(encoding="utf-8"))["task"] == "madeup"
