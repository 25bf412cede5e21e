"""Sanitise untrusted text and paths."""

import re
import unicodedata
from functools import lru_cache
from pathlib import Path, PurePosixPath

_LONGEST_NAME = 255  # bytes of one part of a path, the limit of common file systems
_LONGEST_PART = 200  # bytes of a part of a file's name
_JOINERS = "\u200c\u200d"
# Unseen, but no category C: combining joiner, variation selectors, fillers, the Braille blank.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
                    "\U000e0100-\U000e01ef]")  # fmt: skip
# Kinds of compatibility that a reader does not see as another letter; a superscript or a circled
# digit is another one.
_SAME_LETTER = re.compile("<(initial|medial|final|isolated|wide|narrow|compat|noBreak)>")
# https alone, no user or password, nothing that would have to be escaped.
LINK = (
    r"^https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]{1,5})?"
    r"([/?#][A-Za-z0-9._~:/?#@!$&()*+,;=%-]*)?$"
)


def clean(text: str) -> str:
    """Make an untrusted string one visible line: no control or direction characters."""
    if text.isascii() and text.isprintable():  # which nearly all strings of a board are
        return " ".join(text.split())
    spaced = (" " if char.isspace() else char for char in text)
    # Control, format (direction), surrogate, private and unassigned characters are category C.
    shown = (char for char in spaced if not unicodedata.category(char).startswith("C"))
    return " ".join("".join(shown).split())


@lru_cache(maxsize=1 << 14)
def canonical(text: str) -> str:
    """Return a name as it is compared and shown: names that look the same are the same.

    One visible line in NFC; presentation forms, wide letters and ligatures are their letters. Case,
    superscripts and letters of other scripts stay: a reader sees that they differ.
    """
    if text.isascii():
        return clean(text)
    shown = _BLANK.sub("", clean(text))
    plain = (
        unicodedata.normalize("NFKC", char)
        if _SAME_LETTER.match(unicodedata.decomposition(char)) else char
        for char in shown
    )  # fmt: skip
    return clean(unicodedata.normalize("NFC", _BLANK.sub("", "".join(plain))))


def visible(text: str) -> str:
    r"""Make an untrusted string one line that hides nothing: what cannot be seen is escaped.

    >>> visible("\u200fa\tb\x1b.wav")
    '\\u200fa b\\x1b.wav'
    """
    return " ".join(escaped(text.replace("\r", " ")).split())


def escaped(text: str) -> str:
    """Return lines as they are, but for what a terminal obeys or hides, which is escaped."""
    if text.isprintable():
        return text
    hidden = {*unseen(text)} - {"\t", "\n"}
    return "".join(ascii(char)[1:-1] if char in hidden else char for char in text)


def unseen(text: str) -> list[str]:
    """Return the characters that cannot be seen; joiners of Arabic letters change their look."""
    return [char for char in text if not char.isprintable() and char not in _JOINERS]


def is_name(text: str) -> bool:
    """Tell whether an untrusted text can be part of a file's name: no path, nothing unseen."""
    whole = bool(text) and not {"/", "\\"} & {*text} and visible(text) == text
    return whole and len(text.encode()) <= _LONGEST_PART


def shorten(text: str, limit: int) -> str:
    """Cut a cleaned string to `limit` characters, the last one an ellipsis where cut."""
    line = clean(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; a larger one is a ValueError.

    So is what is no regular file: a pipe would block for ever, a device would never end.
    """
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe, a device or a dangling link"
        raise ValueError(f"{path} is {what}, where a file is expected; delete or move it.")
    with path.open("rb") as stream:
        data = stream.read(limit + 1)  # The size that the file system tells may be wrong.
    if len(data) > limit:
        size = max(path.stat().st_size, limit + 1)
        raise ValueError(f"{path} has {size} bytes; at most {limit} are read.")
    return data


def check_relative(text: str) -> str:
    """Return a relative path as it is; a text that could lead out of its folder is a ValueError."""
    path = PurePosixPath(text)
    parts = path.parts
    if path.is_absolute() or ".." in parts or "\\" in text or ":" in text or not parts:
        raise ValueError(f"{shorten(text, 80)!r} must stay below the result's folder")
    if clean(text) != text:
        raise ValueError(f"{shorten(text, 80)!r} has characters that cannot be seen")
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise ValueError(f"{shorten(text, 80)!r} has a part longer than {_LONGEST_NAME} bytes")
    return text


def inside(folder: Path, relative: str) -> Path:
    """Return the path of a file below a folder, links followed; one that leaves: ValueError."""
    root = folder.resolve()
    try:
        path = (root / check_relative(relative)).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, Python 3.12
        raise ValueError(f"{shorten(relative, 80)!r} cannot be followed: {error}") from None
    if not path.is_relative_to(root):
        raise ValueError(f"{shorten(relative, 80)!r} leads out of its folder by a symbolic link")
    return path


def check_link(text: str) -> str:
    """Return an address that is safe to follow from a page; a `ValueError` for any other."""
    if not re.fullmatch(LINK.removesuffix("$"), text):
        raise ValueError(
            f"{shorten(text, 80)!r} is no https address of a public host; give one such as "
            "https://example.org/paper, without user names, other letters written as %C3%A9"
        )
    return text
