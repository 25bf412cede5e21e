"""What an open audio file is, and why one gives no audio."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, override

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


class Fault(StrEnum):
    """Why a file gives no audio, or not the whole of it."""

    MISSING = "missing file"
    UNREADABLE = "unreadable audio"
    CUT_OFF = "cut-off audio"
    EMPTY = "empty audio"


class AudioFault(ValueError):  # noqa: N818 - a verdict on the data, as `Unfit` is
    """A file gives no audio: `fault` says which kind, `detail` why, without the file's name."""

    def __init__(self, fault: Fault, detail: str, name: object = "") -> None:
        super().__init__(fault, detail, str(name))  # as pickle calls this again
        self.fault, self.detail, self.name = fault, detail, str(name)

    @override
    def __str__(self) -> str:
        return f"{self.name}: {self.detail}" if self.name else self.detail


class Header(NamedTuple):
    """What can be decoded of an audio file."""

    samples: int
    sampling_rate: int
    channels: int
    lacking: str | None = None  # what a file that was cut off lacks; None: it is whole


class OpenAudio(Protocol):
    """An audio file that is open."""

    @property
    def header(self) -> Header:
        """What can be read of it."""

    def read(self, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Read (samples, channels) from any place, to the end if `count` is None.

        Fewer than `count` come at the end only. What cannot be decoded is an `AudioFault`.
        """

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Read piece by piece, (size, channels) each but the last: together the whole."""
