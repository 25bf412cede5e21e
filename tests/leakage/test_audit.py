"""The whole audit, on a corpus with a planted leak of every kind; whoever leaves out has none."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from egs.audit import planted
from harness_bench.cli import app
from harness_bench.core.files import read_ids
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.leakage.audit import AuditReport, audit, write_lists
from harness_bench.leakage.compare import ALL_KINDS
from tests.pretrain.labels.conftest import make_cuts

type Run = Callable[..., tuple[int, str]]
DATA = Path(__file__).parents[3] / "shared" / "data"
# Common Voice clips of the test list that lie inside longer recordings of the training list.
INSIDE = {
    "ssl_s01_00038": "common_voice_ar_21661577",
    "ssl_s39_04075": "common_voice_ar_24046722",
    "ssl_s12_05488": "common_voice_ar_19376252",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return planted.build(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def report(names: list[str]) -> AuditReport:
    return audit(names, jobs=2)


@pytest.fixture(scope="module")
def unheard(names: list[str]) -> AuditReport:
    """What train and test share but for sound that was encoded anew."""
    return audit([names[0], names[2]], listen=False)


def told(report: AuditReport) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Return (first, second, kind) -> utterances of the first set in the examples."""
    return {
        (pair.first, pair.second, each.kind): tuple(case.first for case in each.examples)
        for pair in report.pairs
        for each in pair.findings
    }


def test_every_planted_leak_is_found_and_nothing_else(report: AuditReport) -> None:
    """An audit that cries wolf is switched off. The overlap is one recording, and sounds alike."""
    assert planted.missed(report) == []
    assert {each.kind for each in planted.PLANTED} == {*ALL_KINDS}
    expected = {(each.first, each.second, each.kind) for each in planted.PLANTED}
    expected |= {("train", "dev", "recording"), ("train", "dev", "near")}
    assert {*told(report)} == expected
    assert told(report)["train", "dev", "near"] == ("train_over",)
    assert {*told(report)["test", "pretraining", "near"]} == {"test_heard", "test_short"}
    speeds = {"dev_slow": "0.90", "dev_drift": "1.02", "dev_fast": "1.10"}
    (near,) = (
        finding
        for pair in report.pairs
        if (pair.first, pair.second) == ("dev", "pretraining")
        for finding in pair.findings
    )
    assert {case.first: case.detail.split()[-1] for case in near.examples} == speeds


def test_missing_audio_is_listed_and_nothing_is_fatal(report: AuditReport) -> None:
    (unread,) = report.unread
    assert (unread.set, unread.id) == ("dev", planted.MISSING)
    assert planted.MISSING in report.text()
    assert planted.MISSING in report.markdown()


