"""What the demo's results say of leakage, without reading the same cuts for every row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.pretrain.config import load_family
from harness_bench.study import publish
from harness_bench.study.config import Demo, DemoRow, DemoSource, family_file, load_demo
from harness_bench.study.publish import Audit

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.results.record import Leakage

TASK = DemoSource(folder="did")
FBANK = DemoRow("fbank", "baseline", "fbank", None)
RANDOM = DemoRow("random", "random", "harness_local", None)
MODEL = DemoRow("it1", "pretrained", "harness_local", None)


@pytest.fixture
def demo(tone_corpus: Path, tmp_path: Path) -> Demo:
    """Pretraining speech holds the dev split's audio; the task's own splits share nothing."""
    for split in ("train", "dev", "test"):
        cuts = read_cuts(tone_corpus, split)
        for cut in cuts:
            cut.supervisions[0].text = None
        write_cuts(tmp_path / "cuts" / "did", split, cuts)
        if split == "dev":
            write_cuts(tmp_path / "cuts" / "ssl", "train", cuts)
    config = load_demo(None)
    return Demo(config, None, tmp_path, tmp_path, load_family(family_file(config, None)))


def audits(demo: Demo) -> dict[tuple[str, str], Leakage]:
    """Audit every row with what the audits before it found."""
    known: dict[tuple[str, str, bool], Leakage] = {}
    return {
        (entry.model, split): Audit(demo, entry, TASK, known).leakage(split)
        for entry in (FBANK, RANDOM, MODEL, replace(MODEL, model="it2"))
        for split in ("dev", "test")
    }


def test_a_row_is_held_against_what_it_was_trained_on(demo: Demo) -> None:
    """What one audit found must pass to no row whose training or split differs."""
    found = audits(demo)
    verdicts = {key: leakage.verdict for key, leakage in found.items()}
    assert {key for key, verdict in verdicts.items() if verdict == "shared"} == {
        ("it1", "dev"), ("it2", "dev"),
    }  # fmt: skip
    assert found["fbank", "dev"].compared_with == ("did train",)
    assert found["it1", "test"].compared_with == ("did train", "ssl train")
    alone = {
        (entry.model, split): Audit(demo, entry, TASK, {}).leakage(split)
        for entry in (FBANK, MODEL)
        for split in ("dev", "test")
    }
    assert alone == {key: found[key] for key in alone}


def test_rows_alike_share_their_reading(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty readings of a large corpus would take longer than scoring it."""
    read: list[tuple[str, str]] = []

    def counted(folder: Path, split: str) -> object:
        read.append((folder.name, split))
        return read_cuts(folder, split)

    monkeypatch.setattr(publish, "read_cuts", counted)
    audits(demo)
    assert sorted(read) == sorted(
        [("did", "dev"), ("did", "test"), ("did", "train"), ("did", "train")] * 2
        + [("ssl", "train")] * 2
    )
