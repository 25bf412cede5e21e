"""What was cut off, damaged, or is no audio at all is told by name, and nothing else happens."""

import io
import os
import re
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness_bench.audio.io import AudioFault, Fault, open_audio, read_header
from tests.audio.recordings import KINDS, voice, write

# Streams that say nowhere how long they are: half of one is a whole one.
ENDLESS = {"aac.aac", "aac.ts", "mp2.mp2", "ac3.ac3", "pcm.nut", "pcm.voc"}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return a recording of about 1.5 s of each kind."""
    folder, found = tmp_path_factory.mktemp("kinds"), {}
    for name, (muxer, codec, rates) in KINDS.items():
        write(folder / name, voice(rates[0] * 3 // 2, rates[0]), rates[0], muxer, codec)
        found[name] = (folder / name).read_bytes()
    return found


@pytest.mark.parametrize("name", sorted(KINDS.keys() - ENDLESS))
def test_a_file_that_was_cut_off_is_told(
    name: str, recordings: dict[str, bytes], tmp_path: Path
) -> None:
    """A download that broke is told by its header alone, or lacks less than 0.15 s."""
    data, rng = recordings[name], np.random.default_rng(len(name))
    path = tmp_path / name
    path.write_bytes(data)
    whole = read_header(path)
    assert whole.lacking is None
    for end in rng.integers(1, len(data), 5).tolist():
        path = tmp_path / f"{end}{name}"
        path.write_bytes(data[:end])
        try:
            header = read_header(path)
        except AudioFault:
            continue
        lost = (whole.samples - header.samples) / whole.sampling_rate
        assert header.lacking or lost < 0.15
        with open_audio(path) as stream:
            try:
                assert len(stream.read()) == stream.header.samples == header.samples
            except AudioFault:
                assert header.lacking


def test_a_torn_last_frame_of_flac_is_told(tmp_path: Path) -> None:
    """Its header and its number are there, its samples are not."""
    write(tmp_path / "a.flac", voice(48_000, 16_000), 16_000, "flac", "flac")
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(data[:-500])
    assert "cut off" in str(read_header(tmp_path / "b.flac").lacking)
    with open_audio(tmp_path / "b.flac") as stream, pytest.raises(AudioFault):
        stream.read()


@pytest.mark.parametrize("kind", ["a file", "of a pipe"])
def test_flac_without_a_whole_frame_has_no_length(kind: str, tmp_path: Path) -> None:
    """Libsndfile takes a length of 0 for one without end, and every segment would be inside."""
    write(tmp_path / "a.flac", voice(48_000, 16_000), 16_000, "flac", "flac")
    data = bytearray((tmp_path / "a.flac").read_bytes())
    if kind == "of a pipe":
        data[21:26] = bytes([data[21] & 0xF0]) + bytes(4)
    (tmp_path / "torn.flac").write_bytes(data[:-500])
    header = read_header(tmp_path / "torn.flac")
    assert "cut off" in str(header.lacking)
    assert header.samples <= 48_000
    (tmp_path / "none.flac").write_bytes(data[: data.index(b"\xff\xf8") + 100])
    with pytest.raises(AudioFault) as caught:
        read_header(tmp_path / "none.flac")
    assert caught.value.fault is Fault.CUT_OFF


def test_long_frames_are_no_tolerance(tmp_path: Path) -> None:
    """WavPack's frames have half a second; two of them lack, and not a little padding."""
    write(tmp_path / "a.wv", voice(96_000, 16_000), 16_000, "wv", "wavpack")
    data = (tmp_path / "a.wv").read_bytes()
    (tmp_path / "b.wv").write_bytes(data[: len(data) * 4 // 5])
    assert "cut off" in str(read_header(tmp_path / "b.wv").lacking)


@pytest.mark.parametrize(
    ("name", "muxer", "codec"),
    [("a.m4a", "ipod", "alac"), ("a.webm", "webm", "libopus"), ("a.wma", "asf", "wmav2")],
)
def test_what_follows_damage_is_not_taken_for_its_place(
    name: str, muxer: str, codec: str, tmp_path: Path
) -> None:
    """Without what cannot be decoded, or is skipped over, all behind it comes too early."""
    write(tmp_path / name, voice(96_000, 16_000), 16_000, muxer, codec)
    data = bytearray((tmp_path / name).read_bytes())
    place = len(data) // 2
    data[place : place + 3000] = bytes(3000)
    damaged = tmp_path / f"damaged_{name}"
    damaged.write_bytes(data)
    with open_audio(tmp_path / name) as whole, open_audio(damaged) as broken:
        assert broken.header.lacking
        there, rate = broken.header.samples, broken.header.sampling_rate
        assert rate < there < 4.1 * rate
        near = there - rate // 5  # what is decoded first after damage may sound otherwise
        np.testing.assert_array_equal(broken.read(0, near), whole.read(0, near))


def test_a_header_that_counts_half_is_told(recordings: dict[str, bytes], tmp_path: Path) -> None:
    """A recorder that died brings its header up to date no more; tags behind are harmless."""
    wav = recordings["pcm.wav"]
    place = wav.index(b"data") + 4
    (size,) = struct.unpack("<I", wav[place : place + 4])
    half = wav[:place] + struct.pack("<I", size // 4 * 2) + wav[place + 4 :]
    tagged = wav + b"LIST" + struct.pack("<I", 4000) + b"INFO" + bytes(3996)
    padded = wav + bytes(8000)
    for data, told in ((half, True), (tagged, False), (padded, False), (wav + b"\1", False)):
        (tmp_path / "a.wav").write_bytes(data)
        assert bool(read_header(tmp_path / "a.wav").lacking) == told


IMPOSTORS = {
    b"\0\5\x16\7\0\2\0\0Mac OS X        \0\2": "macOS",
    b"\n <!DOCTYPE html><html><body>404</body></html>": "web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n": "git lfs pull",
    b"/annex/objects/SHA256E-s5--0.wav\n": "git annex get",
    b'{"error": "not found"}': "JSON",
    b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n": "playlist",
    b"ffconcat version 1.0\nfile /etc/passwd\n": "playlist",
    b"PK\3\4\x14\0": "ZIP", b"\x1f\x8b\x08\0": "gzip", b"%PDF-1.4": "PDF", b"ajkg\2\xfb": "shorten",
    b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n": "sph2pipe",
    b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + b"\0\1\0\0mdat" + bytes(60_000): "never finished",
    b"no audio": "no audio was recognised",
    bytes(5000): "no audio was recognised",
}  # fmt: skip


@pytest.mark.parametrize(("data", "told"), IMPOSTORS.items())
def test_what_is_no_audio_is_named(data: bytes, told: str, tmp_path: Path) -> None:
    """What came instead of a download, or beside a file, is told in words that lead on."""
    (tmp_path / "a.wav").write_bytes(data.ljust(200, b" "))
    for _ in range(2):
        with pytest.raises(AudioFault, match=told) as caught:
            read_header(tmp_path / "a.wav")
        assert str(caught.value).startswith(str(tmp_path / "a.wav"))


def test_media_open_no_other_file(recordings: dict[str, bytes], tmp_path: Path) -> None:
    """An MP4 file may say that its samples lie elsewhere, by a path."""
    (tmp_path / "secret.wav").write_bytes(recordings["pcm.wav"])
    write(tmp_path / "a.mov", voice(24_000, 16_000), 16_000, "mov", "pcm_s16le")
    data = (tmp_path / "a.mov").read_bytes()
    place = data.index(b"url \0\0\0\1")
    target = str(tmp_path / "secret.wav").encode() + b"\0"
    elsewhere = struct.pack(">I", 12 + len(target)) + b"url \0\0\0\0" + target
    (tmp_path / "b.mov").write_bytes(data[: place - 4] + elsewhere + data[place + 8 :])
    try:
        with open_audio(tmp_path / "b.mov") as stream:
            heard = stream.read()
    except AudioFault:
        return
    secret = soundfile.read(tmp_path / "secret.wav", dtype="float32", always_2d=True)[0]
    assert not np.array_equal(heard[:100], secret[:100])


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a file as disks, networks and programs do."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(0, max(len(changed), 1)))
        place = min(place, int(rng.integers(0, 400))) if rng.random() < 0.6 else place
        size = int(rng.integers(1, 64))
        match int(rng.integers(6)):
            case 0:
                changed[place : place + size] = rng.bytes(size)
            case 1:
                changed[place : place + 4] = bytes([rng.choice([0, 0x7F, 0x80, 0xFF])]) * 4
            case 2:
                del changed[place : place + size]
            case 3:
                changed[place:place] = changed[place : place + size]
            case 4:
                del changed[place:]
            case _:
                changed[place : place + 1] = rng.bytes(1)
    return bytes(changed)


@pytest.mark.parametrize("count", [70, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_files_are_audio_or_a_named_fault(
    count: int,
    recordings: dict[str, bytes],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither a traceback, nor a hang, nor a word on the terminal."""
    names, rng, heard = sorted(recordings), np.random.default_rng(count), 0
    for number in range(count):
        path = tmp_path / f"{number}.{names[number % len(names)].rpartition('.')[2]}"
        path.write_bytes(mutated(recordings[names[number % len(names)]], rng))
        try:
            with open_audio(path if number % 5 else io.BytesIO(path.read_bytes())) as stream:
                header, samples = stream.header, stream.read()
                assert samples.shape == (header.samples, header.channels)
                assert len(stream.read(header.samples // 2, 100)) <= 100
            heard += 1
        except AudioFault:
            pass
        path.unlink()
    assert 0.1 * count < heard < 0.95 * count
    assert capfd.readouterr() == ("", "")


def test_mp3_read_from_the_middle_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Libmpg123 notes on stderr what it lacks there; what others print still comes."""
    write(tmp_path / "a.mp3", voice(160_000, 16_000), 16_000, "mp3", "libmp3lame", write_xing="1")
    with soundfile.SoundFile(tmp_path / "a.mp3") as stream:
        for first in range(1000, 150_000, 3000):
            stream.seek(first)
            stream.read(100)
    assert "libmpg123" in capfd.readouterr().err  # or this test proves nothing
    with open_audio(tmp_path / "a.mp3") as stream:
        for first in range(1000, 150_000, 3000):
            assert len(stream.read(first, 100)) == 100
        os.write(2, b"still heard")
    assert capfd.readouterr().err == "still heard"


def pages_of(data: bytes) -> list[bytes]:
    """Split an Ogg file into its pages."""
    starts = [match.start() for match in re.finditer(rb"OggS\0", data)]
    return [data[start:end] for start, end in pairwise([*starts, len(data)])]


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_ogg_without_a_part_of_its_middle_is_refused(subtype: str, tmp_path: Path) -> None:
    """What comes behind a gap would move forward, under the texts of other segments."""
    whole = tmp_path / "whole.ogg"
    soundfile.write(whole, voice(16_000 * 8, 16_000), 16_000, format="OGG", subtype=subtype)
    pages = pages_of(whole.read_bytes())
    middle = len(pages) // 2
    seam = b"".join(pages[:middle])[:-50] + b"".join(pages[middle:])
    for number, data in enumerate((b"".join(pages[:middle] + pages[middle + 1 :]), seam)):
        path = tmp_path / f"{number}.ogg"
        path.write_bytes(data)
        with pytest.raises(AudioFault, match=r"middle .*missing"):
            read_header(path)
    assert read_header(whole).samples == 16_000 * 8


def test_a_capture_of_radio_begins_in_the_middle_of_its_stream(tmp_path: Path) -> None:
    """Its first pages are those of the stream; the next ones are of hours later."""
    whole, later = tmp_path / "whole.ogg", tmp_path / "later.ogg"
    soundfile.write(whole, voice(16_000 * 8, 16_000), 16_000, format="OGG", subtype="OPUS")
    pages = pages_of(whole.read_bytes())
    later.write_bytes(b"".join(pages[:2] + pages[4:]))
    assert 0 < read_header(later).samples < read_header(whole).samples
