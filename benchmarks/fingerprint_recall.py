"""How often fingerprints find changed copies of real speech, and how often they err.

python benchmarks/fingerprint_recall.py ../shared/data [--utterances 200] [--others 3000]
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.tables import columns
from harness_bench.leakage.fingerprints import Builder, Index
from harness_bench.leakage.landmarks import Landmarks, landmarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


type Wave = NDArray[np.float32]

SETS = ("asc40", "cv_lid10", "fsdd_en")  # recordings of which no two hold the same sound
_SHIFT = 137 * SAMPLE_RATE // 1000 + 73  # no whole number of frames


def encoded(kind: str, codec: str, wave: Wave) -> Wave:
    """Encode at a low rate and decode again."""
    data = io.BytesIO()
    soundfile.write(data, wave, SAMPLE_RATE, format=kind, subtype=codec, compression_level=0.9)
    data.seek(0)
    return np.asarray(soundfile.read(data, dtype="float32")[0], dtype=np.float32)


mp3, opus = partial(encoded, "MP3", "MPEG_LAYER_III"), partial(encoded, "OGG", "OPUS")


def noisy(wave: Wave) -> Wave:
    """Add white noise at 20 dB."""
    level = 0.1 * np.sqrt(np.mean(wave**2))
    noise = np.random.default_rng(0).standard_normal(len(wave))
    return np.asarray(wave + level * noise, dtype=np.float32)


def middle(wave: Wave) -> Wave:
    """Cut the middle half out."""
    return wave[len(wave) // 4 + 77 : 3 * len(wave) // 4]


VARIANTS: dict[str, Callable[[Wave], Wave]] = {
    "gain of -14 dB": lambda wave: wave * np.float32(0.2),
    "mp3": mp3,
    "opus": opus,
    "begins 141 ms later": lambda wave: np.pad(wave, (_SHIFT, 0)),
    "first 141 ms cut off": lambda wave: wave[_SHIFT:],
    "white noise at 20 dB": noisy,
    "middle half": middle,
    "middle half, mp3": lambda wave: mp3(middle(wave)),
    "shifted, -10 dB, opus": lambda wave: opus(wave[_SHIFT:] * np.float32(0.3)),
}


def read(folder: Path, every: int = 1) -> list[Wave]:
    """Read the audio that a manifest names, or one file in so many of it."""
    with (folder / "manifest.tsv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [soundfile.read(folder / row["path"], dtype="float32")[0] for row in rows[::every]]


def indexed(prints: list[Landmarks]) -> Index:
    """Return an index of fingerprints."""
    builder = Builder()
    for each in prints:
        builder.add(each)
    return builder.build()


def recall(index: Index, waves: list[Wave], rows: list[int]) -> list[tuple[str, ...]]:
    """Return a row per change: how many of the changed utterances are found, by their length."""
    made: list[tuple[str, ...]] = [("change", "under 1.5 s", "1.5 to 4 s", "over 4 s")]
    for name, change in VARIANTS.items():
        tally: dict[int, list[bool]] = {0: [], 1: [], 2: []}
        for row in rows:
            found = index.matches(landmarks(change(waves[row])))
            seconds = len(waves[row]) / SAMPLE_RATE
            place = int(np.searchsorted([1.5, 4.0], seconds))
            tally[place].append(any(match.row == row for match in found))
        made.append((name, *(f"{sum(hits)} of {len(hits)}" for hits in tally.values())))
    return made


def main() -> None:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds the sets")
    parser.add_argument("--utterances", type=int, default=200, help="changed in every way")
    parser.add_argument("--others", type=int, default=3000, help="compared with each other")
    known = parser.parse_args()
    waves = [wave for name in SETS for wave in read(known.data / name)]
    random.Random(0).shuffle(waves)
    waves = waves[: known.others]
    start = time.process_time()
    prints = [landmarks(wave) for wave in waves]
    used, seconds = time.process_time() - start, sum(map(len, waves)) / SAMPLE_RATE
    index = indexed(prints)
    start = time.process_time()
    pairs = [
        (row, match.row)
        for row, each in enumerate(prints)
        for match in index.matches(each)
        if match.row > row
    ]
    search = time.process_time() - start
    rows = list(range(min(known.utterances, len(waves))))
    print("\n".join(columns(recall(index, waves, rows))))
    print(f"\nfalse alarms: {len(pairs)} of {len(waves) * (len(waves) - 1) // 2} pairs")
    print(
        f"{len(waves)} utterances, {seconds / 3600:.2f} h, {len(index.hashes) / seconds:.0f} "
        f"landmarks/s; fingerprints {seconds / used:.0f} times as fast as the audio lasts, "
        f"search {seconds / search:.0f} times (one core)"
    )


if __name__ == "__main__":
    main()
