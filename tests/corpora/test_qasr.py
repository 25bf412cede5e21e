"""QASR in its official layout: the odd cases of its files, and the choice of hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.audio.io import load_waveform
from harness_bench.corpora.base import Reason, Skipped, Utterance
from harness_bench.corpora.layouts.qasr import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import fields, store
from tests.corpora.layouts import qasr as layout
from tests.corpora.trees import FIRST, Seg, kept, refused, sound, write_xml

if TYPE_CHECKING:
    from pathlib import Path

XML = "release/train_20210109/xml"


def train(root: Path, *segments: Seg, speakers: str = layout.SPEAKERS) -> list[Utterance | Skipped]:
    """Write one programme and read it."""
    if not (root / "wav").is_dir():
        sound(root / "wav" / f"{FIRST}.wav", 3.0)
    write_xml(root / XML, FIRST, segments, speakers=speakers)
    return list(Corpus().utterances(root))


def test_fields_of_a_cut(tmp_path: Path) -> None:
    """What scoring and training read must be what the XML says, text with its punctuation."""
    layout.build(tmp_path / "mgb2.1")
    prepare("qasr", tmp_path, tmp_path / "out")
    one, two = store.read_cuts(tmp_path / "out", "train")
    (first,), (second,) = one.supervisions, two.supervisions
    assert (one.start, one.duration, first.text) == (0.0, 0.5, "نعم ، لا")
    assert (first.speaker, first.gender, first.language) == ("qasr_fln_flAn", "female", "ar")
    assert (two.start, second.text) == (0.25, "مرحبا hello .")
    assert (second.speaker, second.gender) == (f"{FIRST}_spk-0002", None)
    assert first.custom == {"cluster": FIRST, "wmer": "10.5"}
    assert fields.group_of(one) == fields.group_of(two) == FIRST
    (dev,) = store.read_cuts(tmp_path / "out", "dev")
    assert dev.supervisions[0].gender == "female"
    assert load_waveform(two).shape == (8000,)


def test_archive_that_unpacked_below_alt(tmp_path: Path) -> None:
    """The wave files' archive holds the path of the machine it was made on."""
    sound(tmp_path / "alt/arabic-speech-web/mgb2.1/wav" / f"{FIRST}.wav")
    (tmp_path / "wav").mkdir()
    assert kept(train(tmp_path, Seg(0, "0.00", "0.50")))


def test_unusable_segments_are_listed_with_file_and_line(tmp_path: Path) -> None:
    """Nothing may vanish; 80 itself is kept, as everybody does."""
    odd = [Seg(0, "0.0", "0.5", wmer="80.1"), Seg(0, "0.0", "0.5", wmer="much")]
    times = [("0.5", "0.5"), ("", "0.5"), ("-1", "0.5"), ("0", "1e308"), ("nan", "inf")]
    odd += [Seg(0, *each) for each in times]
    found = train(tmp_path, *odd, Seg(1, "1.0", "1.5", wmer="80"))
    listed = [(item.reason, item.where) for item in found if isinstance(item, Skipped)]
    reasons = [Reason.BY_RULE, *[Reason.BAD_ROW] * 6]
    lines = range(2, 30, 4)  # of the XML: each segment has three words
    places = [f"{XML}/{FIRST}.xml:{line}" for line in lines]
    assert listed == list(zip(reasons, places, strict=True))
    assert len(kept(found)) == 1


def test_what_the_rule_leaves_out_is_counted_but_no_fault(tmp_path: Path) -> None:
    """Of real XML more than 5 % are above the limit: prepare must not call that a broken corpus."""
    noisy = [Seg(place, f"{place / 10}", f"{place / 10 + 0.2}", wmer="99") for place in range(9)]
    train(tmp_path, *noisy, Seg(9, "1.0", "1.5"))
    report = prepare("qasr", tmp_path, tmp_path / "out")
    assert (report.kept, report.skipped) == (1, {"left out by the corpus's rule": 9})


def test_missing_audio_and_unknown_speakers(tmp_path: Path) -> None:
    """Overlapping segments of one programme stay apart by speaker; who is unknown is nobody."""
    segments = [Seg(0, "0", "0.5", who="unknown"), Seg(1, "0", "0.5"), Seg(2, "0", "0.5", "")]
    found = train(tmp_path, *segments)
    heard = [item for item in found if isinstance(item, Utterance)]
    assert [item.speaker for item in heard] == [None, "qasr_fln_flAn", "qasr_fln_flAn"]
    assert heard[2].text is None
    assert [item.id.split("_")[1] for item in found] == ["spk-unknown", "spk-0001", "spk-0001"]
    (tmp_path / "wav" / f"{FIRST}.wav").unlink()
    for item in train(tmp_path, *segments):
        assert isinstance(item, Skipped)
        assert (item.reason, str(tmp_path / "wav") in item.detail) == (Reason.MISSING_FILE, True)


def test_two_releases_are_an_error(root: Path) -> None:
    """One of them would be trained on twice."""
    write_xml(root / "release/train_20220101/xml", FIRST, [Seg(0, "0", "1")])
    refused(Corpus(), root, r"several releases.*train_20210109.*train_20220101")


def test_more_hours_than_there_are(root: Path) -> None:
    """A list of fewer hours under the same name would be another split."""
    refused(Corpus(train_hours=300), root, "train_hours=300 and dev_hours=6 cannot be had")


def test_chosen_hours_are_written_as_lists(root: Path, tmp_path: Path) -> None:
    """The list with rule, seed and digest is what others can repeat."""
    for place in range(6):
        name = FIRST.replace("03BD", f"{place:04d}")
        sound(root / "wav" / f"{name}.wav", 3.0)
        write_xml(root / XML, name, [Seg(n, f"{n / 2}", f"{n / 2 + 0.5}") for n in range(5)])
    options = {"train_hours": 2 / 3600, "dev_hours": 1 / 3600}
    report = prepare("qasr", root, tmp_path / "out", options=options)
    counts = {name: split.utterances for name, split in report.splits.items()}
    assert counts == {"train": 4, "dev": 2, "dev_official": 1, "test": 1}
    assert not any({"cluster", "recording"} & set(pair.kinds) for pair in report.leakage)
    listed = (tmp_path / "out" / "ids.train.txt").read_text().splitlines()
    assert listed[1:] == [cut.id for cut in store.read_cuts(tmp_path / "out", "train")]
    assert "seed 0" in listed[0]
