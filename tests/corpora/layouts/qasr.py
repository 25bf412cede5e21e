"""A tiny QASR: one programme of train, one of dev, one of test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import FIRST, SECOND, Seg, sound, text, write_xml

if TYPE_CHECKING:
    from pathlib import Path

TEST = "77777777-2C0B-4C81-BA8C-018175D0B4E3"
UTTERANCES = {
    f"{FIRST}_spk-0001_seg-0000000:0000050": "train",
    f"{FIRST}_spk-0002_seg-0000025:0000075": "train",
    f"{SECOND}_spk-0001_seg-0000100:0000150": "dev",
    f"{TEST}_spk-0003_seg-0000010:0000060": "test",
}
SPEAKERS = (
    '<speaker id="{0}_speaker1_align" name="فلان" normalizedName="fln" speakerGender="female" '
    'speakerUnique="fln flAn"/><speaker id="{0}_speaker2_align" name="speaker2"/>'
)


def build(root: Path) -> None:
    """Write audio, XML and text."""
    sound(root / "wav" / f"{FIRST}.wav", 3.0)
    segments = [Seg(0, "0.00", "0.50"), Seg(1, "0.25", "0.75", "مرحبا hello .", "speaker2")]
    write_xml(root / "release/train_20210109/xml", FIRST, segments, speakers=SPEAKERS)
    for split, name, start in (("dev", SECOND, 100), ("test", TEST, 10)):
        folder = root / "release" / split
        sound(folder / "wav" / f"{name}.wav", 3.0)
        uid = next(uid for uid, other in UTTERANCES.items() if other == split)
        text(folder / "text.verbatim.nonoverlap", [f"{uid} نعم لا"])
        seg = Seg(0, f"{start / 100:.2f}", f"{start / 100 + 0.5:.2f}", "نعم لا", wmer="")
        write_xml(folder / "xml", name, [seg], annotation="transcript_manual", speakers=SPEAKERS)
