"""The MGB-2 challenge's normalisation of references and hypotheses."""

import re
import unicodedata

from harness_bench.scoring.profiles._arabic import ALEFS

NAME = "mgb2"
# 1 put a space in the place of punctuation; 2 kept the case of Latin letters, which the organisers'
# evaluation/stm_norm.stm of qcri/ArabicASRChallenge2016 at this commit has in lower case.
VERSION = "3-430356f"
RULE = (
    "Diacritics and punctuation removed; أ إ آ to ا, ة to ه, ى to ي, ئ and ؤ to ء; Latin letters "
    "to lower case."
)

_LETTERS = ALEFS | str.maketrans({"ة": "ه", "ى": "ي", "ئ": "ء", "ؤ": "ء"})

# Short vowels, tanwin, shadda, sukun, maddah and hamza marks, dagger alef, and the small signs
# of Quranic orthography (libraries miss U+0670 or U+06D6 in turn).
_MARKS = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")
_TATWEEL = "\u0640"


def normalise(text: str) -> str:
    """Normalise for MGB-2; what is removed leaves nothing in its place, as the rule says.

    Marks go first, after composing (NFC): a hamza written as a combining mark stays part of its
    letter, and may make one of the letters above.
    """
    bare = _MARKS.sub("", unicodedata.normalize("NFC", text)).replace(_TATWEEL, "")
    kept = "".join(char for char in bare if unicodedata.category(char)[0] not in "PS")
    return " ".join(kept.translate(_LETTERS).lower().split())
