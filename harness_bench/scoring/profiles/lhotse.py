"""The text cleaning of lhotse's MGB-2 recipe, done by lhotse itself."""

import importlib.metadata

from harness_bench.core.extras import is_installed
from harness_bench.scoring.registry import ABSENT

NAME = "lhotse"
VERSION = importlib.metadata.version("lhotse") if is_installed("lhotse") else ABSENT
RULE = (
    "Punctuation and diacritics removed, Eastern digits to Western, lower case, "
    "words of one letter dropped."
)


def normalise(text: str) -> str:
    """Clean as lhotse does."""
    from lhotse.recipes.mgb2 import cleaning  # noqa: PLC0415 - takes seconds to import.

    return str(cleaning(text)).strip()
