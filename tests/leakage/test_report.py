"""Lists of what leaks: whoever leaves the ids out has no leak any more."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from egs.audit import planted
from harness_bench.cli import app
from harness_bench.core.files import read_ids
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts.store import read_cuts
from harness_bench.leakage.audit import audit
from harness_bench.leakage.report import Leaked, write_lists

DATA = Path(__file__).parents[3] / "shared" / "data"
# Common Voice clips of the test list that lie inside longer recordings of the training list.
INSIDE = {
    "ssl_s01_00038": "common_voice_ar_21661577",
    "ssl_s39_04075": "common_voice_ar_24046722",
    "ssl_s12_05488": "common_voice_ar_19376252",
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return planted.build(tmp_path_factory.mktemp("planted"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["harness-bench", *arguments])
    with pytest.raises(SystemExit) as done:
        app.main()
    return int(done.value.code or 0)


def test_without_the_list_nothing_leaks(
    sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Every kind of leak between two sets, by the command; one side left out is enough."""
    lists, pair = tmp_path / "leaked", [f"train={sets[0][6:]}", f"test={sets[2][5:]}"]
    assert run(monkeypatch, "audit", *pair, "--json", "--write-lists", str(lists)) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {path.name for path in lists.iterdir()} == {"leaked.train.txt", "leaked.test.txt"}
    leaked = read_ids(lists / "leaked.test.txt")
    assert set(leaked) == {"test_far", "test_copy", "test_sentence"}
    assert found["leaked"]["test"] == len(leaked)
    kept = [cut.id for cut in read_cuts(Path(sets[2][5:].rpartition(":")[0]), "test")]
    (tmp_path / "kept.txt").write_text("\n".join(uid for uid in kept if uid not in leaked))
    assert audit([pair[0], f"{pair[1]}@{tmp_path / 'kept.txt'}"]).leaks == 0


def test_each_id_stands_below_its_reasons(sets: list[str], tmp_path: Path) -> None:
    train, _ = write_lists(audit([sets[0], sets[2]], listen=False), tmp_path)
    lines = train.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# 3 utterances of train leak"
    assert lines[lines.index("train_copied") - 1] == "# audio with test"
    assert lines[lines.index("train_far") - 1] == "# recording with test"


def test_an_old_list_does_not_stay(sets: list[str], tmp_path: Path) -> None:
    """What is no leak any more, or allowed, must not be left out."""
    for allow, count in (((), 3), (("audio", "recording", "text"), 0)):
        report = audit([sets[0], sets[2]], listen=False, allow=allow)
        files = write_lists(report, tmp_path)
        assert [len(read_ids(path)) for path in files] == [count, count]
        assert ("Utterances that leak" in report.text()) is bool(count)


def test_two_sets_of_one_file_name_are_refused(sets: list[str], tmp_path: Path) -> None:
    report = audit([f"a b={sets[0][6:]}", f"a:b={sets[2][5:]}"], listen=False)
    with pytest.raises(ValueError, match=r"leaked\.a_b\.txt"):
        write_lists(report, tmp_path)


@pytest.mark.parametrize("uid", ["#1", " a", "a\u2028b"])
def test_an_id_that_no_list_can_hold_is_told(uid: str, sets: list[str], tmp_path: Path) -> None:
    """Else it would be written, read as a comment, and go on leaking."""
    report = audit([sets[0], sets[2]], listen=False)
    odd = replace(report, leaked=(Leaked("train", {"good": "audio", uid: "audio"}),))
    with pytest.raises(ValueError, match=r"leaked\.train\.txt cannot hold 1 ids") as told:
        write_lists(odd, tmp_path)
    assert repr(uid) in str(told.value)


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder like that of the real recordings, with less of train in its list."""
    if not (DATA / "cv_ar").is_dir():
        pytest.skip(f"real recordings are not at {DATA / 'cv_ar'}")
    folder = tmp_path / "cv_ar"
    folder.mkdir()
    for link in ("cv_ar/asr", "cv_ar/ssl", "cv_lid10"):
        (tmp_path / link).symlink_to((DATA / link).resolve())
    for name, speakers in (("manifest.tsv", ("cva01", "cva12", "cva39")), ("asr.tsv", ())):
        head, *rows = (DATA / "cv_ar" / name).read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if not speakers or row.split("\t")[2] in speakers]
        (folder / name).write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
    return folder


def test_clips_inside_real_recordings(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by their sound alone, and gone once `prepare` leaves them out of train."""
    monkeypatch.chdir(tmp_path)
    test = PrepareConfig(options={"manifest": "asr.tsv"})
    prepare("tsv", real, Path("asr"), test)
    prepare("tsv", real, Path("ssl"))
    command = ["audit", "train=ssl:train", "test=asr:test", "--write-lists", "leaked"]
    assert run(monkeypatch, *command) == 1
    assert set(read_ids(Path("leaked/leaked.train.txt"))) == {*INSIDE}
    clips = read_ids(Path("leaked/leaked.test.txt"))
    assert {uid.rpartition("common")[2] for uid in clips} == {
        name.rpartition("common")[2] for name in INSIDE.values()
    }
    before = len(read_cuts(Path("ssl"), "train"))
    again = ["prepare", "tsv", str(real), "ssl", "--exclude", "leaked/leaked.train.txt"]
    assert run(monkeypatch, *again) == 0
    assert len(read_cuts(Path("ssl"), "train")) == before - 3
    assert run(monkeypatch, *command) == 0
    assert read_ids(Path("leaked/leaked.test.txt")) == []
