"""Reading manifests: nothing of a row may be lost, moved to another column or invented."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.corpora.base import Skipped, Utterance, utterance_id
from harness_bench.corpora.formats.tables import ABSENT, SYNONYMS
from harness_bench.corpora.layouts.tsv import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import store
from harness_bench.cuts.fields import text_of
from tests.corpora.trees import kept, left_out, sound, text

# All of Unicode that can stand in a line, U+2028, vowel signs and direction marks included.
CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\t\n\r\0"), min_size=1, max_size=12
).filter(lambda text: text.strip() == text and text not in ABSENT and "\ufeff" not in text)
ROW = st.fixed_dictionaries(
    {"path": CELL, "transcript": CELL | st.just("-"), "accent": CELL | st.just("")}
)


def read(
    root: Path, content: str | bytes, name: str = "manifest.tsv", **options: str
) -> list[Utterance | Skipped]:
    data = content.encode() if isinstance(content, str) else content
    (root / name).write_bytes(data)
    return list(Corpus(manifest=name, **options).utterances(root))


@given(rows=st.lists(ROW, max_size=6), end=st.sampled_from(["\n", "\r\n"]))
def test_cells_survive_as_written(rows: list[dict[str, str]], end: str) -> None:
    """Quotes, exotic spaces and line separators in transcripts once glued or split rows."""
    columns = ["transcript", "path", "accent"]
    lines = ["\t".join(columns), *("\t".join(row[name] for name in columns) for row in rows)]
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), end.join(lines) + end)
    for item, row in zip(found, rows, strict=True):
        assert isinstance(item, Utterance)
        assert item.audio == Path(folder) / row["path"]
        assert item.text == (None if row["transcript"] == "-" else row["transcript"])
        assert item.custom == ({"accent": row["accent"]} if row["accent"] else {})


@given(relative=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_ids_have_no_space_and_no_slash(relative: str) -> None:
    """Other tools write one id and its text on a line, and files named by id."""
    found = utterance_id(relative)
    assert "/" not in found
    assert not any(sign.isspace() for sign in found)


@pytest.mark.parametrize(
    ("manifest", "split"),
    [
        ("\ufeffpath\tsplit\na.wav\ttest\n", "test"),  # spreadsheet programs write the mark
        ("path\na.wav\n", "train"),
        ("path\tsplit\na.wav\t-\n", ""),  # a row whose split was forgotten is not for training
    ],
)
def test_without_a_split_column_all_is_train(
    manifest: str, split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte order mark is no part of the first column."""
    (item,) = read(tmp_path, manifest)
    assert ("all is train" in capsys.readouterr().err) == ("split" not in manifest)
    assert isinstance(item, Utterance)
    assert (item.id, item.split) == ("a", split)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("clip\tsplit\na.wav\ttrain\n", "lacks path"),
        ("a.wav\tone\nb.wav\ttwo\n", "lacks path.*no header line"),
        ("# mine\npath\na.wav\n", "lacks path.*comment"),
        ("path\tsplit\tsplit\n", "repeats names"),
        ("path\tlabel\u200f\na.wav\tx\n", r"cannot be seen in label\\u200f"),
        ("path\tsplit\ra.wav\ttrain\r", "CR alone.*tr"),
        ("path\tسؤال\n".encode("windows-1256"), "not UTF-8.*iconv -t"),
        ("path\na.wav\n".encode("utf-16"), "not UTF-8.*iconv -f UTF-16"),
        ("path\na.wav\n".encode("utf-16-le"), "UTF-16"),
        ("path\treference_x/../../../../evil\na.wav\ttwo\n", "evil"),
        ("path\tstart\na.wav\t1\n", "start.*end or duration"),
        ("path\tend\na.wav\t1\n", "start.*end or duration"),
        ('path,text\na.wav,"one\nb.wav,two\n', "no line of CSV"),
    ],
)
def test_an_unusable_manifest_says_why(content: str | bytes, message: str, tmp_path: Path) -> None:
    """The file, what stands there and the way out."""
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, content)
    assert str(tmp_path / "manifest.tsv") in str(caught.value)


@given(rows=st.lists(ROW, max_size=6), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_csv_is_read_as_it_was_written(rows: list[dict[str, str]], quoting: int) -> None:
    """The csv module writes quotes, commas and quotes in quotes; spreadsheets the same."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["path", "transcript", "accent"], quoting=quoting)  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), stream.getvalue(), "manifest.csv")
    for item, row in zip(found, rows, strict=True):
        assert isinstance(item, Utterance)
        assert item.text == (None if row["transcript"] == "-" else row["transcript"])
        assert item.custom == ({"accent": row["accent"]} if row["accent"] else {})


@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_json_lines_say_what_their_table_says(rows: list[dict[str, str]]) -> None:
    """NeMo's manifests, whose keys come and go from line to line."""
    objects = [{key: value for key, value in row.items() if value} for row in rows]
    lines = "".join(json.dumps(each) + "\n" for each in objects)
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), lines, "manifest.jsonl")
    texts = [None if row["transcript"] == "-" else row["transcript"] for row in rows]
    assert [item.text for item in found if isinstance(item, Utterance)] == texts


