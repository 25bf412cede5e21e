"""Open Universal Arabic ASR Leaderboard, as it scores since 2026-07-27."""

import re
import string

from harness_bench.scoring.profiles import oual_2024

NAME = "oual-2026"
VERSION = "1"
RULE = "As oual-2024 with punctuation removed and a stand-alone و joined to the next word."

_PUNCTUATION = str.maketrans("", "", string.punctuation + "«»،؛؟")  # nothing takes its place


def normalise(text: str) -> str:
    """Normalise as the board does since July 2026; a stand-alone و at the end stays alone."""
    words = oual_2024.normalise(text.translate(_PUNCTUATION))
    return re.sub(r"(?<!\S)و ", "و", words)
