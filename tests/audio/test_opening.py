"""Every recording is heard whole, from any place, whatever it lies in."""

import io
import os
import pickle  # noqa: TID251 - faults come from worker processes
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness_bench.audio import ffmpeg
from harness_bench.audio.io import AudioFault, Fault, open_audio, read_header
from harness_bench.audio.recent import Recent
from tests.audio.recordings import KINDS, decoded, voice, write

# FFmpeg's Opus gives 48 kHz where libsndfile gives the rate that was encoded; its ALAC in CAF
# cuts the last packet twice.
OTHERWISE = {"opus.ogg", "alac.caf"}
# What decoders differ by: FFmpeg and libsndfile round ADPCM otherwise.
NEAR = {"mp3.mp3": 1e-5}
# Formats of which FFmpeg 5 leaves padding in that newer ones take away.
PADDED = {"aac.m4a", "aac.mov", "aac.3gp", "aac.mka", "aac.ts"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


def read(path: Path) -> NDArray[np.float32]:
    with open_audio(path) as stream:
        return stream.read()


@pytest.mark.parametrize("name", KINDS)
def test_every_container_and_codec_is_read_whole(name: str, folder: Path) -> None:
    """What PyAV writes is read as PyAV decodes it frame by frame, and as ffmpeg does."""
    muxer, codec, rates = KINDS[name]
    rng = np.random.default_rng(sum(name.encode()))
    for number in range(2):
        rate, count = int(rng.choice(rates)), int(rng.integers(4000, 40_000))
        path = folder / f"{number}{name}"
        write(path, voice(count, rate, 1 + number, seed=number), rate, muxer, codec)
        samples, header = read(path), read_header(path)
        assert (len(samples), header.channels, header.lacking) == (header.samples, 1 + number, None)
        if name in OTHERWISE:
            assert header.samples / header.sampling_rate == pytest.approx(count / rate, abs=0.01)
            continue
        expected, rate = decoded(path)
        assert header.sampling_rate == rate
        np.testing.assert_allclose(samples, expected, atol=NEAR.get(name, 1e-6))
        if shutil.which("ffmpeg") and name not in PADDED:
            raw = ["ffmpeg", "-v", "quiet", "-nostdin", "-i", str(path), "-f", "f32le", "-"]
            done = subprocess.run(raw, capture_output=True, check=True)
            assert len(done.stdout) == 4 * samples.size


def encoded(samples: NDArray[np.float32], rate: int, kind: str, codec: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format=kind, subtype=codec)
    return data.getvalue()


def patched(data: bytes, *patches: tuple[int, bytes]) -> bytes:
    changed = bytearray(data)
    for place, patch in patches:
        changed[place : place + len(patch)] = patch
    return bytes(changed)


def streams() -> Iterator[tuple[str, bytes, NDArray[np.float32]]]:
    """Yield recordings whose header does not say how long they are, with their samples."""
    wave = soundfile.read(
        io.BytesIO(encoded(voice(30_000, 16_000), 16_000, "WAV", "PCM_16")),
        dtype="float32", always_2d=True,
    )[0]  # fmt: skip
    wav = encoded(wave, 16_000, "WAV", "PCM_16")
    yield "data size 0", patched(wav, (40, bytes(4))), wave
    yield "both sizes 0", patched(wav, (4, bytes(4)), (40, bytes(4))), wave
    yield "ffmpeg's pipe", patched(wav, (4, b"\xff" * 4), (40, b"\xff" * 4)), wave
    yield "sox's pipe", patched(wav, (4, b"\x24\xf0\xff\x7f"), (40, b"\0\xf0\xff\x7f")), wave
    flac = encoded(wave, 16_000, "FLAC", "PCM_16")
    # STREAMINFO: the length is unknown, and so are the sizes of frames.
    unknown = patched(flac, (12, bytes(6)), (21, bytes([flac[21] & 0xF0]) + bytes(4)))
    yield "flac into a pipe", unknown, wave
    yield "flac behind a tag", b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + unknown, wave
    for codec in ("VORBIS", "OPUS"):
        links = [encoded(part, 16_000, "OGG", codec) for part in (wave[:9000], wave[9000:])]
        parts = [
            soundfile.read(io.BytesIO(link), dtype="float32", always_2d=True)[0] for link in links
        ]
        yield f"chained {codec}", b"".join(links), np.concatenate(parts)


@pytest.mark.parametrize(("data", "wave"), [(d, w) for _, d, w in streams()])
def test_streams_of_unknown_length_are_read_whole(
    data: bytes, wave: NDArray[np.float32], tmp_path: Path
) -> None:
    """Programs that write into a pipe never learn the length; radios join their recordings."""
    path = tmp_path / "a"
    path.write_bytes(data)
    assert read_header(path) == (len(wave), 16_000, 1, None)
    np.testing.assert_array_equal(read(path), wave)
    with open_audio(io.BytesIO(data)) as stream:
        np.testing.assert_array_equal(stream.read(5000, 9000), wave[5000:14_000])


def bare(path: Path, seconds: float, rate: int = 16_000) -> None:
    """Write an MP3 file without Xing header, tags and reservoir's beginning, as a radio sends."""
    write(path, voice(round(seconds * rate), rate), rate, "mp3", "libmp3lame",
          write_xing="0", id3v2_version="0")  # fmt: skip


def test_mp3_without_a_length_is_read_whole(tmp_path: Path) -> None:
    """Libsndfile takes most for longer or shorter; each frame has 576 samples at 16 kHz."""
    bare(tmp_path / "a.mp3", 4.0)
    data = (tmp_path / "a.mp3").read_bytes()
    tag = b"ID3\x03\0\0\0\0\x4e\x20" + bytes((0x4E << 7) + 0x20)
    for kind in (data, data + b"TAG" + bytes(125), tag + data, data[777:], bytes(3000) + data):
        (tmp_path / "b.mp3").write_bytes(kind)
        expected, _ = decoded(tmp_path / "b.mp3")
        assert len(expected) % 576 == 0
        np.testing.assert_allclose(read(tmp_path / "b.mp3"), expected, atol=1e-6)
        assert read_header(tmp_path / "b.mp3") == (len(expected), 16_000, 1, None)


def test_joined_mp3_is_read_whole(tmp_path: Path) -> None:
    """The header of the first promises its own length alone."""
    write(tmp_path / "a.mp3", voice(40_000, 16_000), 16_000, "mp3", "libmp3lame")
    (tmp_path / "b.mp3").write_bytes(2 * (tmp_path / "a.mp3").read_bytes())
    expected, _ = decoded(tmp_path / "b.mp3")
    assert len(expected) > 80_000
    np.testing.assert_allclose(read(tmp_path / "b.mp3"), expected, atol=1e-6)


LONG = {
    "mp3": ("mp3", "libmp3lame"), "aac": ("ipod", "aac"), "opus": ("webm", "libopus"),
    "flac": ("flac", "flac"), "ogg": ("ogg", "libopus"), "alac": ("ipod", "alac"),
    "wma": ("asf", "wmav2"),
}  # fmt: skip


@pytest.fixture(scope="module", params=["mp3", "aac", "opus", "flac", "ogg", "alac", "wma"])
def long(request: pytest.FixtureRequest, folder: Path) -> Path:
    """Return a file of a minute that is not kept in memory."""
    muxer, codec = LONG[request.param]
    path = folder / f"long.{request.param}"
    options = {"write_xing": "0"} if request.param == "mp3" else {}
    write(path, voice(60 * 16_000, 16_000), 16_000, muxer, codec, **options)
    return path


def test_any_stretch_equals_that_of_the_whole(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codecs remember: MP3's reservoir, overlapping windows, noise, filters of Opus."""
    monkeypatch.setattr(ffmpeg, "_KEPT", 1000)
    monkeypatch.setattr(ffmpeg, "_surveys", Recent(4))
    whole, rng = read(long), np.random.default_rng(0)
    places = rng.integers(0, len(whole), 12).tolist()
    for first in [*places, len(whole) - 3, len(whole) + 5]:
        count = int(rng.integers(1, 30_000))
        with open_audio(long) as stream:
            np.testing.assert_array_equal(stream.read(first, count), whole[first : first + count])
    with open_audio(long) as stream:
        assert stream.header.samples == len(whole)
        for first in sorted(places):
            np.testing.assert_array_equal(stream.read(first, 999), whole[first : first + 999])
        pieces = list(stream.blocks(70_001))
    assert {len(piece) for piece in pieces[:-1]} == {70_001}
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("samples", [100_000, 133_000])
def test_the_last_page_of_vorbis_is_read_in_its_place(samples: int, tmp_path: Path) -> None:
    """Its end is cut to length, and libsndfile seeks too far in it."""
    path = tmp_path / "a.ogg"
    path.write_bytes(encoded(voice(samples, 16_000), 16_000, "OGG", "VORBIS"))
    whole = read(path)
    assert len(whole) == samples
    for first in range(samples - 40_000, samples, 1999):
        with open_audio(path) as stream:
            np.testing.assert_allclose(stream.read(first, 900), whole[first : first + 900])


def test_threads_read_stretches_of_one_file(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`prepare` checks the segments of one recording in several threads."""
    monkeypatch.setattr(ffmpeg, "_KEPT", 1000)
    whole, look, looks = read(long), ffmpeg.FfmpegStream._look, []
    monkeypatch.setattr(ffmpeg, "_surveys", Recent(4))

    def counted(stream: ffmpeg.FfmpegStream, lacking: str | None) -> ffmpeg._Survey:
        looks.append(stream)
        return look(stream, lacking)

    monkeypatch.setattr(ffmpeg.FfmpegStream, "_look", counted)

    def same(first: int) -> bool:
        with open_audio(long) as stream:
            return np.array_equal(stream.read(first, 8000), whole[first : first + 8000])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(same, range(0, len(whole), len(whole) // 24)))
    assert len(looks) <= 1  # or each thread would decode the whole file first


def test_a_forked_process_reads_by_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked while a decoder waits for the next stretch of its file."""
    monkeypatch.setattr(ffmpeg, "_KEPT", 1000)
    path = folder / "forked.m4a"
    write(path, voice(60 * 16_000, 16_000), 16_000, "ipod", "aac")
    whole = read(path)

    def same(first: int) -> bool:
        with open_audio(path) as stream:
            return np.array_equal(stream.read(first, 900), whole[first : first + 900])

    assert same(16_000)
    child = os.fork()
    heard = all(map(same, range(20_000, 900_000, 80_000)))
    if not child:
        os._exit(0 if heard else 1)
    assert heard
    assert os.waitpid(child, 0)[1] == 0


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(first=st.integers(0, 30_000), count=st.none() | st.integers(0, 30_000))
def test_short_stretches(first: int, count: int | None, folder: Path) -> None:
    """Short files are decoded once and kept while they are open."""
    path = folder / "short.m4a"
    if not path.exists():
        write(path, voice(25_000, 16_000), 16_000, "ipod", "aac")
    whole = read(path)
    end = len(whole) if count is None else first + count
    with open_audio(path) as stream:
        np.testing.assert_array_equal(stream.read(first, count), whole[first:end])


def test_links_of_other_kinds_are_told(tmp_path: Path) -> None:
    """Samples of another rate after the first link would be heard at a wrong speed."""
    links = [encoded(voice(8000, rate), rate, "OGG", "VORBIS") for rate in (16_000, 44_100)]
    (tmp_path / "a.ogg").write_bytes(b"".join(links))
    with pytest.raises(AudioFault, match=r"0\.50 s.*44100 Hz"):
        read_header(tmp_path / "a.ogg")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe would be waited for for ever."""
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    kinds = {"pipe.wav": Fault.MISSING, "folder.wav": Fault.MISSING, "empty.wav": Fault.EMPTY,
             "none.wav": Fault.MISSING, "a" * 300: Fault.UNREADABLE, "a\0b": Fault.UNREADABLE,
             "\udcff.wav": Fault.UNREADABLE, "loop.wav": Fault.UNREADABLE}  # fmt: skip
    for name, kind in kinds.items():
        for opened in (read_header, read):
            with pytest.raises(AudioFault) as caught:
                opened(tmp_path / name)
            assert (caught.value.fault, str(tmp_path) in str(caught.value)) == (kind, True)
    fault = AudioFault(Fault.EMPTY, "no samples", "a.wav")
    again = pickle.loads(pickle.dumps(fault))  # noqa: S301 - as worker processes do
    assert (str(again), again.fault) == ("a.wav: no samples", Fault.EMPTY)


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    """Headers stay known, and files are downloaded again."""
    for seconds in (1.0, 1.5):
        bare(tmp_path / "a.mp3", seconds)
        os.utime(tmp_path / "a.mp3", ns=(0, round(seconds * 10)))
        assert read_header(tmp_path / "a.mp3").samples == len(read(tmp_path / "a.mp3"))
    assert read_header(tmp_path / "a.mp3").samples > 24_000
