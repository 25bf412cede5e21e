"""A tiny Common Voice in Arabic: mp3 clips at 16 kHz, quotes in a sentence, all columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import sound, text

if TYPE_CHECKING:
    from pathlib import Path

HEADER = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents "
    "variant locale segment"
).replace(" ", "\t")
# clip -> split, speaker, sentence, gender, accent
CLIPS = {
    "common_voice_ar_19058307": ("train", "a" * 128, 'قال: "نعم', "male_masculine", ""),
    "common_voice_ar_19058308": ("train", "b" * 128, "أَيْنَ المكتبة؟", "", ""),
    "common_voice_ar_19058309": ("dev", "c" * 128, "لا", "female_feminine", "مصر"),
    "common_voice_ar_19058310": ("test", "d" * 128, "شكرا\u2028لك", "male", ""),
}
UTTERANCES = {clip: row[0] for clip, row in CLIPS.items()}


def build(root: Path) -> None:
    """Write clips and the three tables as release 17 has them."""
    folder = root / "cv-corpus-17.0-2024-03-15" / "ar"
    tables = {split: [HEADER] for split in ("train", "dev", "test")}
    for clip, (split, speaker, sentence, gender, accent) in CLIPS.items():
        sound(folder / "clips" / f"{clip}.mp3")
        cells = [speaker, f"{clip}.mp3", "0f3", sentence, "", "2", "0", "twenties", gender, accent]
        tables[split].append("\t".join([*cells, "", "ar", ""]))
    for split, rows in tables.items():
        text(folder / f"{split}.tsv", rows)
