"""Rules that name references which cannot be scored; what they leave out is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness_bench.scoring.profiles.kaldi_mgb2 import TAGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_bench.scoring.texts.joining import Joined

_IGNORED = ("ignore time segment in scoring", "ignore_time_segment_in_scoring")


def _open_asr(text: str, normalised: str) -> bool:
    return not normalised or text.strip().lower() in _IGNORED


def _only_tags(text: str, normalised: str) -> bool:
    words = text.split()
    return _open_asr(text, normalised) or all(
        word.upper() in TAGS or not word.strip("#") for word in words
    )


# Name -> whether a reference is left out, from its text and what the text profile makes of it.
RULES: dict[str, Callable[[str, str], bool]] = {
    "none": lambda _, __: False,
    # Open ASR Leaderboard: nothing after normalisation, or a segment to be ignored.
    "open-asr": _open_asr,
    # The same, and what has only tags such as <UNK>, or MGB's ### of what could not be heard.
    "only-tags": _only_tags,
}


def check_rule(rule: str) -> None:
    """Refuse a rule that there is not."""
    if rule not in RULES:
        raise ValueError(f"Unknown rule {rule!r} of --unscorable; there are: {', '.join(RULES)}.")


def scorable(joined: Joined, rule: str, normalise: Callable[[str], str]) -> tuple[Joined, int]:
    """Leave out utterances whose references are all unscorable -> the others, and their number."""
    check_rule(rule)
    told = RULES[rule]
    bad = {
        key
        for key in joined.hypotheses
        if all(told(texts[key], normalise(texts[key])) for texts in joined.references.values())
    }
    if len(bad) == len(joined.hypotheses) or not bad:
        return joined, 0  # where no reference has a word the scorer says so
    return (
        replace(
            joined,
            hypotheses={key: text for key, text in joined.hypotheses.items() if key not in bad},
            references={
                name: {key: text for key, text in texts.items() if key not in bad}
                for name, texts in joined.references.items()
            },
            fields={key: own for key, own in joined.fields.items() if key not in bad},
            marked=joined.marked - bad,
        ),
        len(bad),
    )
