"""What Kaldi-style data folders say of whole recordings: wav.scp, segments, durations, checks."""

from __future__ import annotations

import itertools
import math
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.espnet_plugin.datadir import (
    by_name,
    check_prefixes,
    check_sorted,
    check_tables,
    read_table,
    write_table,
)
from harness_bench.files import digest_strings
from harness_bench.frames import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lhotse import Recording
    from lhotse.cut import Cut

WAV, SEGMENTS, DURATIONS = "wav.scp", "segments", "reco2dur"
_PLAIN = (".wav", ".flac")  # what ESPnet's format_wav_scp.py opens by itself
_SLACK = 0.01  # seconds; times in lists of segments are rounded to a centisecond
_FIELDS = 3  # of a line of segments, behind the utterance


def write_recordings(cuts: Path, split: str, folder: Path) -> int:
    """Write wav.scp, segments and reco2dur of a split; return the number of recordings.

    `wav.scp` names the recordings as they are on disk: WAV and FLAC of one channel by their path,
    others by an ffmpeg pipe, as Kaldi's recipes do. ESPnet's stage 3 cuts them by `segments`.

    Args:
        cuts: a prepared folder.
        split: its split.
        folder: the data folder to write.

    Raises:
        ValueError: a recording that is not one file.
    """
    utterances = by_name(cuts, split)
    recordings = {_file(cut): cut.recording for cut in utterances.values()}
    names = _names(recordings)
    segments = {
        name: f"{names[_file(cut)]} {cut.start:.6f} {cut.start + cut.duration:.6f}"
        for name, cut in utterances.items()
    }
    places = {names[path]: _place(path, recording) for path, recording in recordings.items()}
    lengths = {names[path]: f"{one.duration:.6f}" for path, one in recordings.items()}
    for file, rows in ((WAV, places), (SEGMENTS, segments), (DURATIONS, lengths)):
        write_table(folder / file, rows)
    return len(places)


def check_raw_dir(folder: Path) -> None:
    """Check what Kaldi's validate_data_dir.sh checks of texts, speakers and segments.

    Raises:
        ValueError: a table is unsorted, differs from the others in its utterances, sorts
            otherwise by speaker than by utterance, or a segment does not lie in its recording.
    """
    tables = {name: read_table(folder / name) for name in ("text", "utt2spk", SEGMENTS)}
    check_tables(folder, tables, "Run stage 1.")
    check_speakers(folder)
    recordings, lengths = (read_table(folder / name) for name in (WAV, DURATIONS))
    check_sorted(folder / WAV, recordings)
    for name, row in tables[SEGMENTS].items():
        if fault := _fault(row.split(), recordings, lengths):
            raise ValueError(f"{folder / SEGMENTS}: {name} {row}: {fault}.")


def check_speakers(folder: Path) -> None:
    """Check utt2spk and spk2utt: one says what the other does, in one order.

    Raises:
        ValueError: an utterance does not start with its speaker, sorting by utterance does not
            sort by speaker, or spk2utt is another list.
    """
    speakers = read_table(folder / "utt2spk")
    check_prefixes(folder, speakers)
    order = list(speakers.values())
    if odd := next((b for a, b in itertools.pairwise(order) if b < a), None):
        raise ValueError(
            f"{folder / 'utt2spk'}: sorted by utterance, speaker {odd!r} comes too late. Kaldi's "
            "tools need both orders to agree; give speakers names of which none begins another."
        )
    listed = read_table(folder / "spk2utt")
    inverse = {name: one for one, names in listed.items() for name in names.split()}
    if inverse != speakers:
        raise ValueError(f"{folder}: spk2utt and utt2spk differ. Run stage 1 again.")


def _fault(row: list[str], recordings: dict[str, str], lengths: dict[str, str]) -> str:
    """Say what is wrong with a line of segments, or nothing."""
    if len(row) != _FIELDS:
        return "expected a recording, a start and an end in seconds"
    if row[0] not in recordings:
        return f"{row[0]!r} is not in {WAV}"
    start, end = float(row[1]), float(row[2])
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        return "the segment has no length"
    if end > float(lengths[row[0]]) + _SLACK:
        return f"it ends behind the recording's end at {lengths[row[0]]} s"
    return ""


def _file(cut: Cut) -> str:
    """Return the file of a cut's recording."""
    sources = cut.recording.sources
    if len(sources) != 1 or sources[0].type != "file":
        raise ValueError(f"Cut {cut.id!r}: its recording is not one audio file; prepare it again.")
    return str(sources[0].source)


def _names(paths: Iterable[str]) -> dict[str, str]:
    """Name recordings by their files' names; equal names get a digest of the path behind them."""
    stems = {path: "_".join(Path(path).stem.split()) for path in paths}
    common = {stem for stem, count in Counter(stems.values()).items() if count > 1}
    return {
        path: f"{stem}-{digest_strings([path])[:8]}" if stem in common else stem
        for path, stem in stems.items()
    }


def _place(path: str, recording: Recording) -> str:
    """Return what wav.scp says of a recording."""
    if recording.num_channels == 1 and path.lower().endswith(_PLAIN):
        return path
    return f"ffmpeg -v error -i {shlex.quote(path)} -f wav -ac 1 -ar {SAMPLE_RATE} - |"
