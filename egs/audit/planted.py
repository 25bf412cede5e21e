"""Make a small corpus with one planted leak of every kind, and show that the audit finds each.

Example:
    python egs/audit/planted.py runs/audit-demo

The audio is synthetic: voiced syllables of random pitch and formants.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import soundfile
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from harness_bench.audio.io import digest_samples
from harness_bench.audio.resample import resample
from harness_bench.core.files import write_text
from harness_bench.core.tables import columns
from harness_bench.cuts.fields import DIGEST
from harness_bench.cuts.shar import write_shards
from harness_bench.cuts.store import write_cuts
from harness_bench.leakage.audit import audit

if TYPE_CHECKING:
    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.leakage.audit import AuditReport

RATE = 16_000
SENTENCE = "one long sentence of fourteen words that nobody says twice by chance in life"
MISSING = "dev_missing"  # the utterance whose audio is taken away


class Planted(NamedTuple):
    """One thing that two sets share."""

    first: str
    second: str
    kind: str
    what: str
    leak: bool = True
    cases: int = 1  # found at least


PLANTED = (
    Planted("train", "dev", "speaker", "one speaker reads for both"),
    Planted("dev", "test", "cluster", "two utterances of one video"),
    Planted("train", "test", "recording", "two ends of one long file"),
    Planted("train", "dev", "span", "segments of one file that overlap by a second"),
    Planted("dev", "test", "span", "segments of one video that overlap by their file names"),
    Planted("train", "test", "audio", "a copy of a file under another name"),
    Planted(
        "test",
        "pretraining",
        "near",
        "quieter, shifted, through MP3; cut short, through Opus",
        cases=2,
    ),
    Planted(
        "dev",
        "pretraining",
        "near",
        "at speed 0.9; at speed 1.1, through MP3; 2 s of it at speed 1.02",
        cases=3,
    ),
    Planted("train", "test", "text", "a sentence of fourteen words"),
    Planted("train", "test", "short text", "one word", leak=False),
    Planted("test", "list", "id", "a list names an utterance of test"),
)


def voice(seed: int, seconds: float) -> NDArray[np.float32]:
    """Return made speech: syllables of harmonics under three formants, with pauses."""
    rng = np.random.default_rng([7, seed])
    parts: list[NDArray[np.float64]] = []
    while sum(map(len, parts)) < seconds * RATE:
        time = np.arange(int(RATE * rng.uniform(0.08, 0.3))) / RATE
        pitch = rng.uniform(90, 250) * (1 + rng.uniform(-0.2, 0.2) * time / time[-1])
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formants = rng.uniform([300, 900, 2200], [800, 2000, 3500])
        wave = 0.01 * rng.standard_normal(len(time))
        for number in range(1, 30):
            distance = (number * pitch.mean() - formants) / 180
            wave += np.exp(-(distance**2) / 2).sum() * np.sin(number * phase) / 3
        parts += [wave * np.hanning(len(time)), np.zeros(int(RATE * rng.uniform(0.01, 0.1)))]
    whole = np.concatenate(parts)[: int(seconds * RATE)]
    return np.asarray(0.3 * whole / np.abs(whole).max(), dtype=np.float32)


@dataclass
class Making:
    """Writes audio and describes it as `prepare` does."""

    folder: Path
    seed: int = 0
    cuts: dict[str, list[Cut]] = field(default_factory=dict)

    def fresh(self, seconds: float) -> NDArray[np.float32]:
        """Return speech that was never there before."""
        self.seed += 1
        return voice(self.seed, seconds)

    def add(self, split: str, uid: str, wave: NDArray[np.float32], **more: Any) -> Path:
        """Write a file and put it into a split as one utterance; return the file."""
        path = self.folder / "audio" / f"{split}_{uid}{more.pop('suffix', '.wav')}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, RATE, subtype=more.pop("subtype", None))
        self.segment(split, uid, path, **more)
        return path

    def segment(self, split: str, uid: str, path: Path, **more: Any) -> None:
        """Put a file, or so much of it from `start` for `seconds`, into a split."""
        wave, _ = soundfile.read(path, dtype="float32", always_2d=True)
        start, seconds = more.pop("start", 0.0), more.pop("seconds", None)
        seconds = len(wave) / RATE - start if seconds is None else seconds
        name = f"{split}_{uid}"
        heard = wave[round(start * RATE) : round((start + seconds) * RATE)]
        source = AudioSource("file", [0], str(path.absolute()))
        recording = Recording(name, [source], RATE, len(wave), len(wave) / RATE)
        custom = {key: more.pop(key) for key in list(more) if key not in ("speaker", "text")}
        more = {"speaker": f"speaker of {name}", **more}
        said = SupervisionSegment(name, name, 0.0, seconds, custom=custom or None, **more)
        known = {DIGEST: digest_samples(heard)}
        cut = MonoCut(name, start, seconds, 0, [said], recording=recording, custom=known)
        self.cuts.setdefault(split, []).append(cut)


def build(folder: Path) -> list[str]:
    """Write the sets with their leaks; return how `harness-bench audit` is to name them."""
    made = Making(folder)
    for split in ("train", "dev", "test", "pretraining"):
        for number in range(5):
            made.add(split, f"clean{number}", made.fresh(3.0), text=f"text {split} {number}")
    made.add("train", "speaker", made.fresh(3.0), speaker="mina")
    made.add("dev", "speaker", made.fresh(3.0), speaker="mina")
    for split, span in {"dev": ("10.0", "14.0"), "test": ("12.0", "15.0")}.items():
        video = {"cluster": "video7", "video_start": span[0], "video_end": span[1]}
        made.add(split, "video", made.fresh(3.0), **video)
    # One long file for train and test, another for train and dev, a second of it for both.
    for name, other, start in (("far", "test", 6.0), ("over", "dev", 2.0)):
        path = folder / "audio" / f"{name}.wav"
        soundfile.write(path, made.fresh(9.0), RATE)
        made.segment("train", name, path, seconds=3.0)
        made.segment(other, name, path, start=start, seconds=3.0)
    copied = made.fresh(3.0)
    made.add("train", "copied", copied)
    made.add("test", "copy", copied)
    _plant_sounds(made)
    for split in ("train", "test"):
        made.add(split, "sentence", made.fresh(4.0), text=SENTENCE)
        made.add(split, "word", made.fresh(1.0), text="yes")
    missing = made.add("dev", "missing", made.fresh(3.0))
    for split in ("train", "dev", "test"):
        write_cuts(folder / "cuts", split, made.cuts[split])
    write_shards(made.cuts["pretraining"], folder / "shar", shard_cuts=4)
    write_text(folder / "ids.txt", "# must not be trained on\ntest_clean3\n")
    missing.unlink()
    cuts = [f"{split}={folder / 'cuts'}:{split}" for split in ("train", "dev", "test")]
    return [*cuts, f"pretraining={folder / 'shar'}", f"list={folder / 'ids.txt'}"]


def _plant_sounds(made: Making) -> None:
    """Put changed copies of test audio into pretraining: what no digest sees."""
    first, second = made.fresh(4.0), made.fresh(8.0)
    made.add("test", "heard", first)
    shifted = np.pad(first * np.float32(0.3), (RATE // 7, 0))
    made.add("pretraining", "mp3", shifted, suffix=".mp3", subtype="MPEG_LAYER_III")
    made.add("test", "short", second[3 * RATE : 5 * RATE + 77])
    made.add("pretraining", "opus", second, suffix=".ogg", subtype="OPUS")
    kinds = {"suffix": ".mp3", "subtype": "MPEG_LAYER_III"}
    for name, speed, more in (("slow", 0.9, {}), ("fast", 1.1, kinds), ("drift", 1.02, {})):
        wave = made.fresh(6.0)
        made.add("dev", name, wave[2 * RATE : 4 * RATE] if name == "drift" else wave)
        copy = resample(wave, round(speed * RATE), RATE)
        made.add("pretraining", name, copy, **more)


def missed(report: AuditReport) -> list[Planted]:
    """Return what was planted and not found, or found with another verdict."""
    found = {
        (pair.first, pair.second, finding.kind, finding.leak): finding.values
        for pair in report.pairs
        for finding in pair.findings
    }
    return [
        each
        for each in PLANTED
        if found.get((each.first, each.second, each.kind, each.leak), 0) < each.cases
    ]


def main() -> int:
    """Build, audit, show; return 1 if a planted leak was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    folder = parser.parse_args().out
    report = audit(build(folder))
    write_text(folder / "leakage.md", report.markdown())
    gone, rows = missed(report), [("planted", "between", "verdict", "", "what")]
    for each in PLANTED:
        verdict, outcome = "LEAK" if each.leak else "note", "MISSED" if each in gone else "found"
        rows.append((each.kind, f"{each.first} and {each.second}", verdict, outcome, each.what))
    print(report.text())
    print("\nSynthetic audio; what was planted:")
    print("\n".join(columns(rows, texts=True)))
    print(f"\nReport: {folder / 'leakage.md'}")
    return 1 if gone else 0


if __name__ == "__main__":
    sys.exit(main())
