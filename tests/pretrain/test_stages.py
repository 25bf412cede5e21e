"""The verbs that label and train refuse dev and test sets before they do anything."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from harness_bench.cli import app
from harness_bench.cuts.store import write_cuts
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from pathlib import Path

FAMILY = """
name = "f"

[[iterations]]
preset = "harness_l_it1"
"""
VERBS = {
    "labels": ["labels", "harness_l_it1", "corpus", "out", "--split", "dev"],
    "pretrain": ["pretrain", "harness_l_it1", "corpus", "made", "out", "--split", "dev"],
    "family": ["family", "family.toml", "corpus", "out", "--split", "dev"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_dev_is_refused(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message with the way out, and nothing written."""
    cuts = make_cuts(tmp_path / "audio", [16_000] * 4)
    for split, part in {"train": cuts[:2], "dev": cuts[2:]}.items():
        write_cuts(tmp_path / "corpus", split, part)
    (tmp_path / "family.toml").write_text(FAMILY)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "report.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness-bench", *VERBS[verb]])
    with pytest.raises(SystemExit) as done:
        app.main()
    told = capsys.readouterr().err
    assert done.value.code == 2
    assert "corpus, split dev would train on 2 utterances" in told
    assert "allow_test_data" in told
    assert not (tmp_path / "out").exists()
