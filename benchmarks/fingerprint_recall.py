"""How often fingerprints find changed copies of real speech, how often they err, what they cost.

python benchmarks/fingerprint_recall.py ../shared/data [--utterances 240] [--others 3000]
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import random
import sys
import time
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import soundfile
from scipy.signal import fftconvolve

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.resample import resample
from harness_bench.core.tables import columns
from harness_bench.leakage.index import SPEEDS, Builder, Index, grid
from harness_bench.leakage.landmarks import Fingerprint, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray


type Wave = NDArray[np.float32]

SETS = ("asc40", "cv_lid10", "fsdd_en")  # recordings of which no two hold the same sound
OTHERS = ("cv_ar", "asc_sentences")  # of which some do; none at another speed
GRID = grid(*SPEEDS)
_SHIFT = 137 * SAMPLE_RATE // 1000 + 73  # no whole number of frames


def encoded(kind: str, codec: str, wave: Wave) -> Wave:
    """Encode at a low rate and decode again."""
    data = io.BytesIO()
    soundfile.write(data, wave, SAMPLE_RATE, format=kind, subtype=codec, compression_level=0.9)
    data.seek(0)
    return np.asarray(soundfile.read(data, dtype="float32")[0], dtype=np.float32)


mp3, opus = partial(encoded, "MP3", "MPEG_LAYER_III"), partial(encoded, "OGG", "OPUS")


def noisy(wave: Wave, decibel: float = 20) -> Wave:
    """Add white noise at so many dB below the speech."""
    level = 10 ** (-decibel / 20) * np.sqrt(np.mean(wave**2))
    noise = np.random.default_rng(0).standard_normal(len(wave))
    return np.asarray(wave + level * noise, dtype=np.float32)


def fast_and_noisy(decibel: float, wave: Wave) -> Wave:
    """Play at 1.05 and add white noise at so many dB."""
    return noisy(faster(1.05, wave), decibel)


def in_a_room(wave: Wave) -> Wave:
    """Play in a room: the sound dies away by 60 dB in 0.6 s."""
    time = np.arange(round(0.6 * SAMPLE_RATE)) / SAMPLE_RATE
    echo = np.random.default_rng(0).standard_normal(len(time)) * 10 ** (-3 * time / 0.6)
    echo[0] = np.sqrt((echo**2).sum())  # the direct sound is as loud as all echoes
    return np.asarray(fftconvolve(wave, echo / echo[0]), dtype=np.float32)


def middle(wave: Wave) -> Wave:
    """Cut the middle half out."""
    return wave[len(wave) // 4 + 77 : 3 * len(wave) // 4]


def faster(speed: float, wave: Wave) -> Wave:
    """Play at another speed, as a tape does: tempo and pitch change together."""
    return resample(wave, round(SAMPLE_RATE * speed), SAMPLE_RATE)


def stretched(tempo: float, wave: Wave) -> Wave:
    """Change the tempo and keep the pitch, by FFmpeg's WSOLA."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=SAMPLE_RATE, format="flt", layout="mono", time_base=Fraction(1, SAMPLE_RATE)
    )
    graph.link_nodes(source, graph.add("atempo", str(tempo)), graph.add("abuffersink")).configure()
    frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="flt", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    graph.push(frame)
    graph.push(None)
    parts: list[Wave] = []
    with contextlib.suppress(av.error.EOFError, av.error.BlockingIOError):
        while True:
            parts.append(graph.pull().to_ndarray()[0])
    return np.concatenate(parts)


def higher(pitch: float, wave: Wave) -> Wave:
    """Change the pitch and keep the tempo."""
    return faster(pitch, stretched(1 / pitch, wave))


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
    **{f"speed {each}": partial(faster, each) for each in (0.9, 0.95, 0.98, 1.02, 1.05, 1.1)},
    "speed 1.1, mp3": lambda wave: mp3(faster(1.1, wave)),
    "middle half, speed 0.95": lambda wave: faster(0.95, middle(wave)),
}
# What is not promised to be found, and how much of it is.
LIMITS: dict[str, Callable[[Wave], Wave]] = {
    **{f"speed {each}": partial(faster, each) for each in (0.8, 0.87, 1.13, 1.25)},
    **{f"tempo {each}": partial(stretched, each) for each in (0.9, 0.98, 1.02, 1.1)},
    **{f"pitch {each}": partial(higher, each) for each in (0.9, 0.98, 1.02, 1.1)},
    "in a room": in_a_room,
    **{f"white noise at {each} dB": partial(noisy, decibel=each) for each in (10, 5, 0)},
    **{f"speed 1.05, noise at {each} dB": partial(fast_and_noisy, each) for each in (20, 10, 5, 0)},
}


