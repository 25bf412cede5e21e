"""Recordings in every container and codec that PyAV writes here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Name, FFmpeg's muxer, its encoder, and rates in Hz that the codec takes.
ALL = (8000, 11_025, 16_000, 22_050, 44_100, 48_000)
KINDS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "pcm.wav": ("wav", "pcm_s16le", ALL),
    "float.wav": ("wav", "pcm_f32le", ALL),
    "ima.wav": ("wav", "adpcm_ima_wav", ALL),
    "ms.wav": ("wav", "adpcm_ms", ALL),
    "ulaw.wav": ("wav", "pcm_mulaw", ALL),
    "mp3.wav": ("wav", "libmp3lame", (16_000, 44_100)),
    "pcm.w64": ("w64", "pcm_s16le", ALL),
    "pcm.aiff": ("aiff", "pcm_s16be", ALL),
    "pcm.au": ("au", "pcm_s16be", ALL),
    "pcm.caf": ("caf", "pcm_s16le", ALL),
    "alac.caf": ("caf", "alac", ALL),
    "flac.flac": ("flac", "flac", ALL),
    "opus.ogg": ("ogg", "libopus", (8000, 16_000, 48_000)),
    "opus.webm": ("webm", "libopus", (16_000, 48_000)),
    "pcm.mka": ("matroska", "pcm_s16le", ALL),
    "aac.mka": ("matroska", "aac", (16_000, 44_100)),
    "mp3.mp3": ("mp3", "libmp3lame", (8000, 16_000, 22_050, 44_100)),
    "aac.m4a": ("ipod", "aac", ALL),
    "alac.m4a": ("ipod", "alac", ALL),
    "aac.mov": ("mov", "aac", (16_000, 48_000)),
    "opus.mp4": ("mp4", "libopus", (48_000,)),
    "aac.3gp": ("3gp", "aac", (16_000,)),
    "aac.aac": ("adts", "aac", ALL),
    "aac.ts": ("mpegts", "aac", (16_000, 48_000)),
    "wma.wma": ("asf", "wmav2", ALL),
    "wma1.wma": ("asf", "wmav1", (16_000, 44_100)),
    "mp2.mp2": ("mp2", "mp2", (16_000, 44_100, 48_000)),
    "ac3.ac3": ("ac3", "ac3", (44_100, 48_000)),
    "tta.tta": ("tta", "tta", ALL),
    "wv.wv": ("wv", "wavpack", ALL),
    "aac.flv": ("flv", "aac", (44_100,)),
    "pcm.voc": ("voc", "pcm_s16le", (16_000,)),
    "pcm.nut": ("nut", "pcm_s16le", ALL),
}


def voice(samples: int, rate: int, channels: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Return (samples, channels): sweeps, pauses and noise, no two moments alike."""
    rng, time = np.random.default_rng(seed), np.arange(samples) / rate
    tones = [
        0.3 * np.sin(2 * np.pi * (100 + 60 * channel + 150 * np.sin(time)) * time)
        for channel in range(channels)
    ]
    loud = 0.6 + 0.4 * np.sin(2 * np.pi * 1.7 * time)
    noise = 0.01 * rng.standard_normal((samples, channels))
    return (loud[:, None] * np.stack(tones, 1) + noise).astype(np.float32)


def write(
    path: Path, samples: NDArray[np.float32], rate: int, muxer: str, codec: str, **options: Any
) -> None:
    """Encode (samples, channels) by PyAV."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w", format=muxer, container_options=options) as out:
        stream: Any = out.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            stream.codec_context.format, layout, rate, frame_size=stream.codec_context.frame_size
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))


def decoded(path: Path) -> tuple[NDArray[np.float64], int]:
    """Decode by PyAV, frame after frame -> (samples, channels) and their rate."""
    pieces, rate = [], 0
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for packet in container.demux(stream):
            try:
                frames: Any = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                array, rate = frame.to_ndarray().astype(np.float64), frame.sample_rate
                kind, channels = frame.format.name, frame.layout.nb_channels
                if kind.startswith("u8"):
                    array = (array - 128) / 128
                elif kind.startswith(("s16", "s32")):
                    array /= 1 << (15 if "16" in kind else 31)
                pieces.append(array.T if frame.format.is_planar else array.reshape(-1, channels))
    return np.concatenate(pieces), rate
