"""KSUEmotions: fields come off file names alone, and the split must not mix speakers."""

from __future__ import annotations

import shutil
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from harness_bench.core.config import build as configured
from harness_bench.core.files import digest_strings, read_json
from harness_bench.corpora.layouts.ksuemotions import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import fields, store
from harness_bench.cuts.fields import tags_of
from tests.corpora.layouts import ksuemotions as layout
from tests.corpora.trees import kept, left_out, refused, sound

if TYPE_CHECKING:
    from pathlib import Path


def test_fields_of_a_name(root: Path) -> None:
    """Gender is the speaker's first digit; man 13 and woman 13 are two people."""
    speech = root / "data" / "SPEECH"
    sound(speech / "Phase_2" / "E05" / "D05E05P013S07T02.flac")
    found = kept(Corpus().utterances(root))
    man, woman = found["P2_D05E05P013S07T02"], found["P2_D05E05P113S01T01"]
    assert (man.speaker, man.gender) == ("ksuemotions_P013", "male")
    assert (woman.speaker, woman.gender) == ("ksuemotions_P113", "female")
    assert man.language == "ar"
    said = {"emotion": "anger", "dialect": "MSA", "phase": "2", "sentence": "07", "trial": "02"}
    assert man.custom == said
    # The published description does not say that names differ over the phases.
    assert found["P1_D05E00P001S01T01"].audio != found["P2_D05E00P001S01T01"].audio


def test_what_cannot_be_read_off_a_name_is_listed(root: Path) -> None:
    """Each odd file has its reason; files that are no audio are no utterances."""
    phase = root / "data" / "SPEECH" / "Phase_1"
    for name in ("06/D05E06P001S01T01", "00/D05E01P001S02T01", "00/sample", "00/D05E00P201S01T01"):
        sound(phase / f"E{name}.flac")
    (phase / "E00" / "D05E00P001S09T09.txt").write_text("no audio")
    (phase / "E00" / ".D05E00P001S09T09.flac").write_text("what some systems leave behind")
    assert left_out(Corpus().utterances(root)) == {
        "D05E06P001S01T01": "unknown label",
        "D05E01P001S02T01": "bad row",  # lies in the folder of E00
        "sample": "bad row",
        "D05E00P201S01T01": "bad row",  # no third gender in this corpus
    }


def test_a_broken_recording_changes_no_split(root: Path, tmp_path: Path) -> None:
    """One bad file on one disk must not give its owner another benchmark; it is listed."""
    broken = next(root.rglob("D05E05P113S01T01.flac"))
    broken.write_bytes(b"no audio")
    report = prepare("ksuemotions", root, tmp_path / "out")
    assert report.skipped == {"unreadable audio": 1}
    for split in ("train", "dev", "test"):
        lines = (tmp_path / "out" / f"ids.{split}.txt").read_text(encoding="utf-8").splitlines()
        ids = sorted(uid for uid, where in layout.UTTERANCES.items() if where == split)
        assert lines[1:] == ids


@pytest.mark.parametrize("split", ["speaker_disjoint", "random"])
def test_cuts_and_lists_of_both_splits(split: str, root: Path, tmp_path: Path) -> None:
    """What heads and scores read is there, and the report says who is shared."""
    options, required = {"split": split, "seed": "1"}, ["emotion", "speaker"]
    report = prepare("ksuemotions", root, tmp_path / "out", options=options, require=required)
    assert report.kept == len(layout.UTTERANCES)
    assert report.speaker_disjoint is (split == "speaker_disjoint")
    assert sum(sum(part.labels.values()) for part in report.splits.values()) == len(
        layout.UTTERANCES
    )
    about = read_json(tmp_path / "out" / "split.json")
    assert (about["name"], about["seed"]) == (f"ksuemotions_{split}", 1)
    assert "not the paper's" in about["rule"] or "for comparison" in about["rule"]
    rows = store.read_cuts(tmp_path / "out", "train")
    assert about["splits"]["train"]["digest"] == digest_strings(sorted(cut.id for cut in rows))
    assert {fields.label_of(cut, "emotion") for cut in rows} >= {"neutral", "anger"}
    assert {fields.group_of(cut) for cut in rows} == {cut.supervisions[0].speaker for cut in rows}
    assert all("gender" in tags for tags in tags_of(rows).values()) or split != "random"


def test_another_split_replaces_the_lists(root: Path, tmp_path: Path) -> None:
    """Lists of an earlier run beside new cuts would be lists of nothing."""
    lists = []
    prepare("ksuemotions", root, tmp_path / "out", options={"split": "random"})
    for out in (tmp_path / "out", tmp_path / "fresh"):
        prepare("ksuemotions", root, out)
        lists.append({path.name: path.read_text(encoding="utf-8") for path in out.glob("ids.*")})
    assert lists[0] == lists[1]


def test_splits_do_not_depend_on_where_and_in_what_order(root: Path, tmp_path: Path) -> None:
    """The corpus's folder, its parent and SPEECH itself are all taken; links are followed."""
    other = tmp_path / "other" / "linked"
    other.mkdir(parents=True)
    for phase in ("Phase_2", "Phase_1"):
        (other / phase).symlink_to(root / "data" / "SPEECH" / phase)
    for place in (tmp_path, root / "data", other):
        found = kept(Corpus().utterances(place))
        assert {uid: item.split for uid, item in found.items()} == layout.UTTERANCES


def test_every_split_of_any_seed_has_every_speaker_whole(root: Path) -> None:
    """The property that the name of the split promises."""
    for seed in range(5):
        speakers = defaultdict(set)
        for item in kept(Corpus(seed=seed).utterances(root)).values():
            speakers[item.speaker].add(item.split)
        assert all(len(splits) == 1 for splits in speakers.values())
        assert set.union(*speakers.values()) == {"train", "dev", "test"}


def test_mistakes_are_told(root: Path) -> None:
    """A folder of one speaker, a wrong option and an empty tree each say what was expected."""
    with pytest.raises(ValueError, match=r"split = 'other'.*speaker_disjoint"):
        configured(Corpus, {"split": "other"}, source="test")
    for path in root.rglob("*P00*.flac"):
        path.unlink()
    refused(Corpus(), root, r"2 speakers .*ksuemotions_P101")
    shutil.rmtree(root / "data" / "SPEECH")
    refused(Corpus(), root, r"no recording of KSUEmotions\. Expected data/SPEECH")
