"""Audio files that FFmpeg decodes, by PyAV: the only module that imports it.

A file's length is known when it was decoded once. That pass also notes where packets lie, so that
a stretch is then decoded from a little before it, and from the beginning where a codec remembers
more than that.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from harness_bench.audio.base import AudioFault, Fault, Header
from harness_bench.audio.containers.about import HARMLESS
from harness_bench.audio.recent import Idle, Key, Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

# None of FFmpeg's formats that name other files, addresses or devices.
_FORMATS = (
    "aa,aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,gsm,ircam,"
    "loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,nistsphere,nut,ogg,"
    "oma,paf,pvf,qcp,rm,shn,smjpeg,tak,tta,voc,w64,wav,wsaud,wv,xwma"
)
# Their headers say how long they are; a duration of other formats is an estimate.
_PROMISE = ("mov", "matroska", "asf", "flv", "flac", "caf", "aiff", "tta", "ape", "wv")
# Raw streams are entered at a byte, others at a time.
_RAW = ("mp3", "aac", "ac3", "eac3", "amr", "gsm")
# What these decode depends on the second before it, and on no more. Opus forgets by and by: it is
# right where it is equal from two places. Others draw noise at random or remember all.
_FORGETFUL = ("mp3", "flac", "alac", "pcm_", "tta", "wavpack", "vorbis")
_FADING = "opus"
_AHEAD = (5, 8)  # seconds before a stretch where its decoding begins
_KEPT = 1 << 22  # samples of all channels: as many stay in memory when they have been decoded
_BLOCK = 1 << 16  # samples that are decoded at once
_LONGEST_LOSSY = 4096  # samples of a frame; lossless codecs have longer ones
_IDLE = 4  # decoders that wait for the next stretch of their file
_TRIES = 3  # so many more stretches may fail to be decoded from a little before than not
_SURVEYS = 256  # files whose packets stay known
_SCALES = {"u8": (128, 128), "s16": (0, 1 << 15), "s32": (0, 1 << 31)}


class _Entry(NamedTuple):
    """Where a packet lies."""

    first: int  # samples before it
    place: int | None  # its byte
    time: int | None  # in the stream's time base


class _Survey(NamedTuple):
    """What one pass over a file found."""

    header: Header
    codec: str
    entries: Sequence[_Entry]  # one or more a second
    surplus: int  # samples before the first one, which FFmpeg does not drop
    kept: NDArray[np.float32] | None  # the samples of a short file


class _AstrayError(Exception):
    """Decoding from the middle of a file came to another place than the first pass did."""


class FfmpegStream:
    """An audio file that FFmpeg decodes."""

    def __init__(
        self,
        opener: Callable[[], BinaryIO],  # opens the file once more
        name: object,
        key: Key | None = None,  # by which it is known again
        lacking: str | None = None,
    ) -> None:
        self._opener, self._name, self._key = opener, name, key
        self._cursor: _Cursor | None = None
        with _surveys.turn(key):  # threads that begin with one long file would all decode it
            known = _surveys.get(key)
            self._survey = known or self._look(lacking)
            if known is None:
                _surveys.put(key, self._survey._replace(kept=None))
        self.header = self._survey.header

    def _look(self, lacking: str | None) -> _Survey:
        cursor = self._open()
        try:
            return _survey(cursor, lacking)
        except AudioFault as fault:
            raise AudioFault(fault.fault, fault.detail, self._name) from fault
        finally:
            cursor.close()

    def _open(self) -> _Cursor:
        return _Cursor(self._opener(), self._name)

    def close(self) -> None:
        """Let go of the file, or keep it open for the next stretch of it."""
        if self._cursor is not None:
            _idle.put(self._key, self._cursor)
            self._cursor = None

    def read(self, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Read as `OpenAudio.read` says."""
        end = self.header.samples if count is None else min(first + count, self.header.samples)
        if first >= end:
            return np.zeros((0, self.header.channels), np.float32)
        first, end = first + self._survey.surplus, end + self._survey.surplus
        if self._survey.kept is not None:
            return self._survey.kept[first:end]
        if self._cursor is None:
            self._cursor = _idle.take(self._key, first)
        at = 0 if self._cursor is None else self._cursor.position
        if not 0 <= first - at <= self._ahead(sum(_AHEAD)):
            found = self._from_near(first, end)
            if found is not None:
                return found
        return self._from_before(first, end)

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Read as `OpenAudio.blocks` says."""
        for first in range(0, self.header.samples, size):
            yield self.read(first, size)

    def _ahead(self, seconds: int) -> int:
        return seconds * self.header.sampling_rate

    def _from_before(self, first: int, end: int) -> NDArray[np.float32]:
        """Decode on from what was read last, or from the beginning."""
        cursor = self._cursor
        if cursor is None or cursor.position > first:
            self.close()
            cursor = _idle.take(self._key, first) or self._open()
        self._cursor = cursor
        cursor.skip(first - cursor.position)
        samples = cursor.take(end - first)
        if len(samples) < end - first:
            told = f"{self.header.samples} samples were there, and now {first + len(samples)} are"
            raise AudioFault(Fault.UNREADABLE, told, self._name)
        return samples

    def _from_near(self, first: int, end: int) -> NDArray[np.float32] | None:
        """Decode from a little before; None unless it is what decoding from the start gives."""
        if self._survey.codec.startswith(_FORGETFUL):
            return self._jumped(first, end, 1)
        if self._survey.codec != _FADING or (self._key and _tries[self._key] < -_TRIES):
            return None
        piece, other = (self._jumped(first, end, seconds) for seconds in _AHEAD)
        right = piece is not None and other is not None and np.array_equal(piece, other)
        if self._key is not None:
            _tries[self._key] += 1 if right else -1
        return piece if right else None

    def _jumped(self, first: int, end: int, seconds: int) -> NDArray[np.float32] | None:
        cursor = self._open()
        try:
            cursor.jump(self._survey.entries, first - self._ahead(seconds), end)
            cursor.skip(first - cursor.position)
            piece = cursor.take(end - first)
        except _AstrayError:
            return None
        finally:
            cursor.close()
        return piece if len(piece) == end - first else None


class _Cursor:
    """A decoder at a place of a file."""

    def __init__(self, file: BinaryIO, name: object) -> None:
        av = _library()
        self._file, self._name = file, name
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
        self.container: Any = None
        try:
            # FFmpeg gets no path, and nothing that a file names is ever opened.
            self.container = av.open(file, "r", container_options=options, io_open=_refuse)
            self.stream = self.container.streams.best("audio")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise AudioFault(Fault.UNREADABLE, _reason(error), name) from error
        if self.stream is None or self.stream.codec_context is None:
            told = "it holds no audio" if self.stream is None else "nothing here decodes its codec"
            self.close()
            raise AudioFault(Fault.UNREADABLE, told, name)
        context = self.stream.codec_context
        context.thread_count = 1
        if self.container.format.name == "caf" and context.name == "alac":
            context.flags2 |= int(av.codec.context.Flags2.skip_manual)  # it would cut the end twice
        self.codec = str(self.stream.codec_context.name)
        self.format = str(self.container.format.name)
        self.unit = float(self.stream.time_base or 0)  # seconds
        self.decoded, self.packets, self.failed = 0, 0, 0  # samples; and packets so far
        self.sound = 0  # samples before the first packet that failed
        self.dropped = 0  # samples that FFmpeg dropped before the first
        self.entry = _Entry(0, None, None)  # the packet that was decoded last
        self.frames = self._decode()
        self._rest = np.zeros((0, 1), np.float32)  # decoded, and not yet taken
        self._awaited: object = None  # the packet where decoding begins
        self._anchor: object = None  # the packet from where on samples are counted
        self._expected: dict[object, int] = {}  # samples before some packets

    def close(self) -> None:
        """Close the file."""
        if self.container is not None:
            self.container.close()
        self._file.close()

    @property
    def position(self) -> int:
        """The sample that is taken next."""
        return self.decoded - len(self._rest)

    def _decode(self) -> Iterator[Any]:
        error = _library().error.FFmpegError
        packets = self.container.demux(self.stream)
        while (packet := _next(packets, error)) is not None:
            self.entry = _Entry(self.decoded, packet.pos, packet.pts)
            mark = self._mark(self.entry)
            if self._awaited is not None and self._awaited != mark:
                continue
            self._awaited = None
            if self._anchor is not None and self._anchor == mark:
                self._anchor, self.decoded = None, self._expected[mark]
            if self._expected.get(mark, self.decoded) != self.decoded:
                raise _AstrayError
            self.packets += 1
            if self.packets == 1 and packet.has_sidedata("skip_samples"):
                skipped = bytes(packet.get_sidedata("skip_samples"))
                self.dropped = int.from_bytes(skipped[:4], "little")
            try:
                frames = packet.decode()
            except (error, ValueError):  # FFmpeg's own program leaves it out, too
                self.sound = self.sound if self.failed else self.decoded
                self.failed += 1
                continue
            for frame in frames:
                if self._anchor is None:
                    self.decoded += frame.samples
                    yield frame
        if self._anchor is not None:
            raise _AstrayError

    def _mark(self, entry: _Entry) -> object:
        """Return by what a packet is known again; times are estimates in raw streams."""
        return entry.place if self.format in _RAW else entry[1:]

    def jump(self, entries: Sequence[_Entry], target: int, end: int) -> None:
        """Go to a packet that begins at `target` or before; nothing was decoded yet.

        Decoding begins a packet earlier in `entries`, as decoders drop samples where they begin.

        Raises:
            _AstrayError: here, or when decoding, up to the sample `end`.
        """
        index = bisect_right(entries, target, key=lambda entry: entry.first) - 2
        if index <= 0:
            return
        entry = entries[index]
        raw = self.format in _RAW
        where = entry.place if raw else entry.time
        if where is None or entry.place is None:
            raise _AstrayError
        try:
            self.container.seek(where, stream=self.stream, unsupported_byte_offset=raw)
        except _library().error.FFmpegError as error:
            raise _AstrayError from error
        self._awaited, self._anchor = self._mark(entry), self._mark(entries[index + 1])
        self.decoded = entries[index + 1].first
        for passed in entries[index + 1 :]:
            self._expected[self._mark(passed)] = passed.first
            if passed.first > end:
                break

    def skip(self, count: int) -> None:
        """Leave the next samples out."""
        left = count - len(self._rest)
        self._rest = self._rest[count:]
        while left > 0 and (frame := next(self.frames, None)) is not None:
            if frame.samples > left:
                self._rest = samples_of([frame])[left:]
            left -= frame.samples

    def take(self, count: int) -> NDArray[np.float32]:
        """Decode the next samples; fewer at the end."""
        pieces, there = [self._rest], len(self._rest)
        frames: list[Any] = []
        waiting = 0
        while there + waiting < count and (frame := next(self.frames, None)) is not None:
            frames.append(frame)
            waiting += frame.samples
            if waiting >= _BLOCK:
                pieces.append(samples_of(frames))
                there, frames, waiting = there + waiting, [], 0
        if frames:
            pieces.append(samples_of(frames))
        if len(pieces) > 1 and not len(self._rest):
            del pieces[0]  # it may have another number of channels
        samples = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        self._rest = samples[count:].copy()
        return samples[:count]


def samples_of(frames: Sequence[Any]) -> NDArray[np.float32]:
    """Return the samples of frames that follow one another -> (samples, channels)."""
    av = _library()
    queue = av.AudioFifo()
    for frame in frames:
        frame.pts = None
        queue.write(frame)
    merged = queue.read()
    channels = merged.layout.nb_channels
    samples = merged.to_ndarray()
    samples = samples.T if merged.format.is_planar else samples.reshape(-1, channels)
    zero, full = _SCALES.get(merged.format.name.rstrip("p"), (0, 1))
    if full != 1:
        samples = (samples.astype(np.float64) - zero) / full
    return np.ascontiguousarray(samples, dtype=np.float32)


def _survey(cursor: _Cursor, lacking: str | None) -> _Survey:
    """Decode a file once: how long it is, where its packets lie."""
    kind: tuple[int, int] | None = None
    entries: list[_Entry] = []
    kept: list[Any] | None = []
    before, longest, gap = 0, 0, _Gap()
    for frame in cursor.frames:
        this = (int(frame.sample_rate), int(frame.layout.nb_channels))
        if kind is None:
            kind = this
        elif kind != this:
            raise _changed(kind, this, before)
        if not entries or cursor.entry.first - entries[-1].first >= kind[0]:
            entries.append(cursor.entry)
        if kept is not None:
            kept.append(frame)
            kept = kept if cursor.decoded * kind[1] <= _KEPT else None
        before, longest = cursor.decoded, max(longest, frame.samples)
        gap.note(cursor, kind[0])
    if kind is None or not min(kind):
        raise _nothing(cursor, lacking)
    lacking = _lacking(cursor, kind[0], longest, lacking)
    there, lacking = _in_place(cursor, gap, kind[0], longest, lacking)
    surplus = min(_surplus(cursor), there)
    header = Header(there - surplus, *kind, lacking)
    return _Survey(header, cursor.codec, entries, surplus, samples_of(kept) if kept else None)


class _Gap:
    """Where the times of packets first run ahead of the samples decoded: some lack there."""

    def __init__(self) -> None:
        self.place: int | None = None
        self._usual = -float("inf")  # seconds ahead, by what decoders drop at the beginning

    def note(self, cursor: _Cursor, rate: int) -> None:
        """Compare the packet that was decoded last."""
        entry = cursor.entry
        if self.place is not None or entry.time is None or cursor.format in _RAW:
            return
        ahead = entry.time * cursor.unit - entry.first / rate
        if entry.first < rate / 4:
            self._usual = max(self._usual, ahead)
        elif ahead > self._usual + HARMLESS:
            self.place = entry.first


def _in_place(
    cursor: _Cursor, gap: _Gap, rate: int, frame: int, lacking: str | None
) -> tuple[int, str | None]:
    """Return the samples that are where their times say, and what lacks.

    What follows damage comes too early, and segments of it would be others.
    """
    there, lost = cursor.decoded, cursor.failed * frame / rate
    faults = [lacking] if lacking else []
    if lost > HARMLESS:
        faults.append(f"{cursor.failed} of its packets, about {lost:.2f} s, cannot be decoded")
        there = cursor.sound
    if faults and gap.place is not None:
        there = min(there, gap.place)
    if there < cursor.decoded:
        faults.insert(0, f"damaged at {there / rate:.2f} s, and what follows is out of its place")
    return there, "; ".join(faults) or None


def _surplus(cursor: _Cursor) -> int:
    """Count the samples before Opus begins that FFmpeg leaves in.

    Matroska states a time; FFmpeg takes it for samples of the rate that was encoded, and not of
    the 48 kHz that are decoded.
    """
    extra = cursor.stream.codec_context.extradata
    if cursor.codec != "opus" or not cursor.format.startswith("matroska") or not extra:
        return 0
    return max(int.from_bytes(bytes(extra)[10:12], "little") - cursor.dropped, 0)


def _changed(kind: tuple[int, int], this: tuple[int, int], before: int) -> AudioFault:
    told = "from {:.2f} s on it has {} Hz and {} channels instead of {} Hz and {}; split it there"
    return AudioFault(Fault.UNREADABLE, told.format(before / kind[0], *this, *kind))


def _nothing(cursor: _Cursor, lacking: str | None) -> AudioFault:
    if lacking := _lacking(cursor, 1, 0, lacking):
        return AudioFault(Fault.CUT_OFF, lacking)
    if cursor.packets > 1:  # the last one is empty
        told = f"none of its {cursor.packets - 1} packets can be decoded"
        return AudioFault(Fault.UNREADABLE, told)
    return AudioFault(Fault.EMPTY, "no samples")


def _lacking(cursor: _Cursor, rate: int, frame: int, lacking: str | None) -> str | None:
    """Say what lacks of the length that the header promises, where it does."""
    if lacking is not None or not cursor.format.startswith(_PROMISE):
        return lacking
    stream, container = cursor.stream, cursor.container
    if stream.duration is not None:
        promised = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:
        promised = container.duration / 1e6
    else:
        return None
    there = cursor.decoded / rate
    # Some count what is dropped at both ends, a frame or two; those with long frames drop nothing.
    dropped = 2 * frame if frame <= _LONGEST_LOSSY else 0
    if promised - there <= HARMLESS + dropped / rate:
        return None
    return f"cut off: the header promises {promised:.2f} s, and {there:.2f} s are there"


def _refuse(url: str, *_: object) -> None:
    raise PermissionError(f"it names another file, {url!r}, which is not read")


def _reason(error: Exception) -> str:
    if isinstance(error, PermissionError) and error.args and "it names" in str(error):
        return str(error)
    return "no audio was recognised in it"


def _next(packets: Iterator[Any], error: type[Exception]) -> Any:
    """Return the next packet; None at the end, or where the container is broken."""
    try:
        return next(packets, None)
    except (error, OSError):
        return None


@cache
def _library() -> Any:
    import av  # noqa: PLC0415 - loads FFmpeg's shared libraries

    av.logging.set_level(None)  # neither to the terminal nor to Python's log
    return av


_surveys = Recent[_Survey](_SURVEYS)
_idle = Idle[_Cursor](_IDLE)
os.register_at_fork(after_in_child=_surveys.forked)
os.register_at_fork(after_in_child=_idle.forked)
_tries = Counter[Key]()  # stretches that could be decoded from a little before, less others
