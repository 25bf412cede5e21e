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
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.files import write_text
from harness_bench.core.log import bar
from harness_bench.core.workdir import PROVENANCE, OldNote, WorkDir
from harness_bench.demo.manifest import (
    MANIFEST,
    audio_path,
    plan_digest,
    readme,
    write_manifest,
)
from harness_bench.demo.plan import DemoCorpusConfig, Planned, plan
from harness_bench.demo.signals import finish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_WHEEL = "espeakng-loader"


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
            write_manifest(partial / MANIFEST, planned, durations)
            write_text(partial / "README.md", readme(task))
    return True


def _wheel_version() -> str:
    """Return the version of eSpeak NG's wheel, without loading it."""
    try:
        return importlib.metadata.version(_WHEEL)
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"The demo corpus needs eSpeak NG, which the optional package {_WHEEL} brings. "
            "Install it with `pip install 'harness-ssl-bench[demo]'`."
        ) from error


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
        path = folder / audio_path(item)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The fastest setting: a tenth larger files in half the time.
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16", compression_level=0.0)
        durations[item.id] = len(samples) / SAMPLE_RATE
    return durations


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
