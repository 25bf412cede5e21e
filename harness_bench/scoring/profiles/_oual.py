"""The rules that both profiles of the Open Universal Arabic ASR Leaderboard share."""

from __future__ import annotations

import re
import string

from harness_bench.scoring.profiles._arabic import ALEFS, EASTERN_DIGITS

_VOWELS = re.compile("[\u064b-\u0652]")
_LETTERS = (
    ALEFS | EASTERN_DIGITS | str.maketrans({"پ": "ب", "ڤ": "ف", "ؤ": "و", "ئ": "ي", "ء": None})
)
_PUNCTUATION = str.maketrans("", "", string.punctuation + "«»،؛؟")


def fold(text: str) -> str:
    """Remove the eight vowel signs, fold letters and digits; ة, ى and tatweel stay."""
    return _VOWELS.sub("", text).translate(_LETTERS)


def remove_punctuation(text: str) -> str:
    """Remove ASCII and Arabic punctuation, leaving nothing in its place (the board's habit)."""
    return text.translate(_PUNCTUATION)


def attach_waw(text: str) -> str:
    """Join every stand-alone و ("and") to the word after it; a last one stays alone."""
    words: list[str] = []
    waiting = ""
    for word in text.split():
        if word == "و":
            waiting += word
        else:
            words.append(waiting + word)
            waiting = ""
    return " ".join([*words, waiting]) if waiting else " ".join(words)
