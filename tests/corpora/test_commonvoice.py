"""Common Voice: held to lhotse's recipe, and to releases that it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_bench.corpora.layouts.commonvoice import Corpus
from harness_bench.corpora.prepare import PrepareConfig, prepare
from tests.corpora.trees import build, kept, left_out

RELEASE = Path("cv-corpus-17.0-2024-03-15")


def table(root: Path, text: str) -> Path:
    """Write train.tsv alone."""
    (root / "ar").mkdir(parents=True, exist_ok=True)
    (root / "ar" / "train.tsv").write_text(text, encoding="utf-8")
    return root


def test_reads_what_lhotse_reads(tmp_path: Path) -> None:
    """The recipe's own parser is the oracle, row by row, quotes and all."""
    import csv  # noqa: PLC0415 - beside the oracle that reads by it

    from lhotse.recipes import commonvoice  # noqa: PLC0415 - heavy

    build("commonvoice", tmp_path)
    folder, seen = tmp_path / RELEASE / "ar", {}
    for split in ("train", "dev", "test"):
        with (folder / f"{split}.tsv").open(encoding="utf-8", newline="\n") as stream:
            for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
                parsed = commonvoice._parse_utterance(folder, "ar", row)
                assert parsed is not None
                recording, segment = parsed
                source = recording.sources[0].source
                seen[segment.id] = (split, segment.text, segment.speaker, source)
    found = kept(Corpus().utterances(tmp_path))
    assert seen == {
        uid: (item.split, item.text, item.speaker, str(item.audio)) for uid, item in found.items()
    }


def test_fields_of_a_row(tmp_path: Path) -> None:
    """Genders changed their names over the releases; empty cells are absent."""
    build("commonvoice", tmp_path)
    found = kept(Corpus().utterances(tmp_path))
    assert [item.gender for item in found.values()] == ["male", None, "female", "male"]
    assert found["common_voice_ar_19058309"].custom == {"accent": "مصر", "age": "twenties"}
    assert {item.language for item in found.values()} == {"ar"}


def test_old_releases_lack_columns_and_suffixes(tmp_path: Path) -> None:
    """`accents` and `variant` came with release 10; the first had paths without .mp3."""
    text = (
        "client_id\tpath\tsentence\tup_votes\tage\tgender\taccent\nab\tclip1\tنعم\t2\t\tother\t\n"
    )
    (item,) = kept(Corpus().utterances(table(tmp_path, text))).values()
    assert (item.id, item.audio) == ("clip1", tmp_path / "ar" / "clips" / "clip1.mp3")
    assert (item.gender, item.custom, item.text) == ("other", {}, "نعم")


def test_odd_rows_are_listed(tmp_path: Path) -> None:
    """No path leads out of the clips; a name too long for the disk is no crash."""
    long = "n" * 300
    text = (
        "client_id\tpath\tsentence\na\t../../etc/x.mp3\tb\na\tb\n\na\t\tb\na\t.mp3\tb\n"
        f"\tc.mp3\t\na\t{long}.mp3\tb\n"
    )
    found = list(Corpus().utterances(table(tmp_path, text)))
    assert left_out(found) == {f"row {number} of train": "bad row" for number in (2, 3, 5, 6)}
    assert (kept(found)["c"].speaker, kept(found)["c"].text) == (None, None)
    with pytest.raises(ValueError, match="6 of 6 utterances"):
        prepare("commonvoice", tmp_path, tmp_path / "out", PrepareConfig(max_skipped=0.5))


def test_a_clip_in_two_tables_is_told(tmp_path: Path) -> None:
    """The first counts: a clip of train that is in test too would be a leak within one corpus."""
    build("commonvoice", tmp_path / "corpus")
    folder = tmp_path / "corpus" / RELEASE / "ar"
    row = (folder / "train.tsv").read_text(encoding="utf-8").split("\n")[1]
    with (folder / "test.tsv").open("a", encoding="utf-8") as stream:
        stream.write(row + "\n")
    config = PrepareConfig(max_skipped=0.5)
    report = prepare("commonvoice", tmp_path / "corpus", tmp_path / "out", config)
    assert report.skipped == {"duplicate id": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a header"),
        ("client_id,path,sentence\n", "the header lacks client_id, path, sentence"),
        ("client_id\tpath\tsentence\tpath\n", "repeats names"),
    ],
)
def test_an_unusable_table_is_told(text: str, message: str, tmp_path: Path) -> None:
    """Tables saved again by a spreadsheet program lose their tabs."""
    with pytest.raises(ValueError, match=message):
        list(Corpus().utterances(table(tmp_path, text)))


def test_which_language_and_release(tmp_path: Path) -> None:
    """Two releases share clips, so both at once would be the same speech twice."""
    build("commonvoice", tmp_path)
    with pytest.raises(ValueError, match=r"language 'en'.*option language=CODE"):
        list(Corpus(language="en").utterances(tmp_path))
    for place in (tmp_path / RELEASE, tmp_path / RELEASE / "ar"):
        assert len(list(Corpus().utterances(place))) == 4
    (tmp_path / RELEASE).rename(tmp_path / "cv-corpus-7.0")
    build("commonvoice", tmp_path)
    with pytest.raises(ValueError, match="holds several of Common Voice"):
        list(Corpus().utterances(tmp_path))