def test_a_manifest_of_nemo(tmp_path: Path) -> None:
    """Found without being named, where it is the only one; null and a missing offset are absent."""
    text(tmp_path / "manifest.json", [
        '{"audio_filepath": "long.wav", "offset": 0.5, "duration": 2.5, "text": "one"}',
        '{"audio_filepath": "b.wav", "duration": 2, "text": null, "spk": 7}',
    ])  # fmt: skip
    first, second = Corpus().utterances(tmp_path)
    assert isinstance(first, Utterance)
    assert (first.id, first.start, first.duration) == ("long_0000500_0003000", 0.5, 2.5)
    assert isinstance(second, Utterance)
    assert (second.start, second.duration, second.text, second.custom) == (0, 2, None, {"spk": "7"})
    (half,) = read(tmp_path, '{"path": "a.wav", "text": "\\ud83d"}', "half.jsonl")
    assert isinstance(half, Utterance)
    assert half.text == "\\ud83d"  # escaped: no file can hold half a character
    for content, message in (
        ("[{}]", r"jq -c"),
        ("{", "no JSON object"),
        ('{"supervisions": 1}', "lhotse"),
    ):
        with pytest.raises(ValueError, match=message):
            read(tmp_path, content, "x.jsonl")


def test_start_and_end_are_segments(tmp_path: Path) -> None:
    """They were kept as fields, and each segment's text got the whole recording."""
    sound(tmp_path / "long.wav", seconds=2.0)
    rows = ["path,Start,end,transcript,label", "long.wav,0.25,1,one,x", "long.wav,1.0,2.005,two,y",
            "long.wav,1.5,2.5,three,z", "long.wav,1,0.5,four,z",
            "long.wav,0:01,2,five,z"]  # fmt: skip
    text(tmp_path / "manifest.csv", rows)
    report = prepare("tsv", tmp_path, tmp_path / "out", max_skipped=1)
    cuts = {cut.id: cut for cut in store.read_cuts(tmp_path / "out", "train")}
    assert {uid: (cut.start, cut.duration, text_of(cut)) for uid, cut in cuts.items()} == {
        "long_0000250_0001000": (0.25, 0.75, "one"), "long_0001000_0002005": (1.0, 1.0, "two"),
    }  # fmt: skip
    assert {item.reason.value for item in report.skipped_list} == {
        "past the end of its recording", "bad row",
    }  # fmt: skip
    assert len(report.skipped_list) == 3


@pytest.mark.parametrize("name", ["duration", "start", "end"])
@pytest.mark.parametrize(
    ("value", "way_out"),
    [("2,5", "write 2.5"), ("٢٫٥٠", "write 2.50"), ("0:01:02.5", "write 62.5"),
     ("1:02", "write 62"), ("-1", ""), ("inf", ""), ("2 s", "")],
)  # fmt: skip
def test_a_time_that_is_no_number_of_seconds(
    name: str, value: str, way_out: str, tmp_path: Path
) -> None:
    """Shown as it stands, with what to write where that is plain."""
    others = {"duration": "", "start": "\t1", "end": "\t3"} | {name: f"\t{value}"}
    columns = ["path", *(each for each, cell in others.items() if cell)]
    (item,) = read(tmp_path, "\t".join(columns) + "\na.wav" + "".join(others.values()) + "\n")
    assert isinstance(item, Skipped)
    assert name in item.detail
    assert repr(value) in item.detail
    assert way_out in item.detail


