"""Open Universal Arabic ASR Leaderboard, as it scores since 2026-07-27."""

from harness_bench.scoring.profiles._oual import attach_waw, fold, remove_punctuation

NAME = "oual-2026"
VERSION = "1"
RULE = "As oual-2024 with punctuation removed and a stand-alone و joined to the next word."


def normalise(text: str) -> str:
    """Normalise as the board does since July 2026."""
    return attach_waw(fold(remove_punctuation(text)))
