"""The text as it is."""

NAME = "none"
VERSION = "1"
RULE = "Text as it is; words are what white space separates."


def normalise(text: str) -> str:
    """Return the text with single spaces, otherwise untouched."""
    return " ".join(text.split())
