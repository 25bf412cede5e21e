"""Manifest folders with one file of every kind of bad or unusual audio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.corpora.trees import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

RATE = 16_000
HEADER = "path\tduration\tspeaker\tlabel\ttranscript\tsplit"


# (file names, manifest rows) -> the folder; every file is one second of different audio
type WriteCorpus = Callable[[Iterable[str], Iterable[str]], Path]


@dataclass(frozen=True)
class MixedCorpus:
    """A manifest folder, the reason each bad id is to be skipped for, and the ids to be kept."""

    root: Path
    reasons: dict[str, str]
    kept: set[str]


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the tiny corpus of the layout that the tests' module is named after."""
    build(request.path.stem.removeprefix("test_"), tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.fixture
def write_corpus(tmp_path: Path) -> WriteCorpus:
    """Return a function that writes a small manifest folder, each file of different audio."""

    def write(names: Iterable[str], rows: Iterable[str]) -> Path:
        root = tmp_path / "corpus"
        root.mkdir(exist_ok=True)
        for seed, name in enumerate(names):
            soundfile.write(root / name, _speech(seed=seed), RATE)
        (root / "manifest.tsv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
        return root

    return write


@pytest.fixture
def mixed_corpus(write_corpus: WriteCorpus) -> MixedCorpus:
    """Return a manifest folder over every kind of bad and unusual audio."""
    writers = {**{name: kind[0] for name, kind in _BAD.items()}, **_UNUSUAL}
    root = write_corpus([], [f"{name}\t-\ts1\t-\t-\ttrain" for name in writers])
    for name, write in writers.items():
        write(root / name)
    return MixedCorpus(
        root=root,
        reasons={Path(name).stem: reason for name, (_, reason) in _BAD.items()},
        kept={Path(name).stem for name in _UNUSUAL},
    )


def _speech(seconds: float = 1.0, rate: int = RATE, seed: int = 1) -> NDArray[np.float32]:
    """Return noise as loud as speech, (samples,) float32."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def _truncated(path: Path) -> None:
    soundfile.write(path, _speech(3.0), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _with(value: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        samples = _speech()
        samples[100] = value
        soundfile.write(path, samples, RATE, subtype="FLOAT")

    return write


def _of(
    samples: NDArray[np.float32], rate: int = RATE, subtype: str | None = None
) -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, samples, rate, subtype=subtype)


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


# file name -> how it is written, and the reason it is to be skipped for
_BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "garbage.wav": (_bytes(b"not audio at all" * 99), "unreadable audio"),
    "truncated.flac": (_truncated, "cut-off audio"),
    "empty.wav": (_bytes(b""), "empty audio"),
    "no_samples.wav": (_of(_speech(0)), "empty audio"),
    "nan.wav": (_with(float("nan")), "NaN or infinite samples"),
    "infinite.wav": (_with(float("inf")), "NaN or infinite samples"),
    "zeros.wav": (_of(0 * _speech()), "silent"),
    "faint.wav": (_of(1e-4 * _speech(), subtype="FLOAT"), "silent"),
    "constant.wav": (_of(0 * _speech() + 0.5), "silent"),
    "cancelling.wav": (
        _of(np.stack([_speech(), -_speech()], axis=1)),
        "channels cancel each other",
    ),
    "short.wav": (_of(_speech(0.05)), "too short"),
    "long.wav": (_of(_speech(5)), "too long"),
    "missing.wav": (lambda _: None, "missing file"),
}

# file name -> how it is written; all of it is to be kept, as one second at 16 kHz
_UNUSUAL: dict[str, Callable[[Path], object]] = {
    "telephone.wav": _of(_speech(rate=8000), 8000),
    "studio.flac": _of(_speech(rate=44_100), 44_100),
    "stereo.wav": _of(np.stack([_speech()] * 2, axis=1)),
    "vorbis.ogg": _of(_speech()),
    "double.wav": _of(_speech(), subtype="DOUBLE"),
    "eight_bits.wav": _of(_speech(), subtype="PCM_U8"),
}
