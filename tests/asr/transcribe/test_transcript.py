"""Transcripts as files: what players and programs read."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.asr.transcribe.transcript import (
    FORMATS,
    HEADERS,
    TimedWord,
    Transcript,
    TranscriptSegment,
    segments_of,
)

WORDS = (TimedWord("نعم", 0.5, 0.9, 0.91234), TimedWord("<لا>", 1.0, 1.5, 0.25))
TALK = Transcript(
    Path("a/talk.wav"), Path("talk.wav"), 3725.0,
    [
        TranscriptSegment(0.5, 1.5, WORDS),
        TranscriptSegment(3723.4, 3724.0996, (TimedWord("ثم", 3723.4, 3724.0996, 1.0),)),
    ],
)  # fmt: skip
SILENT = Transcript(Path("quiet.wav"), Path("quiet.wav"), 2.0)
EXPECTED = {
    "txt": "نعم <لا> ثم\n",
    "tsv": "a/talk.wav\t0.500\t1.500\tنعم <لا>\na/talk.wav\t3723.400\t3724.100\tثم\n",
    "srt": (
        "1\n00:00:00,500 --> 00:00:01,500\nنعم <لا>\n\n"
        "2\n01:02:03,400 --> 01:02:04,100\nثم\n"
    ),
    "vtt": (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nنعم &lt;لا&gt;\n\n"
        "01:02:03.400 --> 01:02:04.100\nثم\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("style", sorted(EXPECTED))
def test_a_format(style: str) -> None:
    """Several texts name their files."""
    assert FORMATS[style](TALK, alone=True) == EXPECTED[style]
    assert FORMATS["txt"](TALK, alone=False) == f"a/talk.wav\t{EXPECTED['txt']}"
    assert HEADERS == {"tsv": "file\tstart\tend\ttext\n"}


def test_json_is_what_the_manual_promises() -> None:
    """Programs depend on these names; a change needs a new `version`."""
    value = json.loads(FORMATS["json"](TALK, alone=True))
    assert list(value) == ["version", "file", "duration", "text", "segments", "problem"]
    assert (value["version"], value["problem"]) == (1, None)
    assert list(value["segments"][0]) == ["start", "end", "text", "words"]
    assert value["segments"][0]["words"][0] == {
        "word": "نعم", "start": 0.5, "end": 0.9, "confidence": 0.912,
    }  # fmt: skip
    failed = Transcript(Path("x"), Path("x"), problem="there is no such file")
    assert json.loads(FORMATS["json"](failed, alone=True))["problem"] == "there is no such file"


@pytest.mark.parametrize("style", sorted(FORMATS))
def test_silence_has_no_segments(style: str) -> None:
    text = FORMATS[style](SILENT, alone=True)
    assert "-->" not in text
    assert text == {"txt": "\n", "vtt": "WEBVTT\n", "srt": "", "tsv": ""}.get(style, text)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.01, 3), st.integers(1, 30)), max_size=30))
def test_segments_keep_every_word_and_fit_a_subtitle(steps: list[tuple[float, float, int]]) -> None:
    """Whatever the pauses, lengths and letters."""
    words, now = [], 0.0
    for pause, length, letters in steps:
        words.append(TimedWord("ا" * letters, now + pause, now + pause + length, 0.5))
        now += pause + length
    segments = segments_of(words, 0.0, now)
    assert [word for segment in segments for word in segment.words] == words
    for segment in segments:
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        assert len(segment.text) <= 84
        assert segment.end - segment.start <= 7 or len(segment.words) == 1
        pauses = [b.start - a.end for a, b in zip(segment.words, segment.words[1:], strict=False)]  # type: ignore[operator]
        assert all(pause <= 0.6 for pause in pauses)


def test_words_without_times_are_one_segment() -> None:
    words = [TimedWord(letter, None, None, None) for letter in "ab"]
    assert segments_of(words, 3.0, 5.0) == [TranscriptSegment(3.0, 5.0, tuple(words))]
    assert segments_of([], 3.0, 5.0) == []
