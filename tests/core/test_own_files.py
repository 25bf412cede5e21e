"""What a step did not write into a folder is never lost, whatever its name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness_bench.core.own_files import FILES, UNFINISHED, own_files, replacing
from harness_bench.core.workdir import WorkDir
from harness_bench.corpora.prepare import prepare
from harness_bench.corpora.subset import Wanted, subset
from harness_bench.cuts.shar import write_shards
from harness_bench.cuts.store import read_cuts

# Names that all three steps write, and others.
MINE = (
    "report.json", "split.json", "provenance.json", "index.json", "ids.golden.txt", "skipped.tsv",
    "cuts.old.jsonl.gz", "cuts.000000.jsonl.gz", "recording.000000.tar", "references/notes.txt",
    "notes.md",
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two utterances with a table, prepared beside it."""
    root = tmp_path_factory.mktemp("mine") / "corpus"
    root.mkdir()
    for name in "ab":
        wave = np.random.default_rng(ord(name)).uniform(-0.5, 0.5, 16_000)
        soundfile.write(root / f"{name}.wav", wave, 16_000)
    rows = ["path\ttranscript\treference_x", "a.wav\tone\teins", "b.wav\ttwo\tzwei"]
    (root / "manifest.tsv").write_text("\n".join(rows) + "\n")
    prepare("tsv", root, root.parent / "cuts")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """Return path -> bytes of all files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def prepared(corpus: Path, out: Path) -> None:
    """Write as `prepare` does."""
    prepare("tsv", corpus, out)


def drawn(corpus: Path, out: Path) -> None:
    """Write as `subset` does."""
    subset([corpus.parent / "cuts"], out, Wanted(hours={"train": 1 / 3600}))


def sharded(corpus: Path, out: Path) -> None:
    """Write as `shard` does."""
    write_shards(read_cuts(corpus.parent / "cuts", "train"), out)


STEPS = pytest.mark.parametrize("step", [prepared, drawn, sharded])
type Step = Callable[[Path, Path], None]


@STEPS
@pytest.mark.parametrize("name", MINE)
def test_a_folder_of_mine_is_refused_as_it_is(
    step: Step, name: str, corpus: Path, tmp_path: Path
) -> None:
    """One file is enough, also under a name that the step itself writes."""
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    before = contents(tmp_path)
    if name.startswith("references") and step is not prepared:  # a name that no other step uses
        step(corpus, tmp_path / "out")
        assert before.items() <= contents(tmp_path).items()
        return
    with pytest.raises(ValueError, match=r"holds .*(another|as it is)"):
        step(corpus, tmp_path / "out")
    assert contents(tmp_path) == before


@STEPS
def test_folders_beside_are_no_matter(step: Step, corpus: Path, tmp_path: Path) -> None:
    """A log folder made beforehand is no reason to refuse."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "report.json").write_text("mine")
    step(corpus, tmp_path)
    assert (tmp_path / "logs" / "report.json").read_text() == "mine"


@STEPS
def test_what_i_add_later_stays(step: Step, corpus: Path, tmp_path: Path) -> None:
    """A second run replaces its own files alone."""
    step(corpus, tmp_path)
    own = contents(tmp_path).keys()
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / "doctor").mkdir()
    (tmp_path / "doctor" / "report.json").write_text("mine")
    step(corpus, tmp_path)
    assert contents(tmp_path).keys() - own == {"notes.md", "doctor/report.json"}
    assert own <= contents(tmp_path).keys()


def test_the_corpus_itself_is_no_place_for_its_cuts(corpus: Path) -> None:
    """`prepare tsv FOLDER FOLDER` would write between the corpus's own files."""
    before = contents(corpus)
    with pytest.raises(ValueError, match=r"a\.wav, b\.wav, manifest\.tsv"):
        prepare("tsv", corpus, corpus)
    assert contents(corpus) == before


def test_what_would_be_taken_for_ours_is_refused(corpus: Path, tmp_path: Path) -> None:
    """Cuts that somebody put beside ours would be read as one more split."""
    prepare("tsv", corpus, tmp_path)
    (tmp_path / "cuts.old.jsonl.gz").write_bytes(b"mine")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"cuts\.old\.jsonl\.gz"):
        prepare("tsv", corpus, tmp_path)
    assert contents(tmp_path) == before


def test_a_folder_of_a_version_without_a_list_is_written_again(
    corpus: Path, tmp_path: Path
) -> None:
    """Of such a folder, what belongs to the splits of its report is ours, and nothing else."""
    prepare("tsv", corpus, tmp_path)
    about = json.loads((tmp_path / "provenance.json").read_text())
    del about[FILES]
    (tmp_path / "provenance.json").write_text(json.dumps(about))
    prepare("tsv", corpus, tmp_path)
    assert (tmp_path / "references" / "train.x.txt").is_file()
    del about["config"]  # no provenance of ours
    (tmp_path / "provenance.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="not made here"):
        prepare("tsv", corpus, tmp_path)


def test_a_run_cut_off_knows_its_own(tmp_path: Path) -> None:
    """The mark lists what was there and what was to be written."""
    old = tmp_path / "a.txt"
    old.write_text("old")
    with replacing(tmp_path, [old], ["a.txt", "b.txt"]):
        (tmp_path / "b.txt").write_text("new")
        mark = (tmp_path / UNFINISHED).read_bytes()
    (tmp_path / UNFINISHED).write_bytes(mark)  # as a kill before the end leaves it
    (tmp_path / "c.txt").write_text("mine")
    assert json.loads((tmp_path / UNFINISHED).read_text()) == {FILES: ["a.txt", "b.txt"]}
    assert own_files(tmp_path, ["a.txt", "b.txt"], list) == [tmp_path / "b.txt"]


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "x/../../a.txt"])
def test_a_list_from_elsewhere_names_nothing_outside(name: str, tmp_path: Path) -> None:
    """provenance.json comes with data from others: nothing outside the folder is ours."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / UNFINISHED).write_text(json.dumps({FILES: [name]}))
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(ValueError, match="not made here"):
        own_files(tmp_path / "out", ["*"], list)
    assert (tmp_path / "a.txt").is_file()


def test_a_step_may_prepare_into_the_folder_that_it_noted(tmp_path: Path) -> None:
    """Pretraining and recipes note their inputs there first; other JSON is somebody's."""
    work = WorkDir(tmp_path / "out", {"corpus": "x"}, note="prepared.json")
    with work.lock():
        work.begin()
    assert own_files(tmp_path / "out", ["cuts.*"], list) == []
    (tmp_path / "out" / "mine.json").write_text('{"key": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.json"):
        own_files(tmp_path / "out", ["cuts.*"], list)
