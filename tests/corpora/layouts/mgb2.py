"""A tiny MGB-2: a programme each of train, dev and test, dev and test with overlapping speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import FIRST, SECOND, Seg, sound, text, write_xml

if TYPE_CHECKING:
    from pathlib import Path

TEST = "77777777-2C0B-4C81-BA8C-018175D0B4E3"
UTTERANCES = {
    f"{FIRST}_spk-0001_seg-0000000:0000050": "train",
    f"{FIRST}_spk-0001_seg-0000025:0000075": "train",
    f"{SECOND}_spk-0001_seg-0000000:0000050": "dev",
    f"{SECOND}_spk-0002_seg-0000025:0000075": "dev_overlap",
    f"{TEST}_spk-0001_seg-0000000:0000050": "test",
    f"{TEST}_spk-0002_seg-0000100:0000150": "test_overlap",
}
RAW = ("نَعَم ، # لا @@LAT@@ok", "### هَل تَسمَع")
BUCKWALTER = ("nEm lA @@LAT@@ok", "### hl tsmE")


def build(root: Path) -> None:
    """Write audio, XML, STM and Kaldi's files."""
    train = [Seg(0, "0.00", "0.50"), Seg(1, "0.25", "0.75", "مرحبا facebook")]
    sound(root / "DB/train/wav" / f"{FIRST}.wav", 3.0)
    write_xml(root / "DB/train/xml/utf8", FIRST, train)
    write_xml(
        root / "DB/train/xml/bw",
        FIRST,
        [Seg(0, "0.00", "0.50", "nEm lA"), Seg(1, "0.25", "0.75", "mrHbA @@LAT@@facebook")],
    )
    for split, name in (("dev", SECOND), ("test", TEST)):
        _evaluation(root / "DB" / split, split, name)
    folder, other = root / "DB/dev/xml/utf8", "transcript_manual"
    segments = [Seg(0, "0.00", "0.50", RAW[0]), Seg(1, "0.25", "0.75", RAW[1], "speaker2")]
    write_xml(folder, SECOND, segments, annotation=other)
    rows = [f"{TEST} 0 unknown 0.00 0.50 {RAW[0]}", f"{TEST} 0 overlap 1.00 1.50 {RAW[1]}"]
    for kind in ("orig", "norm", "ndnp"):
        text(root / f"DB/test/stm_{kind}.stm", [";; a comment", *rows])


def _evaluation(folder: Path, split: str, name: str) -> None:
    sound(folder / "wav" / f"{name}.wav", 3.0)
    ids = [uid for uid, other in UTTERANCES.items() if other.startswith(split)]
    text(folder / "wav.scp", [f"{name} sox wav/{name}.wav -t wav - |"])
    for kind, count in ((".all", 2), ("", 2), (".non_overlap_speech", 1)):
        lines = [f"{uid} {words}" for uid, words in zip(ids, BUCKWALTER, strict=True)]
        text(folder / f"text{kind}", lines[:count])
        rows = [f"{uid} {name} {_seconds(uid)}" for uid in ids]
        text(folder / f"segments{kind}", rows[:count])


def _seconds(uid: str) -> str:
    start, end = (int(each) / 100 for each in uid.rpartition("-")[2].split(":"))
    return f"{start:.2f} {end:.2f}"
