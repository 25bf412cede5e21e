"""The frames of the paper's extractor: what labels and features stand for. Needs no library."""

from __future__ import annotations

SAMPLE_RATE = 16_000  # Hz, of all audio here
FRAME_SHIFT = 320  # samples from one frame to the next
FRAME_FIELD = 400  # samples that one frame sees; anything shorter gives no frame at all
FRAMES_PER_HOUR = 3600 * SAMPLE_RATE // FRAME_SHIFT


def frame_count(samples: int) -> int:
    """Return the 20 ms frames of so many samples at 16 kHz, or 0."""
    return max((samples - FRAME_FIELD) // FRAME_SHIFT + 1, 0)
