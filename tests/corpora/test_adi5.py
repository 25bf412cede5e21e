"""ADI5: official dev and test, a drawn train, and which test videos stand in dev too."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from harness_bench.corpora.layouts.adi5 import Corpus
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts import store
from harness_bench.cuts.fields import tags_of
from tests.corpora.trees import build, kept, left_out, sound

if TYPE_CHECKING:
    from pathlib import Path

TEST = "9f0aegyc7e_F_0000_73.28_91.11"


def rewrite(root: Path, text: str) -> None:
    (root / "test" / "reference").write_text(text, encoding="utf-8")


def test_fields_of_dev_and_test_names(tmp_path: Path) -> None:
    """The source video is the cluster: bootstraps and leakage reports read it."""
    build("adi5", tmp_path)
    found = kept(Corpus().utterances(tmp_path))
    assert found[TEST].custom == {
        "dialect": "EGY",
        "cluster": "9f0aegyc7e",
        "video_start": "73.28",
        "video_end": "91.11",
        "diarised_speaker": "F_0000",
        "overlap": "dev",
    }
    assert found["9f0alavc7e__27.55_36.02"].custom == {
        "dialect": "LEV",
        "cluster": "9f0alavc7e",
        "video_start": "27.55",
        "video_end": "36.02",
    }
    assert found["EGY000002"].custom == {"dialect": "EGY"}


def test_the_half_of_test_that_is_clean_can_be_told(tmp_path: Path) -> None:
    """The report tells the leak, and each prediction will carry the tag to score by."""
    build("adi5", tmp_path / "corpus")
    report = prepare("adi5", tmp_path / "corpus", tmp_path / "out")
    assert "dev and test share 1 cluster (1 utterances of test)" in report.summary()
    tags = tags_of(store.read_cuts(tmp_path / "out", "test"))
    assert Counter(each["overlap"] for each in tags.values()) == {"dev": 1, "none": 4}


def test_without_dev_nothing_is_said_of_overlap(tmp_path: Path) -> None:
    """`none` would be a claim that nobody checked."""
    build("adi5", tmp_path)
    for path in (tmp_path / "dev").rglob("*.wav"):
        path.unlink()
    assert "overlap" not in kept(Corpus().utterances(tmp_path))[TEST].custom


def test_lav_and_lev_are_one_dialect(tmp_path: Path) -> None:
    """The data say LAV, the paper LEV; two names of one class would be two classes."""
    build("adi5", tmp_path)
    (tmp_path / "train" / "LAV").rename(tmp_path / "train" / "lev")
    found = kept(Corpus().utterances(tmp_path)).values()
    assert Counter(
        item.custom["dialect"] for item in found if item.split == "train"
    ) == dict.fromkeys(("EGY", "GLF", "LEV", "MSA", "NOR"), 4)


def test_train_is_drawn_by_share_and_seed(tmp_path: Path) -> None:
    """The default is the paper's 80 %; the official train can be had whole."""
    build("adi5", tmp_path)

    def train(**options: float) -> set[str]:
        found = kept(Corpus(**options).utterances(tmp_path))  # type: ignore[arg-type]
        return {item.id for item in found.values() if item.split == "train"}

    assert len(train(train_share=1.0)) == 25
    assert len(train()) == len(train(seed=1)) == 20
    assert train() != train(seed=1)
    assert len(train(train_share=0.2)) == 5
    assert train(train_share=0.2) < train(train_share=0.4) < train()


def test_broken_lines_of_a_reference_are_listed(tmp_path: Path) -> None:
    """Each line and each file is accounted for, once."""
    build("adi5", tmp_path)
    names = [path.stem for path in sorted((tmp_path / "test" / "wav").iterdir())]
    rewrite(
        tmp_path,
        f"\ufeff{names[0]} 1\r\n{names[1]}.wav 6\n{names[2]}\n\n{names[0]} 2\nabsent_0_1 LAV\n"
        "../../secret 1\n",
    )
    found = list(Corpus().utterances(tmp_path))
    assert left_out(found) == {
        names[0]: "duplicate id",
        names[1]: "unknown label",
        names[2]: "bad row",
        "../../secret": "bad row",
        names[3]: "missing field",
        names[4]: "missing field",
    }
    test = {uid: item for uid, item in kept(found).items() if item.split == "test"}
    assert test.keys() == {names[0], "absent_0_1"}
    assert not test["absent_0_1"].audio.exists()
    config = PrepareConfig(max_skipped=0.5)
    report = prepare("adi5", tmp_path, tmp_path / "out", config)
    assert report.skipped["missing file"] == 1


def test_test_in_folders_by_dialect_needs_no_reference(tmp_path: Path) -> None:
    """Copies of the test set are about in this form too."""
    build("adi5", tmp_path)
    wav = tmp_path / "test" / "wav"
    for path in list(wav.iterdir()):
        (wav / "NOR").mkdir(exist_ok=True)
        path.rename(wav / "NOR" / path.name)
    (tmp_path / "test" / "reference").unlink()
    sound(wav / "stray_1_2.wav")
    found = list(Corpus().utterances(tmp_path))
    assert kept(found)[TEST].custom["dialect"] == "NOR"
    assert left_out(found) == {"stray_1_2": "unknown label"}


def test_long_official_utterances_are_kept(tmp_path: Path) -> None:
    """Some of the official test last minutes; the usual limit would lose them."""
    build("adi5", tmp_path / "corpus")
    sound(tmp_path / "corpus" / "dev" / "NOR" / "a__0.00_70.00.wav", seconds=70)
    report = prepare("adi5", tmp_path / "corpus", tmp_path / "out")
    assert not report.skipped


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("none", "neither folders by dialect .* nor a reference.*test_reference"),
        ("several", "several references .*reference, test.ref"),
        ("latin", "reference:1 is not UTF-8"),
    ],
)
def test_an_unusable_reference_is_told(change: str, message: str, tmp_path: Path) -> None:
    """Without labels there is no test; the message names the option that helps."""
    build("adi5", tmp_path)
    if change == "none":
        (tmp_path / "test" / "reference").unlink()
    elif change == "several":
        (tmp_path / "test" / "test.ref").write_text("")
    else:
        (tmp_path / "test" / "reference").write_bytes("نعم 1\n".encode("windows-1256"))
    with pytest.raises(ValueError, match=message):
        list(Corpus().utterances(tmp_path))


def test_a_reference_can_be_named(tmp_path: Path) -> None:
    """It may lie anywhere below the corpus."""
    build("adi5", tmp_path)
    (tmp_path / "test" / "reference").rename(tmp_path / "labels.txt")
    found = kept(Corpus(test_reference="labels.txt").utterances(tmp_path))
    assert found[TEST].split == "test"
    with pytest.raises(ValueError, match=r"none\.txt cannot be read"):
        list(Corpus(test_reference="none.txt").utterances(tmp_path))
