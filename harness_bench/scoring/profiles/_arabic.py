"""Arabic character classes that the text profiles share."""

from __future__ import annotations

import re
import unicodedata

# Short vowels, tanwin, shadda, sukun, maddah and hamza marks, dagger alef, and the small signs
# of Quranic orthography (libraries miss U+0670 or U+06D6 in turn).
_MARKS = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")
TATWEEL = "\u0640"
ALEFS = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا"})
EASTERN_DIGITS = str.maketrans("٠١٢٣٤٥٦٧٨٩", "0123456789")


def remove_diacritics(text: str) -> str:
    """Remove vowel signs and tatweel, leaving nothing in their place.

    The text is composed first (NFC), so that a hamza written as a combining mark stays part of
    its letter and is not lost as a sign.
    """
    return _MARKS.sub("", unicodedata.normalize("NFC", text)).replace(TATWEEL, "")


def replace_punctuation(text: str, by: str = " ") -> str:
    """Replace every Unicode punctuation mark and symbol, by a space unless told."""
    return "".join(by if unicodedata.category(char)[0] in "PS" else char for char in text)


def single_spaces(text: str) -> str:
    """Put one space between words and none at the ends."""
    return " ".join(text.split())