def read(folder: Path, every: int = 1) -> list[Wave]:
    """Read the audio that a manifest names, or one file in so many of it."""
    with (folder / "manifest.tsv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [soundfile.read(folder / row["path"], dtype="float32")[0] for row in rows[::every]]


def indexed(prints: list[Fingerprint]) -> Index:
    """Return an index of fingerprints."""
    builder = Builder()
    for each in prints:
        builder.add(each.landmarks())
    return builder.build()


def recall(
    index: Index, waves: list[Wave], rows: list[int], changes: Mapping[str, Callable[[Wave], Wave]]
) -> list[tuple[str, ...]]:
    """Return a row per change: how many of the changed utterances are found, by their length."""
    made: list[tuple[str, ...]] = [("change", "under 1.5 s", "1.5 to 4 s", "over 4 s")]
    for name, change in changes.items():
        tally: dict[int, list[bool]] = {0: [], 1: [], 2: []}
        for row in rows:
            found = index.matches(fingerprint(change(waves[row])), GRID)
            seconds = len(waves[row]) / SAMPLE_RATE
            place = int(np.searchsorted([1.5, 4.0], seconds))
            tally[place].append(any(match.row == row for match in found))
        made.append((name, *(f"{sum(hits)} of {len(hits)}" for hits in tally.values())))
    return made


def alarms(name: str, waves: list[Wave]) -> tuple[str, ...]:
    """Compare the utterances of a set with each other: how many pairs are found, at which speed."""
    prints = [fingerprint(wave) for wave in waves]
    index = indexed(prints)
    same = other = 0
    for row, each in enumerate(prints):
        alike = {match.row for match in index.matches(each)}
        at_speed = {match.row for match in index.matches(each, GRID)}
        same += sum(known > row for known in alike)
        other += len(at_speed - alike - {row})
    hours = sum(map(len, waves)) / SAMPLE_RATE / 3600
    return name, str(len(waves)), f"{hours:.2f}", f"{hours * hours:.2f}", str(same), str(other)


def costs(waves: list[Wave], prints: list[Fingerprint], index: Index) -> list[tuple[str, ...]]:
    """Return the seconds of CPU that an hour of audio takes, step by step."""
    seconds = sum(map(len, waves)) / SAMPLE_RATE
    steps: dict[str, Callable[[int], object]] = {
        "fingerprint": lambda row: fingerprint(waves[row]),
        "landmarks": lambda row: prints[row].landmarks(),
        "search, same speed": lambda row: index.matches(prints[row]),
        "search, all speeds": lambda row: index.matches(prints[row], GRID),
    }
    used = dict.fromkeys(steps, 0.0)
    for row in range(len(waves)):  # in turn, so that a busy machine slows all alike
        for name, step in steps.items():
            start = time.process_time()
            step(row)
            used[name] += time.process_time() - start
    return [
        ("step", "CPU seconds an hour"),
        *((name, f"{3600 * spent / seconds:.2f}") for name, spent in used.items()),
    ]


def main() -> None:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds the sets")
    parser.add_argument("--utterances", type=int, default=240, help="changed in every way")
    parser.add_argument("--others", type=int, default=3000, help="compared with each other")
    known = parser.parse_args()
    waves = [wave for name in SETS for wave in read(known.data / name)]
    random.Random(0).shuffle(waves)
    waves = waves[: known.others]
    prints = [fingerprint(wave) for wave in waves]
    index = indexed(prints)
    rows = list(range(min(known.utterances, len(waves))))
    head = ("set", "utterances", "hours", "hours x hours", "same speed", "other speed")
    tables = {
        "found": recall(index, waves, rows, VARIANTS),
        "at the limits": recall(index, waves, rows, LIMITS),
        "pairs of different utterances": [
            head,
            alarms("mixed", waves),
            *(alarms(name, read(known.data / name)) for name in (*SETS, *OTHERS)),
        ],
        f"against {sum(map(len, waves)) / SAMPLE_RATE / 3600:.2f} h": costs(waves, prints, index),
    }
    for title, table in tables.items():
        print(f"\n{title}:\n" + "\n".join(columns(table)))
    print(f"\n{len(index.places) / sum(map(len, waves)) * SAMPLE_RATE:.0f} landmarks a second")


if __name__ == "__main__":
    main()
