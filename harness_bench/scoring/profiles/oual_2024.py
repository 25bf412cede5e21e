"""Open Universal Arabic ASR Leaderboard, as it scored before 2026-07-27."""

from harness_bench.scoring.profiles._oual import fold

NAME = "oual-2024"
VERSION = "1"
RULE = (
    "Punctuation kept (the board's pattern matched nothing); U+064B to U+0652 removed; پ to ب, "
    "ڤ to ف, أ إ آ to ا, ؤ to و, ئ to ي, ء deleted; Eastern digits to Western."
)


def normalise(text: str) -> str:
    """Normalise as the board did until July 2026."""
    return " ".join(fold(text).split())
