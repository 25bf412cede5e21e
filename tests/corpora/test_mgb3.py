"""MGB-3 in its official layout: annotators that differ, and their way to the scorer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from harness_bench.cli.app import app
from harness_bench.corpora.base import Reason, Skipped
from harness_bench.corpora.layouts.mgb3 import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import store
from tests.corpora.layouts import mgb3 as layout
from tests.corpora.trees import kept, left_out, refused, replace_in, text

if TYPE_CHECKING:
    from pathlib import Path

DEV = [uid for uid, split in layout.UTTERANCES.items() if split == "dev"]


def test_references_reach_the_scorer(root: Path) -> None:
    """Several references are what MGB-3 is for: a file of each annotator, with the cuts' ids."""
    prepare("mgb3", root, root / "out")
    cut = store.read_cuts(root / "out", "dev")[0]
    custom = cut.supervisions[0].custom
    assert (custom["genre"], custom["cluster"], custom["dialect"]) == ("comedy", "comedy_75", "EGY")
    assert cut.supervisions[0].text == f"{layout.ARABIC} Alaa"
    files = [root / "out/references" / f"dev.{name}.txt" for name in layout.ANNOTATORS]
    text(root / "hyp", [f"{uid} أهلا وسهلا" for uid in DEV])
    arguments = [part for path in files for part in ("--ref", str(path))]
    command = ["score", "asr", "--hyp", str(root / "hyp"), *arguments, "--profile", "none"]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["wer"] == pytest.approx([50, 0, 50, 50])  # Ali said nothing but these two words
    assert found["mr_wer"] == 0
    assert len(list((root / "out/references").iterdir())) == 12


def test_annotators_with_different_ids(root: Path) -> None:
    """The challenge scores what all have; the others are listed, and adapt is for training."""
    for split in ("adapt.20170322", "dev"):
        path = root / split / "Omar" / "text_noverlap"
        path.write_text(path.read_text().replace(f"{DEV[0]} ", "comedy_75_else_0_1 "))
        (root / "adapt.20170322/Omar/text_noverlap").write_text("")
    found = list(Corpus().utterances(root))
    skipped = {item.id: item for item in found if isinstance(item, Skipped)}
    assert skipped[DEV[0]].reason == Reason.BY_RULE
    assert skipped[DEV[0]].detail == "not transcribed by Omar"
    assert skipped["comedy_75_else_0_1"].reason == Reason.BAD_ROW
    assert len(skipped) == 2
    everything = kept(Corpus(ids="any", annotator="Omar").utterances(root))
    said = [everything[uid].text for uid in DEV]
    assert said == [f"{layout.ARABIC} Alaa", f"{layout.ARABIC} Omar"]


@pytest.mark.parametrize("chosen", ["Alaa", "Omar"])
def test_an_annotator_who_heard_nothing_drops_no_utterance(root: Path, chosen: str) -> None:
    """An empty transcript is one reference of four; the test set stays that of the challenge."""
    words = f"{DEV[0]} {layout.ARABIC} {chosen}"
    replace_in(root / "dev" / chosen / "text_noverlap", words, DEV[0])
    prepare("mgb3", root, root / "out", require=["text"], options={"annotator": chosen})
    found = {cut.id: cut.supervisions[0] for cut in store.read_cuts(root / "out", "dev")}
    assert list(found) == DEV
    other = "Alaa" if chosen == "Omar" else "Ali"
    assert found[DEV[0]].text == found[DEV[0]].custom[f"reference_{other}"]
    assert found[DEV[0]].custom[f"reference_{chosen}"] == ""
    assert found[DEV[1]].text == f"{layout.ARABIC} {chosen}"
    lines = (root / f"out/references/dev.{chosen}.txt").read_text().splitlines()
    assert lines == [DEV[0], f"{DEV[1]} {layout.ARABIC} {chosen}"]


def test_references_of_an_earlier_run_vanish(root: Path) -> None:
    """Scored with new cuts they would be references of other ids."""
    prepare("mgb3", root, root / "out")
    for name in ("Omar", "Ali"):
        for split in ("adapt.20170322", "dev", "test"):
            (root / split / name / "segments").unlink()
    prepare("mgb3", root, root / "out")
    names = {path.name.split(".")[1] for path in (root / "out/references").iterdir()}
    assert names == {"Alaa", "Mohamed"}


def test_times_that_annotators_disagree_on(root: Path) -> None:
    """One cut cannot have two times."""
    replace_in(root / "dev/Omar/segments", " 0.000 0.500", " 0.000 0.900")
    assert left_out(Corpus().utterances(root)) == {DEV[0]: "bad row"}


def test_layouts_that_cannot_be_read_for_sure(root: Path) -> None:
    """Each names what stands there."""
    refused(Corpus(annotator="Nobody"), root, "Alaa, Ali")
    (root / "dev/Omar").rename(root / "dev/O mar")
    refused(Corpus(), root, "'O mar'")
    (root / "dev.2").mkdir()
    refused(Corpus(), root, "dev, dev.2")
