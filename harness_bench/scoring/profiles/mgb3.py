"""The surface normalisation of the MGB-3 challenge's own scoring run."""

from harness_bench.scoring.profiles._arabic import ALEFS

NAME = "mgb3"
VERSION = "1"
RULE = "أ إ آ to ا, ة to ه, ى to ي; nothing else is touched."

_LETTERS = ALEFS | str.maketrans({"ة": "ه", "ى": "ي"})


def normalise(text: str) -> str:
    """Normalise as the challenge did, in UTF-8 where it worked in Buckwalter."""
    return " ".join(text.translate(_LETTERS).split())
