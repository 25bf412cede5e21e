"""Cuts are read by the one reader: every format, with lhotse's transforms, without a shell."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import Recording

from harness_bench.audio.io import load_samples, open_audio
from harness_bench.audio.lhotse import install
from tests.audio.recordings import voice, write


@pytest.mark.parametrize(("suffix", "muxer", "codec"), [
    ("m4a", "ipod", "aac"), ("mp3", "mp3", "libmp3lame"), ("webm", "webm", "libopus"),
])  # fmt: skip
def test_cuts_of_any_format_are_read(suffix: str, muxer: str, codec: str, tmp_path: Path) -> None:
    """A cut's stretch is that of the file; speeds and other transforms work as on WAV."""
    install()
    path = tmp_path / f"a.{suffix}"
    options = {"write_xing": "0"} if suffix == "mp3" else {}
    write(path, voice(32_000, 16_000), 16_000, muxer, codec, **options)
    cut = Recording.from_file(path).to_cut()
    with open_audio(path) as stream:
        whole, rate = stream.read().T, stream.header.sampling_rate
    assert (cut.num_samples, cut.sampling_rate) == (whole.shape[1], rate)
    np.testing.assert_array_equal(load_samples(cut), whole)
    part = cut.truncate(offset=0.5, duration=1.0)
    np.testing.assert_array_equal(load_samples(part), whole[:, rate // 2 : rate // 2 + rate])
    fast = cut.perturb_speed(1.1)
    assert load_samples(fast).shape == (1, fast.num_samples)
    in_memory = Recording.from_bytes(path.read_bytes(), "a").to_cut()
    np.testing.assert_array_equal(load_samples(in_memory), whole)


def test_no_shell_is_asked(tmp_path: Path) -> None:
    """Lhotse's own reader of .sph gives its name to a shell; what it writes stays as it was."""
    install()
    path = tmp_path / "a; touch evil; b.sph"
    path.write_bytes(b"NIST_1A\n   1024\nsample_coding -s4 junk\nend_head\n".ljust(5000, b" "))
    cut = Recording(
        "a", sources=Recording.from_bytes(wav(), "a").sources, sampling_rate=16_000,
        num_samples=16_000, duration=1.0,
    ).to_cut()  # fmt: skip
    cut.recording.sources[0].type = "file"
    cut.recording.sources[0].source = str(path)
    with pytest.raises(ValueError, match="touch evil"):
        load_samples(cut)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def wav() -> bytes:
    data = io.BytesIO()
    soundfile.write(data, voice(16_000, 16_000), 16_000, format="WAV")
    return data.getvalue()
