"""Open Universal Arabic ASR Leaderboard, as it scored before 2026-07-27."""

import re

from harness_bench.scoring.profiles._arabic import ALEFS, EASTERN_DIGITS

NAME = "oual-2024"
VERSION = "1"
RULE = (
    "Punctuation kept (the board's pattern matched nothing); U+064B to U+0652 removed; پ to ب, "
    "ڤ to ف, أ إ آ to ا, ؤ to و, ئ to ي, ء deleted; Eastern digits to Western."
)

_VOWELS = re.compile("[\u064b-\u0652]")
_LETTERS = (
    ALEFS | EASTERN_DIGITS | str.maketrans({"پ": "ب", "ڤ": "ف", "ؤ": "و", "ئ": "ي", "ء": None})
)


def normalise(text: str) -> str:
    """Normalise as the board did until July 2026; ة, ى and tatweel stay."""
    return " ".join(_VOWELS.sub("", text).translate(_LETTERS).split())
