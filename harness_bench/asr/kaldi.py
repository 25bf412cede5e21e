"""Kaldi-style data folders from cuts, without Kaldi: text, speakers, audio, what to leave out."""

from __future__ import annotations

import itertools
import math
import shlex
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import AudioFault, load_waveform, read_alike, read_header
from harness_bench.audio.resample import NAME as RESAMPLER
from harness_bench.core.files import atomic_path, digest_strings, stamp, write_text
from harness_bench.core.log import bar
from harness_bench.cuts.fields import field_of, text_of
from harness_bench.cuts.store import read_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lhotse import Recording
    from lhotse.cut import Cut
    from numpy.typing import NDArray

WAV, SEGMENTS, DURATIONS, SAMPLES = "wav.scp", "segments", "reco2dur", "utt2num_samples"
FILES = (WAV, "text", "utt2spk", SAMPLES)
SKIPPED = "skipped.tsv"
type Limits = tuple[float, float]  # shortest and longest utterance to train on, in seconds
# Resamples as `audio.resample` does; FFmpeg's default lets through what folds back into speech.
_AS_HERE = f"aresample={SAMPLE_RATE}:filter_size=1024:filter_type=kaiser:kaiser_beta=12:cutoff=0.98"
# What ESPnet reads by itself, and fast in every epoch; other formats are rewritten once.
_DIRECT = (".wav", ".flac")
_SOURCES, _CHECKED = "utt2source", "utt2stamp"  # of files written, and of files as they came
_WAY_OUT = "Run stages 1 to 4 again."
_SLACK = 0.01  # seconds; times in lists of segments are rounded to a centisecond
_LONGEST_NAME = 200  # bytes of a file's name without its suffix
_FIELDS = 3  # of a line of segments, behind the utterance


def write_data(cuts: Path, split: str, folder: Path, normalise: Callable[[str], str]) -> int:
    """Write text (normalised), utt2spk and spk2utt of a split; return the number of utterances.

    Raises:
        ValueError: an utterance without text, or two utterances of one name.
    """
    utterances = by_name(cuts, split)
    words = {name: " ".join(normalise(text_of(cut)).split()) for name, cut in utterances.items()}
    write_table(folder / "text", words)
    write_speakers(folder, {name: speaker_of(name, cut) for name, cut in utterances.items()})
    return len(utterances)


def format_audio(
    cuts: Path, split: str, folder: Path, audio: Path, suffix: str = "flac", *, jobs: int = 1
) -> tuple[int, int]:
    """Write wav.scp and utt2num_samples of a split; return how many files were written and kept.

    A cut that is a whole WAV or FLAC file at 16 kHz with one channel is named directly; any other
    is written below `audio` as 16-bit `suffix` ("flac" or "wav"), `jobs` files at a time. Files of
    an earlier run, also of one that was killed, are kept if they came from the same cut. All audio
    is decoded here, once: what is cut off, empty, NaN or infinite goes to skipped.tsv instead.
    """
    utterances = by_name(cuts, split)
    checked = read_table(folder / _CHECKED) if (folder / _CHECKED).exists() else {}
    direct = {
        name: path
        for name, cut in utterances.items()
        if (path := _direct_path(cut)) and (checked.get(name) == _stamp(path) or _plain(path))
    }
    targets = {name: audio / _file_name(name, suffix) for name in utterances if name not in direct}
    sources = {name: _source(utterances[name]) for name in targets}
    before = read_table(folder / _SOURCES) if (folder / _SOURCES).exists() else {}
    for name, target in targets.items():
        if before.get(name) != sources[name]:
            for either in _DIRECT:  # a later run may ask for the other format again
                target.with_suffix(either).unlink(missing_ok=True)
    # Only now may the table speak of these files: whatever is there later came from these cuts.
    write_table(folder / _SOURCES, sources)
    there = sum(target.exists() for target in targets.values())

    def job(name: str) -> int | str:
        """Return the samples of an utterance, or why it is left out."""
        try:
            if name in direct:
                if checked.get(name) != _stamp(direct[name]):
                    _waveform(utterances[name])
                return int(utterances[name].num_samples)
            if not targets[name].exists():
                _write_audio(utterances[name], targets[name])
            return read_header(targets[name]).samples
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(max(1, jobs)) as workers:
        found = workers.map(job, utterances)
        shown = bar(found, title=f"audio of {split}", total=len(utterances))
        results = dict(zip(utterances, shown, strict=True))
    samples = {name: count for name, count in results.items() if isinstance(count, int)}
    places = direct | {name: target.absolute() for name, target in targets.items()}
    write_table(folder / WAV, {name: places[name] for name in samples})
    write_table(folder / SAMPLES, samples)
    sound = samples.keys() & direct.keys()
    write_table(folder / _CHECKED, {name: _stamp(direct[name]) for name in sound})
    write_skipped(folder, {name: why for name, why in results.items() if isinstance(why, str)})
    return len(targets.keys() & samples.keys()) - there, there