def test_the_order_of_sets_changes_nothing(names: list[str], report: AuditReport) -> None:
    """Which set is indexed and which streams past is decided by size and not by the user."""
    back = audit(names[::-1], jobs=1)
    assert {(b, a, kind) for a, b, kind in told(report)} == {*told(back)}
    assert back.leaks == report.leaks


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb as a shell does; return its exit status and what it printed."""

    def run_verb(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["harness-bench", *arguments])
        with pytest.raises(SystemExit) as done:
            app.main()
        return int(done.value.code or 0), capsys.readouterr().out

    return run_verb


def test_the_verb_tells_ci(names: list[str], run: Run, tmp_path: Path) -> None:
    page = tmp_path / "leakage.md"
    code, out = run("audit", *names, "--no-listen", "--json", "--report", str(page))
    found: dict[str, Any] = json.loads(out)
    quiet = [each for each in planted.PLANTED if each.leak and each.kind != "near"]
    assert (code, found["leaks"]) == (1, len(quiet) + 1)  # the recording of the overlap
    assert not found["heard"]
    first = found["pairs"][0]
    assert (first["first"], first["second"], first["leaks"]) == ("train", "dev", True)
    assert "not listened to" in page.read_text()
    kinds = [part for kind in ALL_KINDS for part in ("--allow", kind)]
    code, out = run("audit", *names, "--no-listen", *kinds)
    assert code == 0
    assert "No leak" in out


def test_the_verdict_says_what_is_not_heard(
    report: AuditReport, unheard: AuditReport, names: list[str], run: Run
) -> None:
    """That nothing was found is not that nothing is there."""
    for said in (report.text().splitlines()[-1], report.markdown().splitlines()[2]):
        assert all(what in said for what in ("0.9", "1.1", "tempo", "pitch", "noise", "1.5 s"))
    assert "not listened to" in unheard.text().splitlines()[-1]
    sets = [names[1], names[3]]
    code, out = run("audit", *sets, "--speeds", "none", "--json")
    quiet: dict[str, Any] = json.loads(out)
    assert (code, quiet["speeds"], quiet["leaks"]) == (0, None, 0)
    assert "--speeds" in quiet["unheard"]
    code, out = run("audit", *sets, "--speeds", "0.95-1.05", "--json")
    (near,) = json.loads(out)["pairs"][0]["findings"]
    assert (code, [case["first"] for case in near["examples"]]) == (1, ["dev_drift"])


def test_a_set_against_itself_is_heard(tmp_path: Path) -> None:
    """Of folders prepared from headers there is no digest: the sound alone tells."""
    write_cuts(tmp_path / "cuts", "train", make_cuts(tmp_path / "audio", [48_000, 40_000]))
    found = audit([f"{tmp_path}/cuts:train"] * 2)
    (near,) = (each for each in found.pairs[0].findings if each.kind == "near")
    assert near.first_utterances == near.second_utterances == 2


def test_mistakes_teach(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"two sets or more; .* holds 1"):
        audit(names[:1])
    with pytest.raises(ValueError, match="no kind 'speakers'"):
        audit(names[:2], allow=["speakers"])


def test_without_the_list_nothing_leaks(names: list[str], run: Run, tmp_path: Path) -> None:
    """Every kind of leak between two sets, by the command; one side left out is enough."""
    lists, (train, _, test, *_) = tmp_path / "leaked", names
    code, out = run("audit", train, test, "--json", "--write-lists", str(lists))
    assert {path.name for path in lists.iterdir()} == {"leaked.train.txt", "leaked.test.txt"}
    leaked = read_ids(lists / "leaked.test.txt")
    assert set(leaked) == {"test_far", "test_copy", "test_sentence"}
    assert (code, json.loads(out)["leaked"]["test"]) == (1, len(leaked))
    kept = [cut.id for cut in read_cuts(Path(test[5:]).with_name("cuts"), "test")]
    (tmp_path / "kept.txt").write_text("\n".join(uid for uid in kept if uid not in leaked))
    assert audit([train, f"{test}@{tmp_path / 'kept.txt'}"]).leaks == 0


def test_an_old_list_does_not_stay(unheard: AuditReport, names: list[str], tmp_path: Path) -> None:
    """What is no leak any more, or allowed, must not be left out; ids stand below their reasons."""
    lines = write_lists(unheard, tmp_path)[0].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# 3 utterances of train leak"
    assert lines[lines.index("train_copied") - 1] == "# audio with test"
    assert lines[lines.index("train_far") - 1] == "# recording with test"
    allowed = audit([names[0], names[2]], listen=False, allow=("audio", "recording", "text"))
    for report, count in ((unheard, 3), (allowed, 0)):
        files = write_lists(report, tmp_path)
        assert [len(read_ids(path)) for path in files] == [count, count]
        assert ("Utterances that leak" in report.text()) is bool(count)


def test_two_sets_of_one_file_name_are_refused(unheard: AuditReport, tmp_path: Path) -> None:
    first, second = unheard.sets
    sets = (replace(first, name="a b"), replace(second, name="a:b"))
    with pytest.raises(ValueError, match=r"leaked\.a_b\.txt"):
        write_lists(replace(unheard, sets=sets), tmp_path)


@pytest.mark.parametrize("uid", ["#1", " a", "a\u2028b"])
def test_an_id_no_list_can_hold_is_told(uid: str, unheard: AuditReport, tmp_path: Path) -> None:
    """Else it would be written, read as a comment, and go on leaking."""
    odd = replace(unheard.sets[0], leaked={"good": "audio", uid: "audio"})
    with pytest.raises(ValueError, match=r"leaked\.train\.txt cannot hold 1 ids") as told:
        write_lists(replace(unheard, sets=(odd,)), tmp_path)
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


def test_real_clips_are_found(real: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by their sound alone, and gone once `prepare` leaves them out of train."""
    monkeypatch.chdir(real.parent)
    test = PrepareConfig(options={"manifest": "asr.tsv"})
    prepare("tsv", real, Path("asr"), test)
    prepare("tsv", real, Path("ssl"))
    command = ["audit", "train=ssl:train", "test=asr:test", "--write-lists", "leaked"]
    assert run(*command)[0] == 1
    assert set(read_ids(Path("leaked/leaked.train.txt"))) == {*INSIDE}
    clips = read_ids(Path("leaked/leaked.test.txt"))
    assert {uid.rpartition("common")[2] for uid in clips} == {
        name.rpartition("common")[2] for name in INSIDE.values()
    }
    before = len(read_cuts(Path("ssl"), "train"))
    again = ["prepare", "tsv", str(real), "ssl", "--exclude", "leaked/leaked.train.txt"]
    assert run(*again)[0] == 0
    assert len(read_cuts(Path("ssl"), "train")) == before - 3
    assert run(*command)[0] == 0
    assert read_ids(Path("leaked/leaked.test.txt")) == []
