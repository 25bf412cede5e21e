"""Make the synthetic demo corpus: four folders with manifests, spoken by eSpeak NG.

eSpeak NG (GPL, version 3 or later) runs as a separate program: `harness_bench.demo.espeak`.
"""

from __future__ import annotations

import importlib.metadata
import json
import struct
import subprocess
import sys
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import standard
from harness_bench.core.extras import require
from harness_bench.core.files import digest_strings, write_text
from harness_bench.core.log import bar
from harness_bench.core.workdir import PROVENANCE, OldNote, WorkDir
from harness_bench.demo.plan import DemoCorpusConfig, SplitSizes, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from harness_bench.demo.plan import Channel, Planned

_WHEEL = "espeakng-loader"
_SPEECH_LEVEL = 0.07  # root mean square of speech before the level changes, -23 dB of full scale
_SILENCE = 0.01  # of the peak; below it, the ends are cut off
_PEAK = 0.98
_DULLEST, _BRIGHTEST = -0.5, 0.7
_MANIFEST = "manifest.tsv"
_ABSENT = "-"
_CLASS_COLUMN = {"ser": "emotion", "did": "dialect"}

_ABOUT = {
    "ssl": "Speech of the train speakers alone, for pretraining; no transcripts, no labels.",
    "ser": (
        "Six emotion-like classes (column label, also emotion): the pitch, pitch range, rate, "
        "level, brightness and closing intonation of a few short sentences are drawn around a "
        "mean per class (emotions.toml), with spreads wide enough that classes overlap."
    ),
    "did": (
        "Five dialect-like classes (column label, also dialect): Modern Standard Arabic "
        "sentences, their words and sounds replaced by the class's rules (dialects.toml), each "
        "rule by chance, so that classes overlap. The rules only resemble the dialects they "
        "are named after."
    ),
    "asr": (
        "Short sentences of a small vocabulary with transcripts (column transcript, without "
        "diacritics). No sentence stands in two splits."
    ),
}
_README = """# Synthetic Arabic speech: {task}
**Everything here is synthetic.** No person spoke it, and no figure measured on it says anything
about real speech. It exists so that the whole chain can be tried in minutes.

{about}

- Text, word lists and rules were written for the harness_bench project.
- The voices are eSpeak NG's (licensed under the GPL, version 3 or later), which ran as a separate
  program; the audio is its output, changed in rate, brightness and level, with noise added.
- Speakers and voices of train, dev and test differ.
- Columns: path (relative), duration (seconds), speaker, label, transcript, split, id, gender,
  language, synthetic, spoken (the diacritised text given to the synthesiser); `-` is absent.
- provenance.json says from which settings, seed and versions it was made.
"""


def synthesise(
    folder: str | Path,
    task: Literal["ser", "did", "asr"],
    *,
    train: int,
    dev: int,
    test: int,
    seed: int = 0,
) -> Path:
    """Make a small synthetic Arabic corpus that `prepare("tsv", ...)` reads; return its folder.

    One that stands there from the same settings is kept. Needs the extra `demo` (eSpeak NG).

    Args:
        folder: where audio, manifest.tsv and a README go.
        task: ser has six emotion-like and did five dialect-like classes in the column label; asr
            has transcripts.
        train: utterances of some 2 to 4 seconds.
        dev: the same; speakers, voices and sentences of asr differ between splits.
        test: the same.
        seed: decides texts, speakers, prosody and noise.

    Raises:
        ValueError: another task, a split without an utterance, or no eSpeak NG.
    """
    if task not in _CLASS_COLUMN and task != "asr":
        raise ValueError(f"task is {task!r}; expected one of {', '.join(_CLASS_COLUMN)} and asr.")
    sizes: dict[str, Any] = {task: SplitSizes(train=train, dev=dev, test=test)}
    config = DemoCorpusConfig(seed=seed, **sizes)
    make_demo_task(folder := Path(folder), task, config)
    return folder


def make_demo_task(folder: Path, task: str, config: DemoCorpusConfig) -> bool:
    """Make one task's folder (ssl, ser, did or asr); False where it stood there whole already.

    Raises:
        ValueError: eSpeak NG's wheel is not installed, or it fails.
    """
    planned = plan(task, config)
    inputs = {"plan": plan_digest(planned), _WHEEL: _wheel_version()}
    work = WorkDir(folder, inputs, older=(OldNote(PROVENANCE, "inputs", whole="README.md"),))
    licence = {"synthetic": True, "synthesiser": "eSpeak NG, GPL-3.0-or-later"}
    with work.lock():
        if work.finished:
            return False
        with work.replacing(config=config, seed=config.seed, **licence) as partial:
            durations = _speak_all(partial, task, planned, config.seed)
            _write_manifest(partial / _MANIFEST, planned, durations)
            write_text(partial / "README.md", _README.format(task=task, about=_ABOUT[task]))
    return True


def plan_digest(planned: list[Planned]) -> str:
    """Return the digest of all that was decided, texts, speakers, prosody and order."""
    return digest_strings(json.dumps(asdict(item), sort_keys=True) for item in planned)


def _wheel_version() -> str:
    """Return the version of eSpeak NG's wheel, without loading it."""
    require("espeakng_loader")
    return importlib.metadata.version(_WHEEL)


