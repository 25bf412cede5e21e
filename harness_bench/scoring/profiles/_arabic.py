"""Arabic letters: classes that text profiles share, and Buckwalter's Latin for each, both ways."""

from __future__ import annotations

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
