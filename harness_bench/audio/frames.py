"""The frames of the paper's extractor: what labels and features stand for. Needs no library."""

from collections.abc import Sequence

SAMPLE_RATE = 16_000  # Hz, of all audio here
FRAME_SHIFT = 320  # samples from one frame to the next
FRAME_FIELD = 400  # samples that one frame sees; anything shorter gives no frame at all
FRAMES_PER_HOUR = 3600 * SAMPLE_RATE // FRAME_SHIFT


def frame_count(samples: int, field: int = FRAME_FIELD, shift: int = FRAME_SHIFT) -> int:
    """Return the frames of so many samples, each of which sees `field` of them, or 0."""
    return max((samples - field) // shift + 1, 0)


def field_of(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Return the samples that one frame behind a stack of convolutions sees."""
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field, step = field + (kernel - 1) * step, step * stride
    return field
