"""Arabic sentences of the demo corpus, made from our own word lists and a few patterns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.config import read_toml

if TYPE_CHECKING:
    from random import Random

VOWELS = "\u064b\u064c\u064d\u064e\u064f\u0650"  # fathatan, dammatan, kasratan, fatha, damma, kasra
SHADDA, SUKUN = "\u0651", "\u0652"
_MARKS = re.compile(f"[{VOWELS}{SHADDA}{SUKUN}]")
_CASE = {"u": "\u064f", "a": "\u064e", "i": "\u0650"}  # nominative, accusative, genitive
_FATHA, _DAMMATAN = "\u064e", "\u064c"
_SUN_LETTERS = "تثدذرزسشصضطظلن"
_SLOT = re.compile(r"\{(\w+):([uai])\}")
_DRAWS_IN_VAIN = 1000  # so many repeated sentences one after another: there are hardly more
_OBJECTS = ("food", "writing", "things")


def undiacritised(text: str) -> str:
    """Take the vowel signs away, as transcripts are usually written.

    >>> undiacritised("كَتَبَ")
    'كتب'
    """
    return _MARKS.sub("", text)


@dataclass(frozen=True)
class Noun:
    """A noun without its case ending, and its gender."""

    stem: str
    feminine: bool

    def definite(self, case: str) -> str:
        """Return the noun with its article and a case ending (u, a or i)."""
        stem = self.stem
        if stem[0] in _SUN_LETTERS:  # Letter, vowel, shadda is Unicode's order.
            behind = 2 if stem[1:2] and stem[1] in VOWELS else 1
            stem = stem[:behind] + SHADDA + stem[behind:]
        return f"ال{stem}{_CASE[case]}"


class Grammar:
    """Draws sentences from the lexicon, or from the first so many words of each of its lists."""

    def __init__(self, random: Random, words_per_list: int | None = None) -> None:
        self._random = random
        self._limit = words_per_list
        self._patterns = (self._deed, self._journey, self._habit, self._quality, self._deed_there)

    def sentence(self) -> str:
        """Return one diacritised sentence of three to six words."""
        return " ".join(self._random.choice(self._patterns)())

    def short_sentence(self) -> str:
        """Return one diacritised sentence of three words."""
        verb, subject, thing = self._deed()[:3]
        return f"{verb} {subject} {thing}"

    def talk(self) -> str:
        """Return one sentence of everyday talk, rich in words that dialects replace."""
        pattern = self._random.choice(_lexicon()["talk"]["openings"])

        def noun(slot: re.Match[str]) -> str:
            stem = self._random.choice(self._list(slot[1] + "s", "masculine"))
            return Noun(stem, feminine=False).definite(slot[2])

        return _SLOT.sub(noun, pattern)

    def distinct(self, count: int, kind: str = "sentence") -> list[str]:
        """Return `count` different sentences in the order drawn by the method named `kind`."""
        draw = getattr(self, kind)
        found: dict[str, None] = {}
        in_vain = 0
        while len(found) < count:
            in_vain = in_vain + 1 if (sentence := draw()) in found else 0
            if in_vain == _DRAWS_IN_VAIN:
                raise ValueError(
                    f"The word lists give only {len(found)} different sentences of kind {kind!r}, "
                    f"{count} were asked for; ask for fewer or allow more words."
                )
            found[sentence] = None
        return list(found)

    def _deed(self) -> list[str]:
        kind = self._random.choice(_OBJECTS)
        return [*self._past(kind), self._noun(kind).definite("a"), *self._maybe_time()]

    def _deed_there(self) -> list[str]:
        place = self._noun("places").definite("i")
        return [*self._deed()[:3], self._random.choice(self._list("other", "inside")), place]

    def _journey(self) -> list[str]:
        verb_and_subject = self._past("motion")
        place = self._noun("places").definite("i")
        return [*verb_and_subject, *_lexicon()["other"]["to"], place, *self._maybe_time()]

    def _past(self, kind: str) -> tuple[str, str]:
        """Draw a verb in the past and a person who did it, in agreement."""
        past, _ = self._random.choice(self._list("verbs", kind))
        subject = self._noun("persons")
        return past + "تِ" if subject.feminine else past, subject.definite("u")

    def _habit(self) -> list[str]:
        kind = self._random.choice(_OBJECTS)
        _, present = self._random.choice(self._list("verbs", kind))
        subject = self._noun("persons")
        verb = "ت" + present[1:] if subject.feminine else present
        words = [subject.definite("u"), verb, self._noun(kind).definite("a")]
        return words + self._maybe_time()

    def _quality(self) -> list[str]:
        kind, adjectives = self._random.choice(
            [("persons", "person"), ("things", "thing"), ("places", "place")]
        )
        noun = self._noun(kind)
        adjective = self._random.choice(self._list("adjectives", adjectives))
        ending = _FATHA + "ة" if noun.feminine else ""
        degree = self._random.choice(_lexicon()["other"]["degree"])
        return [noun.definite("u"), adjective + ending + _DAMMATAN, degree]

    def _maybe_time(self) -> list[str]:
        if self._random.random() < 0.5:  # noqa: PLR2004
            return []
        return str(self._random.choice(self._list("other", "time"))).split()

    def _noun(self, kind: str) -> Noun:
        pool = [
            Noun(stem, feminine=gender == "feminine")
            for gender in ("masculine", "feminine")
            for stem in self._list(kind, gender)
        ]
        return self._random.choice(pool)

    def _list(self, section: str, name: str) -> Any:
        return _lexicon()[section][name][: self._limit]


@dataclass(frozen=True)
class Dialect:
    """A set of sound and word rules, each applied by chance, so that the classes overlap."""

    name: str
    rate: float  # this and the next three: see dialects.toml
    pitch: float
    range: float
    effort: float
    word_chance: float
    words: dict[str, str]
    sounds: tuple[tuple[str, str, float], ...]

    def apply(self, text: str, random: Random) -> str:
        """Return `text` with every rule applied by its chance."""
        return " ".join(self._word(word, random) for word in text.split())

    def _word(self, word: str, random: Random) -> str:
        replacement = self.words.get(undiacritised(word))
        if replacement and random.random() < self.word_chance:
            return replacement
        for pattern, by, chance in self.sounds:

            def changed(match: re.Match[str], by: str = by, chance: float = chance) -> str:
                return by if random.random() < chance else match[0]

            word = re.sub(pattern, changed, word)
        return word


@cache
def dialects() -> dict[str, Dialect]:
    """Return the dialect-like classes by name, in the order of their labels."""
    table = read_toml(Path(__file__).with_name("dialects.toml"))
    return {
        name: Dialect(**{**entry, "name": name, "sounds": tuple(map(tuple, entry["sounds"]))})
        for name, entry in sorted(table.items())
    }


@cache
def _lexicon() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("lexicon.toml"))
