"""The MGB-2 challenge's normalisation of references and hypotheses."""

from harness_bench.scoring.profiles._arabic import (
    ALEFS,
    remove_diacritics,
    replace_punctuation,
    single_spaces,
)

NAME = "mgb2"
VERSION = "2"  # 1 put a space in the place of punctuation
RULE = "Diacritics and punctuation removed; أ إ آ to ا, ة to ه, ى to ي, ئ and ؤ to ء."

_LETTERS = ALEFS | str.maketrans({"ة": "ه", "ى": "ي", "ئ": "ء", "ؤ": "ء"})


def normalise(text: str) -> str:
    """Normalise for MGB-2; punctuation is removed, as the rule says, not replaced by a space.

    Marks go first: composing the text may turn a mark and a letter into one of the letters below.
    """
    return single_spaces(replace_punctuation(remove_diacritics(text), by="").translate(_LETTERS))
