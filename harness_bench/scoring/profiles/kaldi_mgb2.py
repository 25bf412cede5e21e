"""What Kaldi's MGB-2 recipe leaves out of scoring."""

NAME = "kaldi-mgb2"
VERSION = "1"
RULE = "<UNK>, noise tags and %HESITATION dropped; letters untouched (no hamza folding)."

TAGS = {
    "<UNK>", "<NOISE>", "<SPOKEN_NOISE>", "%HESITATION",
    "[NOISE]", "[LAUGHTER]", "[VOCALIZED-NOISE]",
}  # fmt: skip


def normalise(text: str) -> str:
    """Drop the words that are tags, whatever their case."""
    return " ".join(word for word in text.split() if word.upper() not in TAGS)
