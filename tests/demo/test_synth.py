"""The demo corpus on disk: reproducible, whole or absent, and read by the usual way."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from harness_bench.core.workdir import NOTE
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts import fields, store
from harness_bench.demo import synth
from harness_bench.demo.plan import SPLITS, TASKS, TINY, DemoCorpusConfig, SplitSizes
from harness_bench.demo.synth import make_demo_task, synthesise

if TYPE_CHECKING:
    from pathlib import Path


def make(root: Path) -> list[bool]:
    """Make the whole corpus; tell of each task whether it was made anew."""
    return [make_demo_task(root / task, task, TINY) for task in TASKS]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    assert all(make(root))
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Return every file below `root` but the two that hold the time."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in ("provenance.json", NOTE)
    }


def test_same_seed_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    """The synthesiser's output depends on what it said before: order and process are fixed."""
    make(tmp_path)
    assert contents(tmp_path) == contents(corpus)


def test_a_whole_corpus_is_kept_and_a_broken_one_made_again(corpus: Path, tmp_path: Path) -> None:
    """A second demo must start in seconds; a killed synthesis must not pass for whole."""
    assert not any(make(corpus))
    make(tmp_path)
    (tmp_path / "did" / NOTE).unlink()
    assert not any(make(tmp_path))  # as versions before left it
    (tmp_path / "did" / "README.md").unlink()  # written last
    assert make(tmp_path) == [False, False, True, False]
    assert not any(make(tmp_path))


FIELDS = {"ssl": "label", "asr": "label", "ser": "emotion", "did": "dialect"}
CLASSES: dict[str, set[str | None]] = {
    "ser": {"neutral", "happiness", "sadness", "surprise", "questioning", "anger"},
    "did": {"EGY", "GLF", "LEV", "MSA", "NOR"},
}


@pytest.mark.parametrize("task", TASKS)
def test_prepares_without_a_loss_and_with_every_class(
    task: str, corpus: Path, tmp_path: Path
) -> None:
    """Every utterance is loud, long enough and as long as told; no split is blind to a class."""
    report = prepare("tsv", corpus / task, tmp_path, PrepareConfig(max_skipped=0, jobs=1))
    assert report.kept > 0
    assert report.speaker_disjoint is (None if task == "ssl" else True)
    assert {cut.sampling_rate for cut in store.read_cuts(tmp_path, "train")} == {16_000}
    for split in store.splits(tmp_path):
        found = {fields.field_of(cut, FIELDS[task]) for cut in store.read_cuts(tmp_path, split)}
        assert found == CLASSES.get(task, {None})


def test_every_folder_says_synthetic(corpus: Path) -> None:
    """No figure made from it may be taken for one on real speech; the licence is told too."""
    for task in TASKS:
        readme = (corpus / task / "README.md").read_text(encoding="utf-8")
        assert "Everything here is synthetic" in readme
        assert "GPL" in readme
        assert "\tsynthetic\t" in (corpus / task / "manifest.tsv").read_text(encoding="utf-8")


def test_the_library_is_never_loaded_here(corpus: Path) -> None:
    """The GPL-licensed synthesiser must stay in its own process."""
    assert corpus.is_dir()
    assert "espeakng_loader" not in sys.modules
    with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123 - not a usual file
        assert "espeak" not in maps.read()


def test_a_failure_of_the_synthesiser_is_told() -> None:
    """The child's own last words must reach the user."""
    job = {"text": "نعم", "voice": "no-such-voice", "rate": 160, "pitch": 50, "range": 50}
    with pytest.raises(ValueError, match="no voice 'no-such-voice'"):
        list(synth._speech([job]))


def test_a_notebook_makes_one_corpus_in_one_call(tmp_path: Path) -> None:
    """The sizes asked for, and the speech of the demo at those sizes."""
    folder = synthesise(tmp_path / "did", "did", train=5, dev=5, test=5, seed=3)
    rows = [row.split("\t") for row in (folder / "manifest.tsv").read_text("utf-8").splitlines()]
    assert Counter(row[rows[0].index("split")] for row in rows[1:]) == dict.fromkeys(SPLITS, 5)
    sizes = SplitSizes(train=5, dev=5, test=5)
    assert not make_demo_task(folder, "did", DemoCorpusConfig(seed=3, did=sizes))
    with pytest.raises(ValueError, match="'ssl'"):
        synthesise(tmp_path, "ssl", train=5, dev=5, test=5)  # type: ignore[arg-type]
