"""MGB-2 in its official layout: which file a text comes from, what overlaps, what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.corpora.base import Reason, Skipped
from harness_bench.corpora.layouts.mgb2 import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import fields, store
from tests.corpora.layouts import mgb2 as layout
from tests.corpora.trees import SECOND, kept, refused, text

if TYPE_CHECKING:
    from pathlib import Path

KALDI = ("نعم لا @@LAT@@ok", "### هل تسمع")  # the fixture's Buckwalter in Arabic script


def texts(root: Path, split: str, **options: Any) -> list[tuple[str | None, str]]:
    """Return the texts of one split and its overlap, and where each comes from."""
    found = kept(Corpus(**options).utterances(root)).values()
    return [(it.text, it.custom["text_source"]) for it in found if it.split.startswith(split)]


def test_raw_text_comes_first(root: Path) -> None:
    """Normalised text cannot be made raw again; which file it is stands beside it."""
    raw = list(layout.RAW)
    assert texts(root, "dev") == [(each, "xml/utf8") for each in raw]
    assert texts(root, "test") == [(each, "stm_orig.stm") for each in raw]
    assert texts(root, "test", test_text="norm") == [(each, "stm_norm.stm") for each in raw]
    for split in ("dev", "test"):
        assert texts(root, split, test_text="kaldi") == [(each, "text.all") for each in KALDI]


def test_text_that_no_better_file_has_is_kaldis(root: Path) -> None:
    """Times may differ by rounding; beyond that the text is of other words."""
    stm = root / "DB/test/stm_orig.stm"
    stm.write_text(stm.read_text().replace("0.00 0.50", "0.01 0.49").replace("1.50", "1.57"))
    assert [source for _, source in texts(root, "test")] == ["stm_orig.stm", "text.all"]
    for path in (root / "DB/test").glob("stm_*"):
        path.unlink()
    assert [source for _, source in texts(root, "test")] == ["text.all"] * 2


def test_stm_alone_is_enough(root: Path) -> None:
    """Some copies have nothing else; speakers are unknown then, what overlaps is not."""
    for path in (root / "DB/test").iterdir():
        if path.name.startswith(("text", "segments")):
            path.unlink()
    found = [item for uid, item in kept(Corpus().utterances(root)).items() if "77777777" in uid]
    assert [item.speaker for item in found] == [None, None]
    assert [item.split for item in found] == ["test", "test_overlap"]


def test_buckwalter_train_is_turned_into_arabic(root: Path) -> None:
    """Train and test must be in one script; words marked as Latin are in none."""
    found = kept(Corpus(script="bw").utterances(root)).values()
    said = [item.text for item in found if item.split == "train"]
    assert said == ["نعم لا", "مرحبا @@LAT@@facebook"]


def test_marked_segments_and_broken_lines(root: Path) -> None:
    """`@@@` is not to be transcribed; each broken line is listed with its number."""
    folder = root / "DB/dev"
    (folder / "xml/utf8" / f"{SECOND}.xml").unlink()
    ids = [f"{SECOND}_spk-0001_seg-000000{n}:0000050" for n in range(3)]
    text(folder / "text.all", [f"{ids[0]} @@@ nEm", ids[1], f"{ids[2]} nEm", "no-times nEm"])
    rows = [f"{ids[0]} {SECOND} 0 0.5", f"{ids[1]} {SECOND} 0.01 0.5", f"{ids[2]} {SECOND} x 0.5"]
    text(folder / "segments.all", [*rows, "no-text X 0 1", "two fields"])
    for name in ("text.non_overlap_speech", "segments.non_overlap_speech"):
        (folder / name).unlink()
    found = [item for item in Corpus().utterances(root) if item.where.startswith("dev")]
    skipped = {item.id: item for item in found if isinstance(item, Skipped)}
    bad = dict.fromkeys((ids[2], "no-times", "two"), Reason.BAD_ROW)
    reasons = bad | {ids[0]: Reason.BY_RULE, "no-text": Reason.MISSING_FIELD}
    assert {uid: item.reason for uid, item in skipped.items()} == reasons
    assert skipped["two"].where == "dev/segments.all:5"
    assert {uid: item.text for uid, item in kept(found).items()} == {ids[1]: None}


def test_files_asked_for_must_be_there(root: Path) -> None:
    """Another text would make another figure; audio alone would make an empty set, unseen."""
    for path in [*(root / "DB/train/xml/bw").iterdir(), root / "DB/test/stm_ndnp.stm"]:
        path.unlink()
    refused(Corpus(script="bw"), root, r"xml/bw holds no XML file .*utf8")
    refused(Corpus(test_text="ndnp"), root, r"no .*stm_ndnp.stm.*stm_norm.stm, stm_orig.stm")
    for path in (root / "DB/dev").iterdir():
        if path.is_file():
            path.unlink()
    refused(Corpus(), root, r"DB/dev holds no list of its segments")


def test_programmes_are_the_clusters_of_test(root: Path) -> None:
    """Intervals resample programmes, and speakers must not repeat between them."""
    prepare("mgb2", root, root / "out")
    (cut,) = store.read_cuts(root / "out", "test")
    assert fields.group_of(cut) == layout.TEST
    assert cut.supervisions[0].speaker == f"{layout.TEST}_spk-0001"


def test_train_may_stay_unread(root: Path) -> None:
    """Whoever trains on QASR needs MGB-2's test alone; checking 1,200 h takes hours."""
    for audio in (root / "DB/train/wav").iterdir():
        audio.unlink()
    found = list(Corpus(train=False).utterances(root))
    rest = {uid for uid, split in layout.UTTERANCES.items() if split != "train"}
    assert {item.id for item in found} == kept(found).keys() == rest