def select(folder: Path, out: Path, limits: Limits | None = None) -> tuple[int, int]:
    """Copy a data folder without the utterances that cannot be trained on; count kept and skipped.

    Args:
        folder: a data folder with all of `FILES`, and skipped.tsv of audio that cannot be read.
        out: where to write; gets skipped.tsv with each left-out utterance and the reason.
        limits: None keeps everything that can be read (test sets).

    Raises:
        ValueError: nothing is left.
    """
    tables = {name: read_table(folder / name) for name in FILES}
    reasons = read_skipped(folder)
    if limits is not None:
        for name, count in tables[SAMPLES].items():
            if reason := _unfit(tables["text"][name], int(count), limits):
                reasons[name] = reason
    kept = tables["text"].keys() - reasons.keys()
    if not kept:
        raise ValueError(
            f"{folder}: all {len(reasons)} utterances are unfit; the first: "
            f"{next(iter(reasons.items()), 'there were none')}. Widen --min_wav_duration and "
            "--max_wav_duration, or prepare the corpus again."
        )
    for file, rows in tables.items():
        write_table(out / file, {name: row for name, row in rows.items() if name in kept})
    write_speakers(out, {name: tables["utt2spk"][name] for name in sorted(kept)})
    write_skipped(out, reasons)
    check_data_dir(out)
    return len(kept), len(reasons)


def write_skipped(folder: Path, reasons: Mapping[str, str]) -> None:
    """Write skipped.tsv of a folder: utterances that were left out, and why."""
    rows = (f"{name}\t{' '.join(why.split())}\n" for name, why in sorted(reasons.items()))
    write_text(folder / SKIPPED, "".join(["utterance\treason\n", *rows]))


def read_skipped(folder: Path) -> dict[str, str]:
    """Read what `write_skipped` wrote; empty where there is no such file."""
    if not (folder / SKIPPED).is_file():
        return {}
    _, *lines, _ = (folder / SKIPPED).read_text(encoding="utf-8").split("\n")
    return {name: why for name, _, why in (line.partition("\t") for line in lines)}


def by_name(cuts: Path, split: str) -> dict[str, Cut]:
    """Return the cuts of a split by their name in data folders, sorted by it.

    A name starts with the speaker: `spk-id` unless the id does so already. Kaldi's tools also want
    utterances sorted by name to be sorted by speaker. Where names of that kind are not (speakers
    `x` and `x$`), speakers get a name without the signs up to `-`, which sort first. Blanks and
    slashes become `=` and their code, as blanks divide columns and names name files.
    """
    rows = [(_speaker(cut), cut) for cut in read_cuts(cuts, split)]
    ids = [_word(cut.id) for _, cut in rows]
    pairs = [(one, uid) for (one, _), uid in zip(rows, ids, strict=True)]
    plain = [uid if uid.startswith(one) else f"{one}-{uid}" for one, uid in pairs]
    order = [one for _, (one, _) in sorted(zip(plain, rows, strict=True), key=itemgetter(0))]
    names = plain
    if order != sorted(order):
        # Characters that sort up to `-`, and `=`, as their code: names stay distinct.
        codes = {ord(sign): f"={ord(sign):02x}" for sign in "!\"#$%&'()*+,-="}
        names = [f"{one.translate(codes)}-{uid}" for one, uid in pairs]
    found: dict[str, Cut] = {}
    for name, (_, cut) in zip(names, rows, strict=True):
        if name in found:
            raise ValueError(
                f"{cuts}, split {split}: cuts {found[name].id!r} and {cut.id!r} both get the name "
                f"{name!r}. Give utterances distinct ids."
            )
        found[name] = cut
    return dict(sorted(found.items()))


