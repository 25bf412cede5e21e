"""Common Voice: held to lhotse's recipe, and to releases that it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_bench.corpora.layouts.commonvoice import Corpus
from harness_bench.corpora.prepare import prepare
from tests.corpora.trees import build, kept, left_out, refused, sound, text

RELEASE = Path("cv-corpus-17.0-2024-03-15")


def test_reads_what_lhotse_reads(root: Path) -> None:
    """The recipe's own parser is the oracle, row by row, quotes and all."""
    import csv  # noqa: PLC0415 - beside the oracle that reads by it

    from lhotse.recipes import commonvoice  # noqa: PLC0415 - heavy

    folder, seen = root / RELEASE / "ar", {}
    for split in ("train", "dev", "test"):
        with (folder / f"{split}.tsv").open(encoding="utf-8", newline="\n") as stream:
            for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
                parsed = commonvoice._parse_utterance(folder, "ar", row)
                assert parsed is not None
                recording, segment = parsed
                source = recording.sources[0].source
                seen[segment.id] = (split, segment.text, segment.speaker, source)
    found = kept(Corpus().utterances(root))
    assert seen == {
        uid: (item.split, item.text, item.speaker, str(item.audio)) for uid, item in found.items()
    }


def test_fields_of_a_row(root: Path) -> None:
    """Genders changed their names over the releases; empty cells are absent."""
    found = kept(Corpus().utterances(root))
    assert [item.gender for item in found.values()] == ["male", None, "female", "male"]
    assert found["common_voice_ar_19058309"].custom == {"accent": "مصر", "age": "twenties"}
    assert {item.language for item in found.values()} == {"ar"}


def test_old_releases_lack_columns_and_suffixes(tmp_path: Path) -> None:
    """`accents` and `variant` came with release 10; the first had paths without .mp3."""
    columns = "client_id\tpath\tsentence\tup_votes\tage\tgender\taccent"
    text(tmp_path / "ar" / "train.tsv", [columns, "ab\tclip1\tنعم\t2\t\tother\t"])
    (item,) = kept(Corpus().utterances(tmp_path)).values()
    assert (item.id, item.audio) == ("clip1", tmp_path / "ar" / "clips" / "clip1.mp3")
    assert (item.gender, item.custom, item.text) == ("other", {}, "نعم")


def test_odd_rows_are_listed(tmp_path: Path) -> None:
    """No path leads out of the clips; a name too long for the disk is no crash."""
    odd = ("a\t../../etc/x.mp3\tb", "a\tb", "", "a\t\tb", "a\t.mp3\tb", "\tc.mp3\t")
    rows = ["client_id\tpath\tsentence", *odd, f"a\t{'n' * 300}.mp3\tb"]
    text(tmp_path / "ar" / "train.tsv", rows)
    found = list(Corpus().utterances(tmp_path))
    assert left_out(found) == {f"row {number} of train": "bad row" for number in (2, 3, 5, 6)}
    assert (kept(found)["c"].speaker, kept(found)["c"].text) == (None, None)
    with pytest.raises(ValueError, match="6 of 6 utterances"):
        prepare("commonvoice", tmp_path, tmp_path / "out", max_skipped=0.5)


def test_a_clip_in_two_tables_is_told(root: Path, tmp_path: Path) -> None:
    """The first counts: a clip of train that is in test too would be a leak within one corpus."""
    folder = root / RELEASE / "ar"
    row = (folder / "train.tsv").read_text(encoding="utf-8").split("\n")[1]
    with (folder / "test.tsv").open("a", encoding="utf-8") as stream:
        stream.write(row + "\n")
    report = prepare("commonvoice", root, tmp_path / "out", max_skipped=0.5)
    assert report.skipped == {"duplicate id": 1}


def test_which_language_and_release(root: Path) -> None:
    """Two releases share clips, so both at once would be the same speech twice."""
    refused(Corpus(language="en"), root, r"language 'en'.*option language=CODE")
    for place in (root / RELEASE, root / RELEASE / "ar"):
        assert len(list(Corpus().utterances(place))) == 4
    (root / RELEASE).rename(root / "cv-corpus-7.0")
    build("commonvoice", root)
    refused(Corpus(), root, "holds several of Common Voice")


def test_a_release_of_today(root: Path, tmp_path: Path) -> None:
    """Tables of sentences and durations lie beside those of clips, and hold no utterances."""
    folder = root / RELEASE / "ar"
    text(folder / "clip_durations.tsv", ["clip\tduration[ms]", "common_voice_ar_19058307.mp3\t500"])
    columns = ("sentence_id", "sentence", "variant", "sentence_domain", "source", "is_used")
    text(folder / "validated_sentences.tsv", ["\t".join((*columns, "clips_count"))])
    text(folder / "unvalidated_sentences.tsv", ["\t".join(columns)])
    for name in ("validated", "other", "invalidated", "reported"):
        text(folder / f"{name}.tsv", ["client_id\tpath"])
    (root / RELEASE).rename(root / "cv-corpus-27.0-2026-09-11")
    report = prepare("commonvoice", root, tmp_path / "out", require=["text"])
    assert (report.kept, report.skipped) == (4, {})


def test_spontaneous_speech_of_today(tmp_path: Path) -> None:
    """One table, other names; what no one has validated has no split and is left out by rule."""
    columns = (
        "client_id audio_id audio_file duration_ms prompt_id prompt transcription votes age gender "
        "accents variant language prompt_upvotes prompt_reports is_edited split char_per_sec "
        "quality_tags"
    )
    folder = tmp_path / "sps-corpus-5.0-2026-09-11-ar"
    rows = [columns.replace(" ", "\t")]
    for number, (split, said) in enumerate(
        [("train", "اه [noise] نعم"), ("dev", "لا"), ("unassigned", "")]
    ):
        clip = sound(folder / "audios" / f"spontaneous-speech-ar-{number}.mp3").name
        rows.append(
            f"c{number}\t{number}\t{clip}\t500\t7\tكيف؟\t{said}\t2\ttwenties\tfemale_feminine\t\t"
            f"\tArabic\t1\t0\t0\t{split}\t9.5\tshort-audio"
        )
    text(folder / "ss-corpus-ar.tsv", rows)
    text(folder / "ss-reported-audios-ar.tsv", ["client_id\taudio_id"])
    for place in (tmp_path, folder):
        found = list(Corpus().utterances(place))
        assert left_out(found) == {"spontaneous-speech-ar-2": "left out by the corpus's rule"}
        first, second = kept(found).values()
        assert (first.text, first.split, first.gender) == ("اه [noise] نعم", "train", "female")
        assert (second.text, second.split, second.language) == ("لا", "dev", "ar")
    assert prepare("commonvoice", tmp_path, tmp_path / "out", max_skipped=0).kept == 2


def test_clips_that_are_still_packed_are_named(tmp_path: Path) -> None:
    """Mirrors give the tables beside archives of clips."""
    text(tmp_path / "ar" / "train.tsv", ["client_id\tpath\tsentence", "a\tb.mp3\tc"])
    (tmp_path / "ar" / "clips.tar").touch()
    for place, told in ((tmp_path, "tar -xf clips.tar"), (tmp_path / "ar", "no folder clips")):
        with pytest.raises(ValueError, match=f"{told}.*") as caught:
            prepare("commonvoice", place, tmp_path / "out", max_skipped=1)
        assert "clips.tar" in str(caught.value)
