"""LibriSpeech: held to lhotse's recipe, and to what that recipe drops or stops at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.corpora.layouts.librispeech import Corpus
from tests.corpora.trees import kept, left_out, sound, text

if TYPE_CHECKING:
    from pathlib import Path


def test_reads_what_lhotse_reads(root: Path) -> None:
    """The recipe is the oracle for ids, texts, speakers and files, part by part."""
    from lhotse.recipes.librispeech import prepare_librispeech  # noqa: PLC0415 - heavy

    found = kept(Corpus().utterances(root))
    seen = {}
    for part, manifests in prepare_librispeech(root / "LibriSpeech").items():
        for segment in manifests["supervisions"]:
            source = manifests["recordings"][segment.recording_id].sources[0].source
            seen[segment.id] = (part, segment.text, f"librispeech_{segment.speaker}", source)
    assert seen == {
        uid: (item.custom["part"], item.text, item.speaker, str(item.audio))
        for uid, item in found.items()
    }


def test_gender_and_chapter(root: Path) -> None:
    """Gender stands in SPEAKERS.TXT alone, which not every copy has."""
    found = kept(Corpus().utterances(root / "LibriSpeech"))
    assert found["367-130732-0000"].gender == "male"
    assert found["103-1241-0000"].custom == {"chapter": "1241", "part": "train-clean-100"}
    (root / "LibriSpeech" / "SPEAKERS.TXT").unlink()
    assert kept(Corpus().utterances(root))["367-130732-0000"].gender is None


def test_what_is_missing_or_odd_is_accounted_for(root: Path) -> None:
    """A line without text, a file without a line, a line without a file, an id of elsewhere."""
    chapter = root / "LibriSpeech" / "train-clean-100" / "103" / "1240"
    sound(chapter / "103-1240-0007.flac")
    named = ("103-1240-0000", "", "103-1240-0001 THAT", "103-1240-0099 GONE")
    text(chapter / "103-1240.trans.txt", [*named, "../../x UP", "104-1240-0001 NO"])
    found = list(Corpus().utterances(root))
    assert left_out(found) == {"../../x": "bad row", "104-1240-0001": "bad row"}
    texts = {uid: item.text for uid, item in kept(found).items() if "1240" in uid}
    expected = {"0000": None, "0001": "THAT", "0007": None, "0099": "GONE"}
    assert texts == {f"103-1240-{number}": text for number, text in expected.items()}
    assert not kept(found)["103-1240-0099"].audio.exists()
