"""What the demo corpus holds, before a sound is made."""

from __future__ import annotations

import json
import operator
import re
import tomllib
import unicodedata
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from random import Random

import pytest

import harness_bench.demo
from harness_bench.demo.plan import TASKS, DemoCorpusConfig, plan, speakable
from harness_bench.demo.synth import plan_digest
from harness_bench.demo.text import Grammar, Noun, dialects, undiacritised

FOLDER = Path(harness_bench.demo.__file__).parent


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_plan_and_another_seed_another(task: str) -> None:
    """All chances come from the seed, none from the process (string hashing, the clock)."""
    plans = [plan_digest(plan(task, DemoCorpusConfig(seed=seed))) for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]


@pytest.mark.parametrize("task", TASKS)
def test_no_voice_and_no_speaker_in_two_splits(task: str) -> None:
    """Two speakers of one voice are near enough to leak, so voices are disjoint as well."""
    heard: defaultdict[str, set[str]] = defaultdict(set)
    genders: defaultdict[str, set[str]] = defaultdict(set)
    for item in plan(task, DemoCorpusConfig()):
        heard[item.split] |= {item.speaker.name, item.speaker.voice}
        genders[item.split].add(item.speaker.gender)
    assert set(heard) == ({"train"} if task == "ssl" else {"train", "dev", "test"})
    assert not any(heard[a] & heard[b] for a, b in combinations(heard, 2))
    # A test split of one gender would measure something else.
    assert all(found == {"male", "female"} for found in genders.values())


def test_transcribed_sentences_are_letters_and_in_one_split_each() -> None:
    """Learning sentences by heart must not pay; a vowel sign is one more sign to recognise."""
    planned = plan("asr", DemoCorpusConfig())
    assert len(planned) == len({item.transcript for item in planned}) == 450
    for item in planned:
        text = undiacritised(item.spoken)
        assert item.transcript == text
        assert 3 <= len(text.split()) <= 6
        assert {unicodedata.category(sign) for sign in text} == {"Lo", "Zs"}


@pytest.mark.parametrize("task", ["ser", "did"])
def test_classes_are_balanced(task: str) -> None:
    """Guessing the most frequent class must not pay."""
    counts = Counter(item.label for item in plan(task, DemoCorpusConfig()))
    assert max(counts.values()) - min(counts.values()) <= 3


def test_dialect_like_classes_overlap_but_differ() -> None:
    """Two classes of equal sentences could not be told apart; rules that always act, too well."""
    sentences, random = Grammar(Random(0)).distinct(200, "talk"), Random(1)
    spoken = {
        name: [dialect.apply(text, random) for text in sentences]
        for name, dialect in dialects().items()
    }
    for first, second in combinations(spoken.values(), 2):
        assert sum(map(operator.eq, first, second)) < 0.5 * len(sentences)
    for name, dialect in dialects().items():
        assert [dialect.apply(text, random) for text in sentences] != spoken[name], name


def test_every_dialect_word_replaces_something() -> None:
    """A key spelled otherwise than the sentences would be dead."""
    talk = {*map(undiacritised, " ".join(Grammar(Random(0)).distinct(500, "talk")).split())}
    for dialect in dialects().values():
        assert set(dialect.words) <= talk, dialect.name


@pytest.mark.parametrize("name", ["lexicon.toml", "dialects.toml", "emotions.toml"])
def test_word_lists_are_in_unicode_order(name: str) -> None:
    """Rules and article assimilation look for a vowel before its shadda."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert unicodedata.is_normalized("NFC", text)
    tomllib.loads(text)


def test_lexicon_is_large_and_diacritised() -> None:
    """Without vowel signs the synthesiser guesses, mostly wrongly."""
    lexicon = tomllib.loads((FOLDER / "lexicon.toml").read_text(encoding="utf-8"))
    del lexicon["talk"]
    strings = re.findall(r'"([^"]+)"(:?)', json.dumps(lexicon, ensure_ascii=False))
    found = {word for word, key in strings if not key}
    assert len(found) >= 200
    assert all(undiacritised(word) != word for word in found)


def test_sun_letters_are_doubled_and_moon_letters_are_not() -> None:
    """The article's l is not heard before a sun letter."""
    assert Noun("شَمْس", feminine=True).definite("u") == unicodedata.normalize("NFC", "الشَّمْسُ")
    assert Noun("قَمَر", feminine=False).definite("i") == "القَمَرِ"


def test_the_synthesiser_gets_shadda_before_its_vowel() -> None:
    """In Unicode's order eSpeak NG drops the vowel: measured, it said ash-shmsu."""
    assert speakable("\u0634\u064e\u0651") == "\u0634\u0651\u064e"


def test_asking_for_too_many_sentences_says_so() -> None:
    """A demo config of another size must not loop for ever."""
    with pytest.raises(ValueError, match=r"give only .* different sentences"):
        Grammar(Random(0), words_per_list=1).distinct(5000)
