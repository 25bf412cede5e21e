"""Units of frames: what stands at a frame's centre, and what is spread over speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse.supervision import AlignmentItem

from harness_bench.pretrain.labels.units import (
    TEXT_UNITS,
    aligned_units,
    characters,
    choose_units,
    field_units,
    speech_span,
    spread,
)
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    return make_cuts(tmp_path, [16_000])[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=12))
def test_alignment_is_read_at_frame_centres(milliseconds: list[int]) -> None:
    """Frame j has the item that covers (320 j + 200) / 16000 s: 12.5 ms, 32.5 ms and so on."""
    edges = np.concatenate([[0], np.cumsum(milliseconds)])
    items = [
        AlignmentItem(f"p{n}", edges[n] / 1000, length / 1000)
        for n, length in enumerate(milliseconds)
    ]
    frames = 40
    centres = 12.5 + 20 * np.arange(frames)
    place = np.searchsorted(edges, centres, side="right") - 1
    expected = [f"p{n}" if n < len(items) else None for n in place]
    assert aligned_units("phone").of(_with(items), frames) == expected


def _with(items: list[AlignmentItem]) -> Cut:
    """Make a cut that has an alignment and no audio."""
    from lhotse import MonoCut, SupervisionSegment  # noqa: PLC0415 - as the fixtures do

    said = SupervisionSegment("u", "u", 0.0, 1.0, alignment={"phone": items})
    return MonoCut("u", 0.0, 1.0, channel=0, supervisions=[said])


def test_gaps_have_no_unit() -> None:
    """Silence that an alignment leaves out is not a unit."""
    items = [AlignmentItem("a", 0.0, 0.05), AlignmentItem("b", 0.1, 0.05)]
    expected = ["a", "a", None, None, None, "b", "b", None, None]
    assert aligned_units("phone").of(_with(items), 9) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 200), st.integers(0, 20), st.integers(0, 20))
def test_spread_is_even_and_in_order(count: int, length: int, before: int, after: int) -> None:
    """Each unit has its equal part, to one frame; frames outside the span have none."""
    units = [str(number) for number in range(count)]
    row = spread(units, before + length + after, (before, before + length))
    inside = row[before : before + length]
    assert row[:before] + row[before + length :] == [None] * (before + after)
    numbers = [int(unit or -1) for unit in inside]
    assert numbers == sorted(numbers)
    sizes = [numbers.count(number) for number in range(count)]
    assert sum(sizes) == length
    assert max(sizes) - min(sizes) <= 1


def test_silence_at_both_ends_is_trimmed() -> None:
    """Speech from 0.5 s to 1 s between noise 60 dB below it; a pause inside stays."""
    rng = np.random.default_rng(0)
    wave = (1e-4 * rng.standard_normal(32_000)).astype(np.float32)
    wave[8_000:16_000] += 0.1 * rng.standard_normal(8_000)
    wave[11_000:13_000] = 0
    first, last = speech_span(wave, 99)
    # The first frame whose 400 samples reach 8,000, and the last that begins before 16,000.
    assert (first, last) == (24, 50)
    assert speech_span(np.zeros(32_000, np.float32), 99) == (0, 99)
    assert speech_span(wave[:300], 0) == (0, 0)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("لم يتصافح النّاس؟", "لميتصافحالناس"),
        ("سُـــؤالٌ، ٣ مرات!", "سؤال٣مرات"),
        ("سو\u0654ال", "سؤال"),  # a hamza that stands as a mark stays with its letter
        ("Straße  No. 5", "strasseno5"),
        ("؟!", ""),
    ],
)
def test_characters_are_letters_and_digits(text: str, kept: str) -> None:
    """Vowel signs, punctuation, spaces and tatweel say nothing of a frame."""
    assert characters(text) == kept


def test_text_and_fields_lie_on_speech(cut: Cut) -> None:
    """A transcript and a field both begin and end with the speech."""
    cut.supervisions[0].text = "اب"
    cut.supervisions[0].custom = {"label": "up"}
    assert TEXT_UNITS.of(cut, 49) == ["ا"] * 25 + ["ب"] * 24
    assert field_units("label").of(cut, 49) == ["up"] * 49
    cut.supervisions[0].text = "!"
    assert TEXT_UNITS.of(cut, 49) == [None] * 49


def test_the_choice_of_units(cut: Cut) -> None:
    """Alignment first, its finest level; then text; then nothing; or what is asked for."""
    assert choose_units([cut], None) is None
    cut.supervisions[0].text = "word"
    assert choose_units([cut], None) == TEXT_UNITS
    phones = [AlignmentItem(name, 0.1 * n, 0.1) for n, name in enumerate("abc")]
    cut.supervisions[0].alignment = {"word": [AlignmentItem("abc", 0, 0.3)], "phone": phones}
    for wanted, expected in {
        None: "phone", "alignment": "phone", "word": "word", "text": "text", "speaker": "speaker",
    }.items():  # fmt: skip
        chosen = choose_units([cut], wanted)
        assert chosen is not None
        assert chosen.name == expected
    with pytest.raises(ValueError, match="no field 'phoneme'; it has"):
        choose_units([cut], "phoneme")
