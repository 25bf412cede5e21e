"""Preparing a corpus of QASR's size: transcripts of a million segments, headers of their audio.

`python -m benchmarks.bench_prepare 1600000` makes and prepares the whole size (about 4 GB of disk
in the folder for temporary files, given back at the end).
"""

import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.measure import Rows, in_turn, lower_is_better
from harness_bench.core.files import read_json
from harness_bench.corpora.formats.transcript_xml import Head, read_segments

WHOLE = 1_600_000  # segments; QASR's train has 1,592,226
EACH = 450  # segments of a programme: 40 minutes
WORDS = 13  # of a segment
MINUTES, GIGABYTES = 10.0, 2.0  # the limits of the whole size on two cores
_RATE, _HEADER = 16_000, 44
_LETTERS = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
_CODE = """
import sys
from pathlib import Path
from harness_bench.corpora.prepare import PrepareConfig, prepare
prepare("qasr", Path(sys.argv[1]), Path(sys.argv[2]), PrepareConfig(audio="header"))
# Not getrusage: its peak holds that of the process which started this one.
lines = Path("/proc/self/status").read_text().splitlines()
Path(sys.argv[3]).write_text(next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


def measure(*, tiny: bool = False) -> Rows:
    """Yield the time and memory of a tenth of the size, and the parser's time beside the peer's."""
    segments = 2 * EACH if tiny else WHOLE // 10
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_corpus(root / "qasr", segments)
        yield from _prepared(root, segments)
        files = sorted((root / "qasr/release/train_20210109/xml").iterdir())[:20]
        times = in_turn(partial(_ours, files), partial(_peer, files), repeats=1 if tiny else 3)
        note = f"{len(files)} programmes of {EACH} segments (peer: ElementTree of this Python)"
        yield lower_is_better("transcript_xml_vs_elementtree", *times, "CPU s", note=note)


def _prepared(root: Path, segments: int) -> Rows:
    wall, cpu, peak = run(root)
    share = segments / WHOLE
    kept = read_json(root / "out" / "report.json")["kept"]
    assert kept == segments, f"{kept} of {segments} segments were kept"
    what = f"{segments} segments, headers alone, {os.cpu_count()} cores"
    yield lower_is_better(
        f"prepare_{segments}_segments_minutes", wall / 60, MINUTES * share, "min",
        note=f"{what}, {cpu:.0f} CPU s (peer: the limit, {MINUTES:g} min for {WHOLE})",
    )  # fmt: skip
    yield lower_is_better(
        f"prepare_{segments}_segments_memory", peak, GIGABYTES, "GB",
        note=f"{what}, peak of the process (peer: the limit of {WHOLE})",
    )  # fmt: skip


def run(root: Path) -> tuple[float, float, float]:
    """Prepare the corpus in a process of its own; return wall seconds, CPU seconds and peak GB."""
    start = time.perf_counter()
    names = (str(root / name) for name in ("qasr", "out", "peak"))
    command = [sys.executable, "-c", _CODE, *names]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"preparing failed with exit code {process.returncode}")
    wall = time.perf_counter() - start
    peak = int((root / "peak").read_text()) * 1024 / 1e9
    return wall, usage.ru_utime + usage.ru_stime, peak


def write_corpus(root: Path, segments: int) -> None:
    """Write a synthetic QASR: XML of random words, and wave files of a header and a hole."""
    xml, wav = root / "release/train_20210109/xml", root / "wav"
    xml.mkdir(parents=True)
    wav.mkdir()
    rng = random.Random(0)
    words = ["".join(rng.choices(_LETTERS, k=rng.randint(2, 8))) for _ in range(20_000)]
    for first in range(0, segments, EACH):
        name = f"{first // EACH:08X}-0000-4000-8000-000000000000"
        count = min(EACH, segments - first)
        (xml / f"{name}.xml").write_text(_programme(name, count, words, rng), encoding="utf-8")
        _hole(wav / f"{name}.wav", count * 5 * _RATE)


def _programme(name: str, count: int, words: list[str], rng: random.Random) -> str:
    key = name.replace("-", "_")
    speakers = "".join(
        f'<speaker id="{key}_speaker{n}_align" name="speaker{n}" speakerGender="male" '
        f'speakerUnique="{key}_{n}"/>'
        for n in range(5)
    )
    body = "".join(
        f'<segment id="{key}_utt_{place}" starttime="{5 * place}.00" endtime="{5 * place + 4}.50" '
        f'AWD="0.35" PMER="10.1" WMER="12.5" who="{key}_speaker{place % 5}_align">'
        + "".join(
            f'<element id="{key}_utt_{place}_{n}" type="word">{word}</element>\n'
            for n, word in enumerate(rng.choices(words, k=WORDS))
        )
        + "</segment>\n"
        for place in range(count)
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<transcript><head><recording filename="{name}"/>'
        f'<annotations><annotation id="transcript_align"/></annotations><speakers>{speakers}'
        f'</speakers></head><body><segments annotation_id="transcript_align">{body}</segments>'
        "</body></transcript>\n"
    )


def _hole(path: Path, samples: int) -> None:
    """Write the header of a wave file of 16-bit samples, and silence that takes no disk."""
    size = 2 * samples
    form = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, _RATE,
                       2 * _RATE, 2, 16)  # fmt: skip
    with path.open("wb") as stream:
        stream.write(form + struct.pack("<4sI", b"data", size))
        stream.truncate(_HEADER + size)


def _ours(files: list[Path]) -> int:
    return sum(bool(segment.text) for path in files for segment in read_segments(path, Head()))


def _peer(files: list[Path]) -> int:
    """Read the same texts from whole trees."""
    trees = (ET.parse(path) for path in files)  # noqa: S314 - as above
    return sum(
        bool(" ".join(" ".join(segment.itertext()).split()))
        for tree in trees
        for segment in tree.iter("segment")
    )


def main() -> None:
    """Make and prepare a corpus of the size given."""
    segments = int(sys.argv[1]) if len(sys.argv) > 1 else WHOLE
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder) / "qasr", segments)
        for row in _prepared(Path(folder), segments):
            print(row)


if __name__ == "__main__":
    main()
