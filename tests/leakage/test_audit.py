"""The whole audit, on a corpus with a planted leak of every kind, and on broken ones."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from egs.audit import planted
from harness_bench.cli import app
from harness_bench.cuts.store import write_cuts
from harness_bench.leakage.audit import audit
from harness_bench.leakage.compare import ALL_KINDS
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.leakage.report import AuditReport


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return planted.build(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def report(names: list[str]) -> AuditReport:
    return audit(names, jobs=2)


def told(report: AuditReport) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Return (first, second, kind) -> utterances of the first set in the examples."""
    return {
        (pair.first, pair.second, each.kind): tuple(case.first for case in each.examples)
        for pair in report.pairs
        for each in pair.findings
    }


def test_every_planted_leak_is_found(report: AuditReport) -> None:
    assert planted.missed(report) == []
    assert {each.kind for each in planted.PLANTED} == {*ALL_KINDS}


def test_nothing_else_is_found(report: AuditReport) -> None:
    """An audit that cries wolf is switched off. The overlap is one recording, and sounds alike."""
    expected = {(each.first, each.second, each.kind) for each in planted.PLANTED}
    expected |= {("train", "dev", "recording"), ("train", "dev", "near")}
    assert {*told(report)} == expected
    assert told(report)["train", "dev", "near"] == ("train_over",)
    assert {*told(report)["test", "pretraining", "near"]} == {"test_heard", "test_short"}


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


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["harness-bench", "audit", *arguments])
    with pytest.raises(SystemExit) as done:
        app.main()
    return int(done.value.code or 0)


def test_the_verb_tells_ci(
    names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    """Exit status, JSON and page."""
    page = tmp_path / "leakage.md"
    assert run(monkeypatch, *names, "--no-listen", "--json", "--report", str(page)) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    quiet = [each for each in planted.PLANTED if each.leak and each.kind != "near"]
    assert found["leaks"] == len(quiet) + 1  # the recording of the overlap
    assert not found["heard"]
    first = found["pairs"][0]
    assert (first["first"], first["second"], first["leaks"]) == ("train", "dev", True)
    assert "not listened to" in page.read_text()
    kinds = [part for kind in ALL_KINDS for part in ("--allow", kind)]
    assert run(monkeypatch, *names, "--no-listen", *kinds) == 0
    assert "No leak" in capsys.readouterr().out


def test_a_set_against_itself_is_heard(tmp_path: Path) -> None:
    """Of folders prepared from headers there is no digest: the sound alone tells."""
    write_cuts(tmp_path / "cuts", "train", make_cuts(tmp_path / "audio", [48_000, 40_000]))
    found = audit([f"{tmp_path}/cuts:train"] * 2)
    (near,) = (each for each in found.pairs[0].findings if each.kind == "near")
    assert near.first_utterances == near.second_utterances == 2


MISTAKES = {
    "one set": (["cuts"], {}, "compares two sets or more"),
    "unknown kind": (["cuts", "cuts"], {"allow": ["speakers"]}, "no kind 'speakers'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_explained(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cuts(tmp_path / "cuts", "train", make_cuts(tmp_path / "audio", [8_000]))
    monkeypatch.chdir(tmp_path)
    given, more, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        audit(given, **more)  # type: ignore[arg-type]
