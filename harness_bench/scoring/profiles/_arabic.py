"""Arabic letters: classes that text profiles share, and Buckwalter's Latin for each, both ways."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ALEFS = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا"})
EASTERN_DIGITS = str.maketrans("٠١٢٣٤٥٦٧٨٩", "0123456789")
_TABLE = {
    "'": "ء", "|": "آ", ">": "أ", "&": "ؤ", "<": "إ", "}": "ئ", "A": "ا", "b": "ب", "p": "ة",
    "t": "ت", "v": "ث", "j": "ج", "H": "ح", "x": "خ", "d": "د", "*": "ذ", "r": "ر", "z": "ز",
    "s": "س", "$": "ش", "S": "ص", "D": "ض", "T": "ط", "Z": "ظ", "E": "ع", "g": "غ", "_": "ـ",
    "f": "ف", "q": "ق", "k": "ك", "l": "ل", "m": "م", "n": "ن", "h": "ه", "w": "و", "Y": "ى",
    "y": "ي", "F": "\u064b", "N": "\u064c", "K": "\u064d", "a": "\u064e", "u": "\u064f",
    "i": "\u0650", "~": "\u0651", "o": "\u0652", "`": "\u0670", "{": "ٱ", "P": "پ", "J": "چ",
    "V": "ڤ", "G": "گ",
}  # fmt: skip
_TO_ARABIC = str.maketrans(_TABLE)
_TO_BUCKWALTER = str.maketrans({arabic: latin for latin, arabic in _TABLE.items()})


def to_arabic(text: str) -> str:
    """Turn Buckwalter into Arabic script; what is outside the table passes unchanged."""
    return text.translate(_TO_ARABIC)


def to_buckwalter(text: str) -> str:
    """Turn Arabic script into Buckwalter."""
    return text.translate(_TO_BUCKWALTER)


_SCRIPT = re.compile("[\u0621-\u064a]")
# What Latin words hardly have and every second Arabic word does in Buckwalter.
_ODD = re.compile(r"(?<=[A-Za-z])[|>&<}*$~`{]|[|>&<}*$~`{](?=[A-Za-z])|(?<=[a-z])[A-Z]")
_TAG = re.compile(r"[<\[].*[>\]]")
_FEWEST = 3  # words: an `iPhone` is nothing
_SHARE = 0.3  # of words; measured: 0.59 to 0.63 of MGB-3's, 0.0015 of English licences'


def looks_buckwalter(texts: Iterable[str]) -> bool:
    """Tell whether texts without any Arabic letter are Arabic in Buckwalter's Latin letters."""
    words = odd = 0
    for text in texts:
        if _SCRIPT.search(text):
            return False
        for word in text.split():
            words += 1
            odd += bool(_ODD.search(word)) and not _TAG.fullmatch(word)
    return odd >= _FEWEST and odd > _SHARE * words
