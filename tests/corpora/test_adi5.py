"""ADI5: official dev and test, a drawn train, and which test videos stand in dev too."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness_bench.corpora.layouts.adi5 import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import store
from harness_bench.cuts.fields import tags_of
from tests.corpora.trees import kept, left_out, refused, sound, text

if TYPE_CHECKING:
    from pathlib import Path

TEST = "9f0aegyc7e_F_0000_73.28_91.11"


def test_fields_of_dev_and_test_names(root: Path) -> None:
    """The source video is the cluster: bootstraps and leakage reports read it."""
    found = kept(Corpus().utterances(root))
    assert found[TEST].custom == {
        "dialect": "EGY", "cluster": "9f0aegyc7e", "video_start": "73.28", "video_end": "91.11",
        "diarised_speaker": "F_0000", "overlap": "dev",
    }  # fmt: skip
    assert found["9f0alavc7e__27.55_36.02"].custom == {
        "dialect": "LEV", "cluster": "9f0alavc7e", "video_start": "27.55", "video_end": "36.02",
    }  # fmt: skip
    assert found["EGY000002"].custom == {"dialect": "EGY"}


def test_the_half_of_test_that_is_clean_can_be_told(root: Path, tmp_path: Path) -> None:
    """The report tells the leak, and each prediction will carry the tag to score by."""
    report = prepare("adi5", root, tmp_path / "out")
    assert "dev and test share 1 cluster (1 utterances of test)" in report.summary()
    tags = tags_of(store.read_cuts(tmp_path / "out", "test"))
    assert Counter(each["overlap"] for each in tags.values()) == {"dev": 1, "none": 4}


def test_without_dev_nothing_is_said_of_overlap(root: Path) -> None:
    """`none` would be a claim that nobody checked."""
    for path in (root / "dev").rglob("*.wav"):
        path.unlink()
    assert "overlap" not in kept(Corpus().utterances(root))[TEST].custom


def test_lav_and_lev_are_one_dialect(root: Path) -> None:
    """The data say LAV, the paper LEV; two names of one class would be two classes."""
    (root / "train" / "LAV").rename(root / "train" / "lev")
    found = kept(Corpus().utterances(root)).values()
    dialects = Counter(item.custom["dialect"] for item in found if item.split == "train")
    assert dialects == dict.fromkeys(("EGY", "GLF", "LEV", "MSA", "NOR"), 4)


def test_train_is_drawn_by_share_and_seed(root: Path) -> None:
    """The default is the paper's 80 %; the official train can be had whole."""

    def train(**options: float) -> set[str]:
        found = kept(Corpus(**options).utterances(root))  # type: ignore[arg-type]
        return {item.id for item in found.values() if item.split == "train"}

    assert len(train(train_share=1.0)) == 25
    assert len(train()) == len(train(seed=1)) == 20
    assert train() != train(seed=1)
    assert len(train(train_share=0.2)) == 5
    assert train(train_share=0.2) < train(train_share=0.4) < train()


def test_broken_lines_of_a_reference_are_listed(root: Path) -> None:
    """Each line and each file is accounted for, once."""
    names = [path.stem for path in sorted((root / "test" / "wav").iterdir())]
    lines = (f"\ufeff{names[0]} 1\r", f"{names[1]}.wav 6", names[2], "", f"{names[0]} 2",
             "absent_0_1 LAV", "../../secret 1")  # fmt: skip
    text(root / "test" / "reference", lines)
    found = list(Corpus().utterances(root))
    assert left_out(found) == {
        names[0]: "duplicate id", names[1]: "unknown label", names[2]: "bad row",
        "../../secret": "bad row", names[3]: "missing field", names[4]: "missing field",
    }  # fmt: skip
    test = {uid: item for uid, item in kept(found).items() if item.split == "test"}
    assert test.keys() == {names[0], "absent_0_1"}
    assert not test["absent_0_1"].audio.exists()
    report = prepare("adi5", root, root / "out", max_skipped=0.5)
    assert report.skipped["missing file"] == 1


def test_test_in_folders_by_dialect_needs_no_reference(root: Path) -> None:
    """Copies of the test set are about in this form too."""
    wav = root / "test" / "wav"
    for path in list(wav.iterdir()):
        (wav / "NOR").mkdir(exist_ok=True)
        path.rename(wav / "NOR" / path.name)
    (root / "test" / "reference").unlink()
    sound(wav / "stray_1_2.wav")
    found = list(Corpus().utterances(root))
    assert kept(found)[TEST].custom["dialect"] == "NOR"
    assert left_out(found) == {"stray_1_2": "unknown label"}


def test_long_official_utterances_are_kept(root: Path, tmp_path: Path) -> None:
    """Some of the official test last minutes; the usual limit would lose them."""
    sound(root / "dev" / "NOR" / "a__0.00_70.00.wav", seconds=70)
    report = prepare("adi5", root, tmp_path / "out")
    assert not report.skipped


def test_an_unusable_reference_is_told(root: Path) -> None:
    """Without labels there is no test; the message names the option that helps."""
    reference, other = root / "test" / "reference", root / "test" / "test.ref"
    reference.write_bytes("نعم 1\n".encode("windows-1256"))
    refused(Corpus(), root, "reference:1 is not UTF-8")
    other.touch()
    refused(Corpus(), root, "several references .*reference, test.ref")
    reference.unlink()
    other.unlink()
    refused(Corpus(), root, "neither folders by dialect .* nor a reference.*test_reference")


def test_a_reference_can_be_named(root: Path) -> None:
    """It may lie anywhere below the corpus."""
    (root / "test" / "reference").rename(root / "labels.txt")
    found = kept(Corpus(test_reference="labels.txt").utterances(root))
    assert found[TEST].split == "test"
    refused(Corpus(test_reference="none.txt"), root, r"none\.txt cannot be read")
