"""A child program that speaks: `python -m harness_bench.demo.espeak < jobs.jsonl > samples`.

eSpeak NG is licensed under the GPL, version 3 or later. It comes from the optional
`espeakng-loader` wheel, runs only inside this separate process, and nothing else of the project
loads it; what crosses the border is text on one side and samples on the other.

Input: one JSON object per line with text, voice, rate (words per minute), pitch (0 to 99),
range (0 to 99). Output: one JSON line with the sampling rate, then for each
job its number of samples (uint32, little-endian) and the samples (int16, little-endian).
eSpeak NG's output depends on what it spoke before in the same process: the same lines in the
same order give the same samples.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from pathlib import Path
from typing import Any

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples come through the callback, in order
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_UTF8_TO_THE_END = 0x1001  # espeakCHARS_UTF8 | espeakENDPAUSE
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Synthesiser:
    """The synthesiser behind ctypes."""

    def __init__(self) -> None:
        import espeakng_loader  # noqa: PLC0415 - the optional GPL-licensed wheel

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        # eSpeak NG wants the folder that its data folder stands in.
        data = Path(espeakng_loader.get_data_path()).parent
        self.sampling_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), 0)
        if self.sampling_rate <= 0:
            raise ValueError(f"eSpeak NG does not start with its data in {data}.")
        self._chunks: list[bytes] = []
        # Kept as an attribute: ctypes does not keep a callback alive.
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, job: dict[str, Any]) -> bytes:
        """Speak one job; return its samples, int16 in the machine's byte order."""
        if self._library.espeak_SetVoiceByName(job["voice"].encode()):
            raise ValueError(f"eSpeak NG has no voice {job['voice']!r}.")
        for number, name in ((_RATE, "rate"), (_PITCH, "pitch"), (_RANGE, "range")):
            self._library.espeak_SetParameter(number, job[name], 0)
        self._chunks.clear()
        text = job["text"].encode() + b"\0"
        if self._library.espeak_Synth(text, len(text), 0, 1, 0, _UTF8_TO_THE_END, None, None):
            raise ValueError(f"eSpeak NG could not speak {job['text']!r}.")
        self._library.espeak_Synchronize()
        return b"".join(self._chunks)

    def _take(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0


def main() -> None:
    """Speak every job of standard input in its order."""
    synthesiser = Synthesiser()
    out = sys.stdout.buffer
    out.write(json.dumps({"sampling_rate": synthesiser.sampling_rate}).encode() + b"\n")
    for line in sys.stdin.buffer:
        samples = synthesiser.speak(json.loads(line))
        out.write(struct.pack("<I", len(samples) // 2) + samples)
    out.flush()


if __name__ == "__main__":
    main()
