"""KSUEmotions: fields come off file names alone, and the split must not mix speakers."""

from __future__ import annotations

import shutil
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from harness_bench.core.config import build as configured
from harness_bench.core.files import digest_strings, read_json
from harness_bench.corpora.layouts.ksuemotions import Corpus
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts import fields, store
from harness_bench.cuts.fields import tags_of
from tests.corpora.trees import build, kept, left_out, sound

if TYPE_CHECKING:
    from pathlib import Path


def test_fields_of_a_name(tmp_path: Path) -> None:
    """Gender is the speaker's first digit; man 13 and woman 13 are two people."""
    build("ksuemotions", tmp_path)
    speech = tmp_path / "data" / "SPEECH"
    sound(speech / "Phase_2" / "E05" / "D05E05P013S07T02.flac")
    found = kept(Corpus().utterances(tmp_path))
    man, woman = found["P2_D05E05P013S07T02"], found["P2_D05E05P113S01T01"]
    assert (man.speaker, man.gender) == ("ksuemotions_P013", "male")
    assert (woman.speaker, woman.gender) == ("ksuemotions_P113", "female")
    assert man.language == "ar"
    assert man.custom == {
        "emotion": "anger",
        "dialect": "MSA",
        "phase": "2",
        "sentence": "07",
        "trial": "02",
    }


def test_a_name_in_both_phases_is_two_utterances(tmp_path: Path) -> None:
    """The published description does not say that names differ over the phases."""
    build("ksuemotions", tmp_path)
    found = kept(Corpus().utterances(tmp_path))
    assert found["P1_D05E00P001S01T01"].audio != found["P2_D05E00P001S01T01"].audio


def test_what_cannot_be_read_off_a_name_is_listed(tmp_path: Path) -> None:
    """Each odd file has its reason; files that are no audio are no utterances."""
    build("ksuemotions", tmp_path)
    phase = tmp_path / "data" / "SPEECH" / "Phase_1"
    for name in (
        "E06/D05E06P001S01T01",
        "E00/D05E01P001S02T01",
        "E00/sample",
        "E00/D05E00P201S01T01",
    ):
        sound(phase / f"{name}.flac")
    (phase / "E00" / "D05E00P001S09T09.txt").write_text("no audio")
    (phase / "E00" / ".D05E00P001S09T09.flac").write_text("what some systems leave behind")
    assert left_out(Corpus().utterances(tmp_path)) == {
        "D05E06P001S01T01": "unknown label",
        "D05E01P001S02T01": "bad row",  # lies in the folder of E00
        "sample": "bad row",
        "D05E00P201S01T01": "bad row",  # no third gender in this corpus
    }


def test_a_broken_recording_changes_no_split(tmp_path: Path) -> None:
    """One bad file on one disk must not give its owner another benchmark; it is listed."""
    expected = build("ksuemotions", tmp_path / "corpus")
    broken = next((tmp_path / "corpus").rglob("D05E05P113S01T01.flac"))
    broken.write_bytes(b"no audio")
    report = prepare("ksuemotions", tmp_path / "corpus", tmp_path / "out")
    assert report.skipped == {"unreadable audio": 1}
    for split in ("train", "dev", "test"):
        lines = (tmp_path / "out" / f"ids.{split}.txt").read_text(encoding="utf-8").splitlines()
        assert lines[1:] == sorted(uid for uid, where in expected.items() if where == split)


@pytest.mark.parametrize("split", ["speaker_disjoint", "random"])
def test_cuts_and_lists_of_both_splits(split: str, tmp_path: Path) -> None:
    """What heads and scores read is there, and the report says who is shared."""
    expected = build("ksuemotions", tmp_path / "corpus")
    config = PrepareConfig(options={"split": split, "seed": "1"}, require=("emotion", "speaker"))
    report = prepare("ksuemotions", tmp_path / "corpus", tmp_path / "out", config)
    assert report.kept == len(expected)
    assert report.speaker_disjoint is (split == "speaker_disjoint")
    assert sum(sum(part.labels.values()) for part in report.splits.values()) == len(expected)
    about = read_json(tmp_path / "out" / "split.json")
    assert (about["name"], about["seed"]) == (f"ksuemotions_{split}", 1)
    assert "not the paper's" in about["rule"] or "for comparison" in about["rule"]
    rows = store.read_cuts(tmp_path / "out", "train")
    assert about["splits"]["train"]["digest"] == digest_strings(sorted(cut.id for cut in rows))
    assert {fields.label_of(cut, "emotion") for cut in rows} >= {"neutral", "anger"}
    assert {fields.group_of(cut) for cut in rows} == {cut.supervisions[0].speaker for cut in rows}
    assert all("gender" in tags for tags in tags_of(rows).values()) or split != "random"


def test_another_split_replaces_the_lists(tmp_path: Path) -> None:
    """Lists of an earlier run beside new cuts would be lists of nothing."""
    build("ksuemotions", tmp_path / "corpus")
    for split in ("random", "speaker_disjoint"):
        config = PrepareConfig(options={"split": split})
        prepare("ksuemotions", tmp_path / "corpus", tmp_path / "out", config)
    fresh = prepare_lists(tmp_path / "corpus", tmp_path / "fresh")
    assert prepare_lists(tmp_path / "corpus", tmp_path / "out") == fresh


def prepare_lists(corpus: Path, out: Path) -> dict[str, str]:
    prepare("ksuemotions", corpus, out)
    return {path.name: path.read_text(encoding="utf-8") for path in out.glob("ids.*")}


def test_splits_do_not_depend_on_where_and_in_what_order(tmp_path: Path) -> None:
    """The corpus's folder, its parent and SPEECH itself are all taken; links are followed."""
    expected = build("ksuemotions", tmp_path / "corpora" / "ksu")
    other = tmp_path / "linked"
    other.mkdir()
    for phase in ("Phase_2", "Phase_1"):
        (other / phase).symlink_to(tmp_path / "corpora" / "ksu" / "data" / "SPEECH" / phase)
    for root in (tmp_path / "corpora", tmp_path / "corpora" / "ksu" / "data", other):
        found = kept(Corpus().utterances(root))
        assert {uid: item.split for uid, item in found.items()} == expected


def test_every_split_of_any_seed_has_every_speaker_whole(tmp_path: Path) -> None:
    """The property that the name of the split promises."""
    build("ksuemotions", tmp_path)
    for seed in range(5):
        speakers = defaultdict(set)
        for item in kept(Corpus(seed=seed).utterances(tmp_path)).values():
            speakers[item.speaker].add(item.split)
        assert all(len(splits) == 1 for splits in speakers.values())
        assert set.union(*speakers.values()) == {"train", "dev", "test"}


def test_mistakes_are_told(tmp_path: Path) -> None:
    """A folder of one speaker, a wrong option and an empty tree each say what was expected."""
    with pytest.raises(ValueError, match=r"split = 'other'.*speaker_disjoint"):
        configured(Corpus, {"split": "other"}, source="test")
    build("ksuemotions", tmp_path)
    for path in tmp_path.rglob("*P00*.flac"):
        path.unlink()
    with pytest.raises(ValueError, match=r"2 speakers .*ksuemotions_P101"):
        list(Corpus().utterances(tmp_path))
    shutil.rmtree(tmp_path / "data" / "SPEECH" / "Phase_1")
    shutil.rmtree(tmp_path / "data" / "SPEECH" / "Phase_2")
    with pytest.raises(ValueError, match=r"no recording of KSUEmotions\. Expected data/SPEECH"):
        list(Corpus().utterances(tmp_path))
