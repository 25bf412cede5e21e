"""Known units of speech, one per frame, for measuring labels against them.

A unit is a phone or word of an alignment, a field of the whole utterance, or a character of the
transcript that is spread evenly over the speech.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE
from harness_bench.audio.io import load_waveform
from harness_bench.cuts.fields import label_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lhotse.cut import Cut
    from numpy.typing import NDArray

TRIM_DB = 35.0  # frames so much quieter than the utterance's loudest do not begin or end speech
_TATWEEL = "\u0640"
TEXT, ALIGNMENT = "text", "alignment"


class UnitReader(NamedTuple):
    """What gives the units of an utterance."""

    name: str  # what the user calls them
    note: str  # what they are
    of: Callable[[Cut, int], list[str | None]]  # a unit, or None, for each of so many frames


def aligned_units(level: str) -> UnitReader:
    """Units of one level of the alignment: the unit that covers the centre of each frame."""

    def of(cut: Cut, frames: int) -> list[str | None]:
        units: list[str | None] = [None] * frames
        for supervision in cut.supervisions:
            for item in (supervision.alignment or {}).get(level, []):
                # The centre of frame j, (320 j + 200) / 16000 s, lies in [start, end).
                first = _frame_at(item.start)
                for frame in range(max(first, 0), min(_frame_at(item.end), frames)):
                    units[frame] = item.symbol
        return units

    return UnitReader(level, f"alignment {level!r}: the unit at the centre of each frame", of)


def field_units(field: str) -> UnitReader:
    """One unit for the whole utterance: a field such as a word, a dialect, a speaker."""

    def of(cut: Cut, frames: int) -> list[str | None]:
        return spread([label_of(cut, field)], frames, speech_span(load_waveform(cut), frames))

    note = f"field {field!r} of the utterance, for every frame of its speech"
    return UnitReader(field, note, of)


def _characters_of(cut: Cut, frames: int) -> list[str | None]:
    text = characters(" ".join(each.text or "" for each in cut.supervisions))
    if not text:
        return [None] * frames
    return spread(text, frames, speech_span(load_waveform(cut), frames))


TEXT_UNITS = UnitReader(
    TEXT,
    "characters spread evenly over speech: an approximation, for comparing label sets on the same "
    "cuts, not an alignment",
    _characters_of,
)


def choose_units(cuts: Sequence[Cut], wanted: str | None) -> UnitReader | None:
    """Choose what labels are measured against.

    Args:
        cuts: what the units are of.
        wanted: "text"; "alignment" (its finest level) or a level's name, such as "phone" or
            "word"; or a field of the utterance. None: alignment if there, else text, else None.

    Raises:
        ValueError: no cut has what is wanted.
    """
    levels = alignment_levels(cuts)
    texts = any(supervision.text for cut in cuts for supervision in cut.supervisions)
    if levels and wanted in (None, ALIGNMENT):
        return aligned_units(max(levels, key=lambda name: levels[name]))
    if wanted in levels:
        return aligned_units(str(wanted))
    if texts and wanted in (None, TEXT):
        return TEXT_UNITS
    if wanted is None:
        return None
    if wanted in {ALIGNMENT, TEXT}:
        raise ValueError(
            f"None of the {len(cuts)} cuts has {wanted}; give cuts that have it, or other units "
            "(text, alignment, or a field such as label)."
        )
    for cut in cuts:
        label_of(cut, wanted)  # names the cut, and the fields it has
    return field_units(wanted)


def alignment_levels(cuts: Iterable[Cut]) -> dict[str, int]:
    """Count the items of every level of alignment that cuts have, levels by name."""
    counts: dict[str, int] = {}
    for cut in cuts:
        for supervision in cut.supervisions:
            for level, items in (supervision.alignment or {}).items():
                counts[level] = counts.get(level, 0) + len(items)
    return {level: counts[level] for level in sorted(counts) if counts[level]}


def _frame_at(seconds: float) -> int:
    """Return the first frame whose centre is at `seconds` or later."""
    # A tenth of a sample of slack, for times such as 0.0125 that binary fractions miss.
    return int(np.ceil((seconds * SAMPLE_RATE - FRAME_FIELD / 2 - 0.1) / FRAME_SHIFT))


def characters(text: str) -> str:
    """Keep letters and digits alone, in lower case: no vowel signs, punctuation, spaces, tatweel.

    Composed first, so that a hamza stays with its letter.
    """
    composed = unicodedata.normalize("NFC", text).casefold()
    kept = (char for char in composed if unicodedata.category(char)[0] in "LN")
    return "".join(kept).replace(_TATWEEL, "")


def spread(units: Sequence[str], frames: int, span: tuple[int, int]) -> list[str | None]:
    """Give each unit an equal part of the frames in span = [first, last), and the others None."""
    first, last = span
    row: list[str | None] = [None] * frames
    for frame in range(first, last):
        row[frame] = units[(frame - first) * len(units) // (last - first)]
    return row


def speech_span(wave: NDArray[np.float32], frames: int) -> tuple[int, int]:
    """Return [first, last) of the frames that are speech, silence at both ends left out.

    A frame's 400 samples are quiet if their power is 35 dB below that of the loudest frame of wave
    (samples,) at 16 kHz.
    """
    if frames == 0:
        return 0, 0
    windows = np.lib.stride_tricks.sliding_window_view(wave, FRAME_FIELD)[::FRAME_SHIFT][:frames]
    power = np.square(windows, dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-TRIM_DB / 10))
    return int(loud[0]), int(loud[-1]) + 1
