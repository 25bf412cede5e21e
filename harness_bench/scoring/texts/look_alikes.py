"""Words that differ by what no reader sees: invisible marks, forms of letters, Persian letters."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from harness_bench.scoring.profiles.kaldi_mgb2 import TAGS
from harness_bench.scoring.profiles.unicode_clean import NAME, composed
from harness_bench.scoring.registry import JOINED_BY
from harness_bench.scoring.texts.alignment import aligned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness_bench.scoring.texts.joining import Joined


def look_alikes(joined: Joined, normalise: Callable[[str], str]) -> dict[str, list[int] | int]:
    """Count what a text profile leaves -> `words` that differ by such marks alone, and `tags`.

    The words are errors that `unicode-clean` before the profile would not count, against each
    reference; a word of nothing but marks is one. Tags are words such as <UNK> on either side
    that the profile scores as words.
    """
    same = cache(lambda word: normalise(composed(word)))
    words = [
        sum(same(ref) == same(hyp) for ref, hyp in _errors(joined.hypotheses, texts, normalise))
        for texts in joined.references.values()
    ]
    every = (joined.hypotheses, *joined.references.values())
    tags = (word for texts in every for text in texts.values() for word in _tags(text))
    return {"words": words, "tags": sum(bool(normalise(tag)) for tag in tags)}


def told(found: Mapping[str, list[int] | int], profile: str) -> Iterator[str]:
    """Say what was counted, and the way out."""
    words, name = found["words"], profile.partition(" v")[0]
    assert isinstance(words, list)
    if any(words):
        listed = " / ".join(map(str, words))
        yield (
            f"{listed} words differ from their reference by invisible marks, presentation forms, "
            f"uncomposed or Persian letters alone; --profile {NAME}{JOINED_BY}{name} does not "
            "count them as errors"
        )
    if found["tags"]:
        yield (
            f"{found['tags']} words are tags such as <UNK>, and {name} scores them as words; "
            f"--profile {NAME}{JOINED_BY}{name} drops them"
        )


def _errors(
    hypotheses: Mapping[str, str], references: Mapping[str, str], normalise: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """Yield the words of each error, in utterances that have such marks."""
    keys = [
        key
        for key, text in references.items()
        if composed(text) != text or composed(hypotheses[key]) != hypotheses[key]
    ]
    texts = ([normalise(side[key]) for key in keys] for side in (references, hypotheses))
    for steps in aligned(*texts):
        yield from ((step.ref, step.hyp) for step in steps if step.mark)


def _tags(text: str) -> Iterable[str]:
    return [word for word in text.split() if word.upper() in TAGS] if set(text) & set("<[%") else []
