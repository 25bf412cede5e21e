"""Open Universal Arabic ASR Leaderboard, as it scores since 2026-07-27."""

import re
import string

from harness_bench.scoring.profiles import oual_2024

NAME = "oual-2026"
VERSION = "2-8fce859"  # the board's commit; 1 removed « » and joined every و of several in a row
RULE = (
    "As oual-2024 with punctuation removed, but « and » kept, and a stand-alone و joined to the "
    "next word; of two in a row the first takes the second."
)

_PUNCTUATION = str.maketrans("", "", string.punctuation + "،؛؟")  # nothing takes its place


def normalise(text: str) -> str:
    """Normalise as the board does since July 2026; a stand-alone و at the end stays alone."""
    words = oual_2024.normalise(text.translate(_PUNCTUATION))
    return re.sub(r"(^|\s)و\s+(?=\S)", r"\1و", words)
