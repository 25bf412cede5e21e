"""The text cleaning of lhotse's MGB-2 recipe, done by lhotse itself."""

import importlib.metadata

NAME = "lhotse"
try:
    VERSION = importlib.metadata.version("lhotse")
except importlib.metadata.PackageNotFoundError:  # A page is made without it.
    VERSION = "absent"
RULE = (
    "Punctuation and diacritics removed, Eastern digits to Western, lower case, "
    "words of one letter dropped."
)


def normalise(text: str) -> str:
    """Clean as lhotse does."""
    from lhotse.recipes.mgb2 import cleaning  # noqa: PLC0415 - takes seconds to import.

    return str(cleaning(text)).strip()