def _speak_all(folder: Path, task: str, planned: list[Planned], seed: int) -> dict[str, float]:
    """Write every utterance's audio; return the durations in seconds by id."""
    import soundfile  # noqa: PLC0415 - loads a shared library

    durations = {}
    spoken = zip(planned, _speech([item.job for item in planned]), strict=True)
    for item, (speech, rate) in bar(
        spoken, title=f"synthesising {task}", total=len(planned), unit="utt"
    ):
        rng = np.random.default_rng([seed, zlib.crc32(item.id.encode())])
        samples = finish(speech, rate, item.channel, rng)
        path = folder / _audio_path(item)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The fastest setting: a tenth larger files in half the time.
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16", compression_level=0.0)
        durations[item.id] = len(samples) / SAMPLE_RATE
    return durations


def _audio_path(item: Planned) -> str:
    return f"audio/{item.split}/{item.id}.flac"


def _write_manifest(path: Path, planned: list[Planned], durations: dict[str, float]) -> None:
    """Write the manifest, sorted by id."""
    rows = [_row(item, durations[item.id]) for item in sorted(planned, key=lambda item: item.id)]
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def _row(item: Planned, duration: float) -> dict[str, str]:
    task = item.id.split("_", 1)[0]
    row = {
        "path": _audio_path(item),
        "duration": f"{duration:.4f}",
        "speaker": item.speaker.name,
        "label": item.label or _ABSENT,
        "transcript": item.transcript or _ABSENT,
        "split": item.split,
        "id": item.id,
        "gender": item.speaker.gender,
        "language": "ar",
        "synthetic": "yes",
        "spoken": item.spoken,
    }
    if column := _CLASS_COLUMN.get(task):
        row[column] = item.label or _ABSENT
    return row


def _speech(jobs: list[dict[str, Any]]) -> Iterator[tuple[NDArray[np.int16], int]]:
    """Let eSpeak NG speak jobs in one fresh process; yield (samples,) int16 and their rate."""
    command = [sys.executable, "-m", "harness_bench.demo.espeak"]
    with tempfile.TemporaryFile() as lines, tempfile.TemporaryFile() as complaints:
        lines.write("".join(json.dumps(job) + "\n" for job in jobs).encode())
        lines.seek(0)
        with subprocess.Popen(
            command, stdin=lines, stdout=subprocess.PIPE, stderr=complaints
        ) as child:
            assert child.stdout is not None
            try:
                yield from _frames(child.stdout, len(jobs))
            except EOFError as error:
                child.wait()
                complaints.seek(0)
                last = complaints.read().decode(errors="replace").strip().splitlines()[-1:]
                raise ValueError(f"eSpeak NG stopped: {' '.join(last)}.") from error
            finally:
                child.kill()


def _frames(stream: IO[bytes], count: int) -> Iterator[tuple[NDArray[np.int16], int]]:
    """Read the child's header line and `count` blocks of samples."""
    if not (head := stream.readline()):
        raise EOFError
    rate = int(json.loads(head)["sampling_rate"])
    for _ in range(count):
        (length,) = struct.unpack("<I", _exactly(stream, 4))
        yield np.frombuffer(_exactly(stream, 2 * length), dtype="<i2"), rate


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def finish(
    speech: NDArray[np.int16], sampling_rate: int, channel: Channel, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Turn eSpeak NG's samples (samples,) into an utterance, (samples,) in [-1, 1] at 16 kHz."""
    samples = _trimmed((speech / 32768).astype(np.float32))
    # Reading the samples as if they had another rate moves all formants.
    read_as = round(sampling_rate * channel.tract)
    samples = _with_effort(standard(samples, read_as), channel.effort)
    samples *= _SPEECH_LEVEL * 10 ** (channel.level / 20) / np.sqrt(np.mean(samples**2))
    lead, tail = (round(seconds * SAMPLE_RATE) for seconds in (channel.lead, channel.tail))
    padded = np.pad(samples, (lead, tail))
    noise = coloured_noise(len(padded), channel.noise_slope, rng)
    padded += noise * (np.sqrt(np.mean(samples**2)) * 10 ** (-channel.snr / 20))
    peak = float(np.abs(padded).max())
    result: NDArray[np.float32] = (padded * min(1.0, _PEAK / peak)).astype(np.float32)
    return result


def coloured_noise(samples: int, slope: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (samples,) float32 noise of unit power; power falls as frequency ** -slope."""
    size = 1 << (samples - 1).bit_length()  # other lengths may have no fast transform
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    weights = np.arange(1, len(spectrum) + 1, dtype=np.float32) ** (-slope / 2)
    noise: NDArray[np.float32] = np.fft.irfft(spectrum * weights, n=size)[:samples]
    return noise / noise.std()


def _trimmed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def _with_effort(samples: NDArray[np.float32], effort: float) -> NDArray[np.float32]:
    """Tilt the spectrum by a first-order difference (brighter) or average (duller)."""
    weight = float(np.clip(0.5 * effort, _DULLEST, _BRIGHTEST))
    tilted = samples.copy()
    tilted[1:] -= weight * samples[:-1]
    return tilted
