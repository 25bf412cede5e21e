"""Any tree of audio: tags by folders, and names that no manifest can hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness_bench.corpora.base import Utterance
from harness_bench.corpora.layouts.folder import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import store
from harness_bench.cuts.fields import fields_of
from tests.corpora.trees import sound


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Crawled speech: a folder per country, and in it one per channel."""
    for path in ("EG/news/a.wav", "EG/b.wav", "MA/talk/c.wav", "d.wav"):
        sound(tmp_path / "tree" / path)
    return tmp_path / "tree"


def test_a_folder_is_a_tag(root: Path, tmp_path: Path) -> None:
    """Reaches the cuts, where pretraining lists and the doctor's tables find it."""
    prepare("folder", root, tmp_path / "out", options={"tag_level": 1, "language": "ar"})
    found = {cut.id: fields_of(cut) for cut in store.read_cuts(tmp_path / "out", "train")}
    assert {uid: known.get("country") for uid, known in found.items()} == {
        "EG_news_a": "EG", "EG_b": "EG", "MA_talk_c": "MA", "d": None,
    }  # fmt: skip
    assert {known["language"] for known in found.values()} == {"ar"}


def test_a_folder_may_name_the_language(root: Path) -> None:
    """Of audio above it the language of all is taken."""
    corpus = Corpus(tag_level=2, tag="language", language="ar", speaker_level=1)
    found = [item for item in corpus.utterances(root) if isinstance(item, Utterance)]
    assert {item.id: (item.language, item.speaker, item.custom) for item in found} == {
        "EG_news_a": ("news", "EG", {}), "EG_b": ("ar", "EG", {}),
        "MA_talk_c": ("talk", "MA", {}), "d": ("ar", None, {}),
    }  # fmt: skip


@pytest.mark.parametrize("tag", ["speaker", "text"])
def test_fields_of_their_own_are_no_tags(tag: str, root: Path, tmp_path: Path) -> None:
    """Written as a tag, a speaker would be known to nobody who looks for speakers."""
    with pytest.raises(ValueError, match=f"{tag}.*speaker_level"):
        prepare("folder", root, tmp_path, options={"tag_level": 1, "tag": tag})


def test_names_that_are_not_utf8_are_listed(root: Path, tmp_path: Path) -> None:
    """Disks of strangers have them; cuts are UTF-8 and cannot name such a file."""
    for name in (b"\xff.wav", b"EG/\xfe/x.wav"):
        path = Path(os.fsdecode(os.fsencode(root) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((root / "d.wav").read_bytes())
    report = prepare("folder", root, tmp_path / "out", max_skipped=1)
    assert report.kept == 4
    assert [(item.id, str(item.reason)) for item in report.skipped_list] == [
        ("EG_\\udcfe_x", "unreadable audio"), ("\\udcff", "unreadable audio"),
    ]  # fmt: skip


def test_what_is_no_audio_is_listed_and_no_fault(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a crawl in a container that nobody reads must be seen, and must not stop the rest."""
    for name in ("EG/a.txt", "EG/b.txt", "MA/x.docx", "._d.wav", ".DS_Store", "EG/Thumbs.db"):
        (root / name).write_bytes(b"\0\5\x16\7")
    report = prepare("folder", root, tmp_path / "out", max_skipped=0)
    assert (report.kept, report.found, report.share_skipped) == (4, 4, 0)
    assert {item.id for item in report.skipped_list} == {
        ".txt: 2 files", ".docx: 1 file", ".db: 1 file",
    }  # fmt: skip
    assert "1 files have no suffix of audio" in capsys.readouterr().err


def test_links_reach_other_disks(root: Path, tmp_path: Path) -> None:
    """Tags come of the link's name; a link to nothing is one utterance that is lost."""
    sound(tmp_path / "disk" / "e.wav")
    (root / "TN").symlink_to(tmp_path / "disk")
    (root / "DZ").symlink_to(tmp_path / "disk")
    (root / "EG" / "annexed.wav").symlink_to(".git/annex/objects/none")
    report = prepare("folder", root, tmp_path / "out", max_skipped=0.2, options={"tag_level": 1})
    found = {cut.id: fields_of(cut) for cut in store.read_cuts(tmp_path / "out", "train")}
    assert found["DZ_e"]["country"] == "DZ"
    assert {item.id: (str(item.reason), item.fault) for item in report.skipped_list} == {
        "TN": ("a folder that is read elsewhere", False),
        "EG_annexed": ("missing file", True),
    }
    assert "git annex get" in report.skipped_list[0].detail


def test_two_files_of_one_id_are_both_named(root: Path, tmp_path: Path) -> None:
    """Whoever is to rename one of them must know the other."""
    sound(root / "EG" / "news_a.wav")
    report = prepare("folder", root, tmp_path / "out", max_skipped=1)
    (item,) = report.skipped_list
    assert str(root / "EG" / "news" / "a.wav") in item.detail
    assert str(root / "EG" / "news_a.wav") in item.detail


def test_a_tree_without_audio_says_what_it_holds(tmp_path: Path) -> None:
    """The wrong folder and a container that is not read look alike to whoever is not told."""
    (tmp_path / "a.shn").touch()
    with pytest.raises(ValueError, match=r"no audio.*\.wav.*\.shn: 1"):
        list(Corpus().utterances(tmp_path))


def test_a_split_is_no_path(root: Path, tmp_path: Path) -> None:
    """A split's name becomes the name of its files."""
    with pytest.raises(ValueError, match=r"x/\.\./"):
        prepare("folder", root, tmp_path / "a" / "out", options={"split": "x/../../evil"})
    assert not (tmp_path / "a").exists()
