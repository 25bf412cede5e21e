"""One way to write each letter: what looks alike becomes equal, and what is not seen goes."""

import re
import unicodedata

from harness_bench.scoring.profiles.kaldi_mgb2 import TAGS

NAME = "unicode-clean"
VERSION = "1"
RULE = (
    "Invisible marks removed, presentation forms and ligatures unfolded, Persian and Urdu forms of "
    "Arabic letters and digits to Arabic, hamza and madda composed (NFC), tags such as <UNK> "
    "dropped."
)

# Soft hyphen, direction marks and isolates, joiners, spaces of no width, byte order mark.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_PRESENTED = re.compile("[\ufb50-\ufdff\ufe70-\ufefc]")
_LETTERS = str.maketrans(
    {
        "ی": "ي", "ے": "ي", "ۓ": "ئ", "ک": "ك", "ڪ": "ك",
        # He of Urdu, of two eyes, without dots, with hamza; ta marbuta of Urdu.
        "\u06c1": "ه", "\u06be": "ه", "\u06d5": "ه", "\u06c0": "ه", "\u06c2": "ه", "\u06c3": "ة",
    }
    | dict(zip("۰۱۲۳۴۵۶۷۸۹", "٠١٢٣٤٥٦٧٨٩", strict=True))
)  # fmt: skip

_ANY = re.compile(
    "|".join([_INVISIBLE.pattern, _PRESENTED.pattern, f"[{''.join(map(chr, _LETTERS))}]"])
)


def composed(text: str) -> str:
    """Write each letter in one way; tags stay."""
    if not _ANY.search(text) and unicodedata.is_normalized("NFC", text):
        return text  # of most texts this is all
    seen = _PRESENTED.sub(_unfolded, _INVISIBLE.sub("", text))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", seen).translate(_LETTERS))


def normalise(text: str) -> str:
    """Write each letter in one way, and drop words that are tags, whatever their case."""
    return " ".join(word for word in composed(text).split() if word.upper() not in TAGS)


def _unfolded(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match[0]).strip()  # forms of vowel signs have a space