def speaker_of(name: str, cut: Cut) -> str:
    """Return the speaker's name in data folders of an utterance that `by_name` named."""
    speaker, uid = _speaker(cut), _word(cut.id)
    return speaker if name in (uid, f"{speaker}-{uid}") else name.removesuffix(f"-{uid}")


def check_data_dir(folder: Path, files: Sequence[str] = FILES) -> dict[str, dict[str, str]]:
    """Check what Kaldi's validate_data_dir.sh checks of texts and speakers; return the tables.

    Args:
        folder: a data folder.
        files: tables by utterance to check, utt2spk among them.

    Raises:
        ValueError: a table is unsorted or of other utterances, an utterance does not start with
            its speaker, sorting by utterance does not sort by speaker, or spk2utt differs.
    """
    tables = {name: read_table(folder / name) for name in files}
    speakers = tables["utt2spk"]
    for name, rows in tables.items():
        _check_sorted(folder / name, rows)
    for rows in tables.values():
        if odd := sorted(rows.keys() ^ speakers.keys()):
            raise ValueError(f"{folder}: utterance {odd[0]!r} is not in every file. {_WAY_OUT}")
    for name, speaker in speakers.items():
        if not name.startswith(speaker):
            raise ValueError(f"{folder}: utterance {name!r} does not start with {speaker!r}.")
    if odd := [b for a, b in itertools.pairwise(speakers.values()) if b < a]:
        raise ValueError(
            f"{folder / 'utt2spk'}: sorted by utterance, speaker {odd[0]!r} comes too late. "
            "Kaldi's tools need both orders to agree; let no speaker's name begin another's."
        )
    listed = read_table(folder / "spk2utt")
    if {name: one for one, names in listed.items() for name in names.split()} != speakers:
        raise ValueError(f"{folder}: spk2utt and utt2spk differ. {_WAY_OUT}")
    return tables


def _check_sorted(path: Path, rows: Mapping[str, str]) -> None:
    """Check that a table is in the order of its keys (code points, which is Kaldi's C locale)."""
    if list(rows) != sorted(rows):
        raise ValueError(f"{path} is not sorted by its first column. {_WAY_OUT}")


def write_speakers(folder: Path, speakers: Mapping[str, str]) -> None:
    """Write utt2spk and spk2utt from utterance -> speaker."""
    names = defaultdict(list)
    for name, speaker in speakers.items():
        names[speaker].append(name)
    write_table(folder / "utt2spk", speakers)
    write_table(folder / "spk2utt", {key: " ".join(each) for key, each in names.items()})


def write_table(path: Path, rows: Mapping[str, Any]) -> None:
    """Write `key value` lines sorted by key, atomically."""
    lines = (f"{key} {value}".rstrip() + "\n" for key, value in sorted(rows.items()))
    write_text(path, "".join(lines))


def read_table(path: Path) -> dict[str, str]:
    """Read `key value` lines; a repeated key is a `ValueError` with its line."""
    if not path.is_file():
        raise ValueError(f"There is no {path}. Run the earlier stages first.")
    rows: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        key, _, value = line.partition(" ")
        if key in rows:
            raise ValueError(f"{path}:{number} repeats {key!r}; every key must occur once.")
        if key:
            rows[key] = value
    return rows