@pytest.mark.parametrize(("meaning", "others"), SYNONYMS.items())
def test_usual_names_are_understood(
    meaning: str, others: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Kaldi, NeMo, Common Voice and datasets write them, in any case, and said in one line."""
    for name in (meaning.upper(), *others, *(other.title() for other in others)):
        columns = {"path": "a.wav", "start": "1", "end": "3", "id": "x"}
        value = columns.pop(meaning, "ar")
        header, cells = "\t".join([*columns, name]), "\t".join([*columns.values(), value])
        (item,) = read(tmp_path, f"{header}\n{cells}\n")
        if meaning in ("duration", "split"):
            continue  # "ar" is none: they are told
        assert isinstance(item, Utterance), name
        known = {"path": item.audio.name, "transcript": item.text, "start": f"{item.start:g}",
                 "end": f"{item.start + (item.duration or 0):g}", "id": item.id}  # fmt: skip
        assert known.get(meaning, item.field(meaning)) == value
        assert f"read {name} as {meaning}" in capsys.readouterr().err


def test_several_transcripts_must_agree_or_be_chosen(tmp_path: Path) -> None:
    """Which of two was trained on was decided by the spelling of a header."""
    rows = "path\ttext\ttranscript\na.wav\tone\tone\nb.wav\tnan\ttwo\n"
    assert [item.text for item in kept(read(tmp_path, rows)).values()] == ["one", "two"]
    rows += "c.wav\tthree\tTHREE\n"
    with pytest.raises(ValueError, match=r":4 .*'THREE'.*'three'.*transcript=COLUMN"):
        read(tmp_path, rows)
    items = kept(read(tmp_path, rows, transcript="text"))
    assert [item.text for item in items.values()] == ["one", None, "three"]
    assert items["c"].custom == {"other_transcript": "THREE"}
    with pytest.raises(ValueError, match="transcript = 'nope' is no column"):
        read(tmp_path, rows, transcript="nope")


def test_words_for_nothing_are_absent_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A speaker called nan was shared by half a corpus. Small letters are words."""
    rows = "path\tspeaker\temotion\na.wav\tnan\tNone\nb.wav\tN/A\tnone\nc.wav\t-\tNone\n"
    items = kept(read(tmp_path, rows))
    assert [item.speaker for item in items.values()] == [None] * 3
    assert [item.custom for item in items.values()] == [{}, {"emotion": "none"}, {}]
    assert "emotion 'None': 2" in capsys.readouterr().err


def test_a_lone_cr_stays_in_its_cell(tmp_path: Path) -> None:
    """Pasted text has them; lines end at line feeds alone."""
    items = kept(read(tmp_path, "path\ttranscript\r\na.wav\tone\rmore\r\nb.wav\ttwo\r\n"))
    assert [item.text for item in items.values()] == ["one\rmore", "two"]


def test_names_that_others_spell_otherwise_are_found(tmp_path: Path) -> None:
    """A Mac writes hamza apart from its letter, Windows other separators; ids stay as written."""
    for name in ("clips/\u0623\u062d.wav", "e\u0301/x.wav", "b.wav"):
        sound(tmp_path / name)
    paths = ["clips\\\u0627\u0654\u062d.wav", "\u00e9\\x.wav", ".\\b.wav"]
    items = kept(read(tmp_path, "path\n" + "\n".join(paths) + "\n")).values()
    assert [item.audio.is_file() for item in items] == [True] * 3


def test_what_is_not_found_is_shown_with_a_hint(tmp_path: Path) -> None:
    """Marks that nobody sees, quotes and a suffix that was forgotten look right in a table."""
    sound(tmp_path / "a.wav")
    paths = [
        "\u200fa.wav",
        "a.wav\ufeff",
        '"a.wav"',
        "A",
        "a.WAV",
        "C:\\x\\a.wav",
        "sub/a.wav",
        "zz.wav",
    ]
    rows = "path\tid\n" + "".join(f"{path}\tu{place}\n" for place, path in enumerate(paths))
    (tmp_path / "manifest.tsv").write_text(rows, encoding="utf-8")
    with pytest.raises(ValueError, match="8 of 8"):
        prepare("tsv", tmp_path, tmp_path / "out", max_skipped=1)
    listed = (tmp_path / "out" / "skipped.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    told = [
        "U+200F",
        "U+FEFF",
        "quotes",
        "suffix",
        "'a.wav' is there",
        "Windows",
        "no folder sub",
        "",
    ]
    for line, hint in zip(listed, told, strict=True):
        assert hint in line.split("\t")[2]
        assert line.isprintable() or "\t" in line
    assert listed[-1].split("\t")[2] == "there is no such file"


def test_odd_ids_and_splits_are_left_out(tmp_path: Path) -> None:
    """Both become names of files and of lists."""
    sound(tmp_path / "a.wav")
    rows = "path\tid\tsplit\na.wav\tx/y\ttrain\na.wav\tx\x1b[31m\ttrain\na.wav\tz\t../x\n"
    (tmp_path / "manifest.tsv").write_text(rows)
    with pytest.raises(ValueError, match="3 of 3") as caught:
        prepare("tsv", tmp_path, tmp_path / "up" / "out", max_skipped=1)
    assert "\x1b" not in str(caught.value)
    assert "\x1b" not in (tmp_path / "up" / "out" / "skipped.tsv").read_text()
    assert {path.name for path in (tmp_path / "up").iterdir()} == {"out"}
    assert left_out(read(tmp_path, "path\n\t\nb.wav\tc\n")) == {"b.wav": "bad row"}


def test_which_table(tmp_path: Path) -> None:
    """The table itself is given for its folder; of several none is guessed."""
    for name in ("manifest.csv", "metadata.csv"):
        text(tmp_path / name, ["path", "a.wav"])
    for root, message in ((tmp_path / "metadata.csv", "manifest=metadata.csv"),
                          (tmp_path, "holds manifest.csv, metadata.csv")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            list(Corpus().utterances(root))
    (tmp_path / "metadata.csv").unlink()
    assert len(list(Corpus().utterances(tmp_path))) == 1


@pytest.mark.parametrize(
    "header", ["path\tduration\na.wav\t2000\n", "path\tstart\tend\na.wav\t500\t1500\n"]
)
def test_milliseconds_are_told(header: str, tmp_path: Path) -> None:
    """Many tools count so, and the figures alone do not say it."""
    sound(tmp_path / "a.wav", seconds=2.0)
    (tmp_path / "manifest.tsv").write_text(header)
    with pytest.raises(ValueError, match=r"milliseconds\?"):
        prepare("tsv", tmp_path, tmp_path / "out")
