"""CONTRIBUTING.md's promise: a plugin is one new file or folder, and every verb sees it.

A copy of the package, laid out as an installation has it, gets one made-up plugin of every kind.
No file of the copy is edited. The verbs then run in that copy alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PRESETS = ROOT / "egs" / "harness" / "pretrain1" / "conf"
GENERATED = shutil.ignore_patterns("__pycache__")

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

TASK = '''"""A made-up task."""

from harness_bench.probing.head.expert import ClassifierExpert


class DownstreamExpert(ClassifierExpert):
    """One of three tones."""
'''

UPSTREAM = '''"""The level of every frame of 20 ms."""

from harness_bench.probing.s3prl.upstream import FrozenExpert


class UpstreamExpert(FrozenExpert):
    """Mean level of 20 pieces of each frame."""

    def get_downsample_rates(self, key):
        return 320

    def encode(self, wavs):
        return [wav.unfold(0, 400, 320).abs().view(1, -1, 20, 20).mean(-1) for wav in wavs]
'''

HUBCONF = '''"""The name after -u."""

from .expert import UpstreamExpert as _UpstreamExpert


def madeup(**kwargs):
    """A made-up upstream."""
    return _UpstreamExpert(**kwargs)
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

PROFILE = '''"""A made-up text profile: the article goes."""

NAME = "madeup"
VERSION = "1"
RULE = "The word `the` is removed."


def normalise(text):
    """Remove the article."""
    return " ".join(word for word in text.split() if word != "the")
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
        "scoring/metrics/madeup.py": METRIC,
        "scoring/profiles/madeup.py": PROFILE,
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


class Verb:
    """Runs the copy's command line; fails the test where the verb fails."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.site, self.folder = site, folder

    def __call__(self, *words: object, module: str = "harness_bench.cli") -> str:
        """Return what a verb prints."""
        command = [sys.executable, "-m", module, *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(self.site)}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr[-4000:]}"
        return done.stdout

    def json(self, *words: object) -> Any:
        """Return what a verb prints as JSON."""
        return json.loads(self(*words, "--json"))


@pytest.fixture
def verb(site: Path, tmp_path: Path) -> Verb:
    return Verb(site, tmp_path)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Return a folder with references, and hypotheses of which one lacks one word of four."""
    (tmp_path / "ref").write_text("u1 the high tone\nu2 low\n", encoding="utf-8")
    (tmp_path / "hyp").write_text("u1 high tone\nu2 low\n", encoding="utf-8")
    return tmp_path


def test_a_corpus(verb: Verb, tone_corpus: Path, tmp_path: Path) -> None:
    """Its name, its tree and its utterances."""
    listed = verb("corpora", "madeup")
    assert "SPLIT-NUMBER.wav" in listed
    verb("prepare", "madeup", tone_corpus, tmp_path / "cuts", "--require", "label")
    report = json.loads((tmp_path / "cuts" / "report.json").read_text(encoding="utf-8"))
    assert report["splits"]["train"]["labels"] == {"high": 8, "low": 8, "middle": 8}


def test_a_text_metric(verb: Verb, texts: Path) -> None:
    """In the scores of two files, and where systems are compared."""
    words = ("score", "asr", "--hyp", texts / "hyp", "--ref", texts / "ref", "--profile", "none")
    assert verb.json(*words)["madeup"] == 25


def test_a_text_profile(verb: Verb, texts: Path) -> None:
    """By its name, and among all."""
    words = ("score", "asr", "--hyp", texts / "hyp", "--ref", texts / "ref", "--profile")
    assert verb.json(*words, "madeup")["wer"] == [0]
    assert "madeup" in verb(*words, "all")


@pytest.mark.s3prl
def test_an_upstream_and_a_task(verb: Verb, tone_corpus: Path, tmp_path: Path) -> None:
    """A head of the made-up task on the made-up upstream, by s3prl's own command line."""
    said = verb(
        "probe", "-u", "madeup", "-d", "madeup", "--cuts", tone_corpus, "--steps", 4,
        "--out", tmp_path / "out", "--kind", "other", "--synthetic",
    )  # fmt: skip
    assert "madeup" in said
    (result,) = (tmp_path / "out" / "results").glob("*.json")
    assert json.loads(result.read_text(encoding="utf-8"))["task"] == "madeup"
