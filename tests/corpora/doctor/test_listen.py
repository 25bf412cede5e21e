"""The corpus doctor on shards: what is inside them is heard, and a torn one is a fault."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harness_bench.corpora.check import Limits
from harness_bench.corpora.doctor import listen as listening
from harness_bench.corpora.doctor.examine import examine
from harness_bench.corpora.doctor.listen import Listening
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts.fields import with_custom
from harness_bench.cuts.shar import read_shards, write_shards
from harness_bench.cuts.store import read_cuts
from tests.corpora.doctor.conftest import kinds

RATE = 16_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten utterances in five shards: one silent, one clipped, one short, one of float samples."""
    root = tmp_path / "corpus"
    root.mkdir()
    for number in range(10):
        seconds = 0.3 if number == 2 else 1.0
        wave = 0.1 * np.random.default_rng(number).standard_normal(round(seconds * RATE))
        wave = np.clip(wave * {0: 0.001, 1: 30}.get(number, 1), -1, 1)
        subtype = "FLOAT" if number == 3 else "PCM_16"
        soundfile.write(root / f"u{number}.wav", wave, RATE, subtype=subtype)
    rows = [f"u{number}.wav\ts{number % 2}" for number in range(10)]
    (root / "manifest.tsv").write_text("\n".join(["path\tspeaker", *rows]) + "\n")
    config = PrepareConfig(limits=Limits(silence_db=-200.0), jobs=1)
    prepare("tsv", root, tmp_path / "cuts", config)
    write_shards(read_cuts(tmp_path / "cuts", "train"), tmp_path / "shar", shard_cuts=2)
    return tmp_path / "shar"


def test_what_is_inside_shards_is_heard(folder: Path) -> None:
    """As in prepared folders, digests too; rounding to 16 bits is a note and no fault."""
    found = examine(folder)
    assert kinds(folder / "doctor") == {
        "u0": {"silent"},
        "u1": {"clipped"},
        "u2": {"too short"},
        "u3": {"other samples than were prepared"},
    }
    assert found.findings.faults == 1
    assert not found.sound
    assert found.findings.heard == 10
    assert [(line.verdict, line.known) for line in found.lines] == [("equal", "10")]
    tally = json.loads((folder / "doctor" / "doctor.json").read_text())["splits"]["shards"]
    assert (tally["utterances"], tally["speakers"]) == (10, 2)
    assert tally["hours"] == pytest.approx(9.3 / 3600, abs=1e-4)


@pytest.mark.parametrize("audio", ["none", 1, 4, 400])
def test_listening_to_less(folder: Path, audio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cuts drawn are those of the prepared folder, and other shards are not read."""
    read: list[int] = []

    def note(shards: list[Any]) -> object:
        read.extend(shard.number for shard in shards)
        return read_shards(shards)

    monkeypatch.setattr(listening, "read_shards", note)
    found = examine(folder, config=Listening(audio=audio))
    expected = 0 if audio == "none" else min(audio, 10)
    assert found.findings.heard == expected
    assert len(read) <= expected


def test_a_torn_shard_is_a_fault_and_the_others_are_heard(folder: Path) -> None:
    """So is one utterance inside a whole archive whose audio does not decode."""
    torn, broken = (folder / f"recording.00000{number}.tar" for number in (1, 3))
    torn.write_bytes(torn.read_bytes()[:700])
    data = broken.read_bytes()
    at = data.index(b"fLaC")
    broken.write_bytes(data[:at] + b"\0" * 400 + data[at + 400 :])
    found = examine(folder)
    unread = {uid for uid, each in kinds(folder / "doctor").items() if "unreadable audio" in each}
    assert len(unread - {"shard 000001"}) == 1
    assert found.findings.counts["unreadable audio"] == len(unread) == 2
    assert found.findings.heard == 8


def test_shards_are_held_against_their_index(folder: Path, tmp_path: Path) -> None:
    """An index beside fewer cuts than it tells of; figures of one's own call all `shards`.

    Shards of others have none: their cuts would be held against themselves, and found equal.
    """
    known = tmp_path / "mine.toml"
    known.write_text(
        'source = "mine"\n[[figures]]\nsplits = ["shards"]\nwhat = "utterances"\nvalue = "10"\n'
    )
    index = json.loads((folder / "index.json").read_text())
    index[0]["utterances"] = 3
    (folder / "index.json").write_text(json.dumps(index))
    found = examine(folder, config=Listening(audio="none"), known=known)
    assert [(line.verdict, line.known, line.counted) for line in found.lines] == [
        ("equal", "10", "10"), ("differs", "11", "10"),
    ]  # fmt: skip
    (folder / "index.json").unlink()
    assert examine(folder, config=Listening(audio="none")).lines == []


@pytest.mark.usefixtures("folder")
def test_cuts_without_a_digest_are_heard(tmp_path: Path) -> None:
    """Corpora prepared from headers have none."""
    bare = [with_custom(cut, audio_digest=None) for cut in read_cuts(tmp_path / "cuts", "train")]
    write_shards(bare, tmp_path / "bare")
    examine(tmp_path / "bare")
    assert "u3" not in kinds(tmp_path / "bare" / "doctor")
