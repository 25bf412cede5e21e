"""Transcript XML and Kaldi files as they are written, and XML that would fill the memory."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness_bench.core.sanitize import visible
from harness_bench.corpora.formats import kaldi
from harness_bench.corpora.formats.raw_files import AudioIndex, near_miss, refuse_archive
from harness_bench.corpora.formats.transcript_xml import LONGEST, Head, read_segments
from harness_bench.corpora.prepare import prepare
from tests.corpora.trees import FIRST, Seg, text, transcript

if TYPE_CHECKING:
    from collections.abc import Iterable

BOMB = """<?xml version="1.0"?><!DOCTYPE transcript [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><transcript><body><segments>
<segment id="x" starttime="0" endtime="1"><element>&b;</element></segment></segments></body>
</transcript>"""
FOREIGN = '<!DOCTYPE transcript SYSTEM "file:///etc/passwd">'


def segments(path: Path, content: str | bytes) -> list[Any]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_segments(path, Head()))


def test_segments_are_read_as_they_are_written(tmp_path: Path) -> None:
    """A document type that is named does no harm as long as nobody opens it."""
    rows = [Seg(n, f"{n}", f"{n + 1}", f"w{n} &amp; .") for n in range(500)]
    content = transcript(FIRST, rows).replace("<transcript>", f"{FOREIGN}<transcript>")
    found = [(one.start, one.end, one.text) for one in segments(tmp_path / "x.xml", content)]
    assert found == [(row.start, row.end, row.words.replace("&amp;", "&")) for row in rows]


def test_a_segment_comes_before_the_file_ends(tmp_path: Path) -> None:
    """A file of any size must not be held in memory."""
    path = tmp_path / "x.xml"
    rows = [Seg(number, "0", "1") for number in range(3000)]
    path.write_text(transcript(FIRST, rows).replace("</body>", "<broken>"))
    stream = read_segments(path, Head())
    assert next(stream).text == "نعم ، لا"
    with pytest.raises(ValueError, match="not well-formed"):
        list(stream)
    with pytest.raises(ValueError, match="cannot be read"):
        list(read_segments(tmp_path, Head()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, r"x.xml:1: .*'transcript' declares entities"),
        ("<html></html>", "root element is 'html'"),
        ("", "no element found"),
        ("<transcript>", "no element found.*cut off"),
        ("<transcript>&nbsp;</transcript>", "undefined entity"),
        ('<?xml version="1.0" encoding="klingon"?><transcript/>', "unknown encoding"),
        ('<?xml version="1.0" encoding="gb18030"?><transcript/>', "encoding"),
        ("<transcript><segment>" + LONGEST // 2 * "<a/>", f"line 1 has over {LONGEST} bytes"),
        ("<transcript><segment>" + 2 * LONGEST * "a", f"line 1 has over {LONGEST} bytes"),
        ("<transcript>" + 100_000 * "<a>", "no element found"),
    ],
)  # fmt: skip
def test_xml_that_is_not_read(content: str, message: str, tmp_path: Path) -> None:
    """Each names the file, and none takes the memory or the time that it asks for."""
    with pytest.raises(ValueError, match=message) as caught:
        segments(tmp_path / "x.xml", content)
    assert str(tmp_path / "x.xml") in str(caught.value)


@given(st.integers(0, 10**7), st.integers(1, 10**5), st.integers(0, 9999), st.sampled_from("-_"))
def test_ids_come_back(start: int, length: int, speaker: int, sign: str) -> None:
    """The id is the only place that tells the times of QASR's dev and test."""
    uid = kaldi.make_id(FIRST, str(speaker), start / 100, (start + length) / 100)
    found = kaldi.parse_id(uid.replace("_spk-", f"{sign}spk{sign}").replace("_seg-", f"{sign}seg_"))
    assert found == (FIRST, start / 100, (start + length) / 100, f"{speaker:04d}", "", None)


@given(st.text(max_size=300))
@example("a_spk-" * 40)
@example("a_spk-1_seg-" * 20)  # a pattern that tries all ways would not end
def test_other_ids_are_none(uid: str) -> None:
    found = kaldi.parse_id(uid)
    assert found is None or found.start < found.end


def test_audio_is_found_by_either_sign_and_nowhere_else(tmp_path: Path) -> None:
    """Ids in XML write `_` where wave files write `-`; a name from a file is never a path."""
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "A-B_C.WAV").touch()
    (tmp_path / "other.wav").touch()
    index = AudioIndex([tmp_path / "wav", tmp_path / "absent"])
    assert index.find("", "a_b-c") == tmp_path / "wav" / "A-B_C.WAV"
    assert index.find("../other", str(tmp_path / "other"), "other.wav") is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a ok thanks", "b نعم"], ["ok thanks", "نعم"]),
        (["a nEm", "b"], ["نعم", ""]),
        (["a >hlA @@LAT@@ok <UNK> %UM [NOISE]"], ["أهلا @@LAT@@ok <UNK> %UM [NOISE]"]),
        (["a ### # <xwAt @@@"], ["### # إخوات @@@"]),
    ],
)
def test_buckwalter_is_a_whole_file_or_none(
    lines: list[str], expected: list[str], tmp_path: Path
) -> None:
    """A Latin line beside Arabic script is Latin; marks and words marked as Latin are none."""
    text(tmp_path / "text", lines)
    assert [words for words, _ in kaldi.read_text(tmp_path / "text").values()] == expected


def packed(path: Path, names: Iterable[str]) -> Path:
    """Write a tar of empty files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as stream:
        for name in names:
            stream.addfile(tarfile.TarInfo(name))
    return path


@pytest.mark.parametrize(
    ("name", "command"),
    [("cv-corpus-23.0-ar.tar.gz", "tar -xf"), ("a.tgz", "tar -xf"), ("a.ZIP", "unzip a.ZIP"),
     ("a.tar.gz.aa", "cat a.tar.gz.* > a.tar.gz; tar -xf a.tar.gz"), ("audio/train_0.tar", "tar")],
)  # fmt: skip
def test_archives_are_named_with_the_way_out(name: str, command: str, tmp_path: Path) -> None:
    """They looked like an empty corpus, or one of another layout."""
    packed(tmp_path / name, ["x/a.wav"])
    text(tmp_path / "README.md", [""])
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(ValueError, match=re.escape(Path(name).name)) as caught:
            refuse_archive(place)
        assert command in str(caught.value)
        assert "WebDataset" not in str(caught.value)


def test_shards_of_webdataset_are_named(tmp_path: Path) -> None:
    """Their texts lie beside the audio and get lost where only audio is read."""
    packed(tmp_path / "shard-000000.tar", ["k1.wav", "k1.json", "k2.wav", "k2.json"])
    with pytest.raises(ValueError, match=r"WebDataset.*k1\.wav.*prepare tsv"):
        prepare("folder", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("beside", ["a.wav", "deep/a.FLAC", "manifest.tsv", "data.parquet"])
def test_an_archive_beside_its_corpus_is_no_fault(beside: str, tmp_path: Path) -> None:
    """Who unpacks keeps the download; tables may name audio elsewhere."""
    packed(tmp_path / "a.tar", ["a.wav"])
    text(tmp_path / beside, [""])
    refuse_archive(tmp_path)
    refuse_archive(tmp_path / "absent")


@given(st.text(max_size=12), st.sampled_from(["", "sub/", "C:\\", "\0"]))
def test_a_hint_on_any_name_is_one_visible_line(name: str, folder: str) -> None:
    """It ends in the list of what was skipped and on the terminal."""
    hint = near_miss(Path("/nowhere") / f"{folder}{name}")
    assert visible(hint) == hint