def _speaker(cut: Cut) -> str:
    """Return the speaker's name; an utterance of unknown speaker is its own, as in Kaldi."""
    return _word(field_of(cut, "speaker") or str(cut.id))


def _word(name: str) -> str:
    """Write blanks and slashes of a name as their codes."""
    return "".join(f"={ord(sign):02x}" if sign.isspace() or sign == "/" else sign for sign in name)


def _file_name(name: str, suffix: str) -> str:
    """Name an utterance's file; file systems take no more than 255 bytes."""
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 8]}-{digest_strings([name])}"
    return f"{name}.{suffix}"


def _direct_path(cut: Cut) -> Path | None:
    """Return the cut's file if the file is exactly the cut at 16 kHz with one channel."""
    recording = cut.recording
    whole = (
        cut.start == 0
        and cut.num_samples == recording.num_samples
        and (recording.sampling_rate, recording.num_channels) == (SAMPLE_RATE, 1)
        and not recording.transforms
        and len(recording.sources) == 1
        and recording.sources[0].type == "file"
    )
    path = Path(recording.sources[0].source) if whole else None
    return path.absolute() if path and path.suffix.lower() in _DIRECT else None


def _plain(path: Path) -> bool:
    """Return whether ESPnet, which knows libsndfile alone, reads a file as cuts do."""
    try:
        return read_alike(path)
    except AudioFault:  # its reading says why
        return True


def _source(cut: Cut) -> str:
    """Return the digest of all that decides the samples of a cut's file."""
    resampled = [] if cut.sampling_rate == SAMPLE_RATE else [RESAMPLER]
    return digest_strings([repr(cut.to_dict()), *resampled])


def _stamp(path: Path) -> str:
    try:
        return " ".join(map(str, stamp(path)))
    except OSError:  # its reading says why
        return ""


def _waveform(cut: Cut) -> NDArray[np.float32]:
    """Read a cut (samples,); a ValueError says why nothing can be made of it."""
    waveform = load_waveform(cut)
    if not np.isfinite(waveform).all():
        raise ValueError("NaN or infinite samples")
    if not len(waveform):
        raise ValueError("no samples")
    return waveform


def _write_audio(cut: Cut, target: Path) -> None:
    import soundfile  # noqa: PLC0415 - loads libsndfile

    waveform = _waveform(cut)
    with atomic_path(target) as partial:
        soundfile.write(partial, waveform, SAMPLE_RATE, subtype="PCM_16")


def _unfit(text: str, samples: int, limits: Limits) -> str:
    """Say why an utterance cannot be trained on, or nothing."""
    seconds, (shortest, longest) = samples / SAMPLE_RATE, limits
    if not text:
        return "no text after normalisation"
    if seconds < shortest:
        return f"{seconds:.3f} s is shorter than {shortest} s"
    return f"{seconds:.3f} s is longer than {longest} s" if seconds > longest else ""


def write_recordings(cuts: Path, split: str, folder: Path) -> int:
    """Write wav.scp, segments and reco2dur of a split; return the number of recordings.

    `wav.scp` names the recordings as they are on disk: WAV and FLAC of one channel by their path,
    others by an ffmpeg pipe, as Kaldi's recipes do. ESPnet's stage 3 cuts them by `segments`.

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
    """Check a data folder of whole recordings, whose segments lie inside them.

    Raises:
        ValueError: see `check_data_dir`; or a segment does not lie in its recording.
    """
    tables = check_data_dir(folder, ("text", "utt2spk", SEGMENTS))
    recordings, lengths = (read_table(folder / name) for name in (WAV, DURATIONS))
    _check_sorted(folder / WAV, recordings)
    for name, row in tables[SEGMENTS].items():
        if fault := _fault(row.split(), recordings, lengths):
            raise ValueError(f"{folder / SEGMENTS}: {name} {row}: {fault}.")


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
    if recording.num_channels == 1 and path.lower().endswith(_DIRECT) and _plain(Path(path)):
        return path
    return f"ffmpeg -v error -i {shlex.quote(path)} -f wav -ac 1 -af {_AS_HERE} - |"
