"""What the demo corpus holds, decided before a sound is made: who says what, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass

from harness_bench.core.config import STRICT, read_toml
from harness_bench.demo.text import SHADDA, VOWELS, Dialect, Grammar, dialects, undiacritised

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS, SPLITS = ("ssl", "ser", "did", "asr"), ("train", "dev", "test")
_SER_SENTENCES = 24  # few and shared by all classes and splits, as in acted emotion corpora
_ASR_WORDS_PER_LIST = 6
_SECOND_SENTENCE = 0.5
_SSL_TALK = 0.4  # share of dialect-like everyday talk in the pretraining speech
# Only voices whose samples are the same in every fresh process; no voice serves two splits.
VOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "male": ("ar", "ar+m1", "ar+m4", "ar+m6", "ar+m7", "ar+m8", "ar+klatt2", "ar+edward2"),
        "female": ("ar+f1", "ar+Annie", "ar+steph", "ar+belinda"),
    },
    "dev": {"male": ("ar+m2", "ar+Andy"), "female": ("ar+shelby",)},
    "test": {"male": ("ar+m3", "ar+m5", "ar+adam"), "female": ("ar+f4", "ar+linda")},
}


@config_dataclass(frozen=True, config=STRICT)
class SplitSizes:
    """Utterances per split."""

    train: int = Field(ge=1)
    dev: int = Field(ge=1)
    test: int = Field(ge=1)


@config_dataclass(frozen=True, config=STRICT)
class DemoCorpusConfig:
    """How much synthetic speech is made: utterances of each task, classes equally often."""

    seed: int = Field(default=0, ge=0)  # decides all text, speakers, prosody and noise
    ssl: int = Field(default=540, ge=1)  # for pretraining, by train speakers only; about 3 s each
    ser: SplitSizes = Field(default_factory=lambda: SplitSizes(train=360, dev=120, test=240))
    did: SplitSizes = Field(default_factory=lambda: SplitSizes(train=350, dev=120, test=250))
    # No sentence stands in two splits.
    asr: SplitSizes = Field(default_factory=lambda: SplitSizes(train=300, dev=50, test=100))
    speakers_per_voice: int = Field(default=2, ge=1, le=20)


# About two minutes of speech, for tests of the whole chain.
TINY = DemoCorpusConfig(
    ssl=12,
    ser=SplitSizes(train=12, dev=6, test=6),
    did=SplitSizes(train=10, dev=5, test=5),
    asr=SplitSizes(train=8, dev=2, test=2),
    speakers_per_voice=1,
)


@dataclass(frozen=True)
class DemoSpeaker:
    """One made-up speaker."""

    name: str  # unique over all splits
    gender: str  # male or female
    voice: str  # eSpeak NG's
    pitch: float  # 0 to 99
    rate: float  # words per minute
    range: float  # of the pitch, 0 to 99
    tract: float  # factor on all frequencies: a shorter (above 1) or longer vocal tract


@dataclass(frozen=True)
class Emotion:
    """The prosody of an emotion-like class; see emotions.toml."""

    pitch: float
    range: float
    rate: float
    level: float
    effort: float
    mark: tuple[str, float]


@dataclass(frozen=True)
class Channel:
    """How one utterance is voiced and recorded."""

    tract: float  # factor on all frequencies
    effort: float  # above 0 brighter, below 0 duller
    level: float  # dB
    snr: float  # dB
    noise_slope: float  # 0 white, 1 pink
    lead: float  # seconds of noise before the speech
    tail: float  # seconds of noise after it


@dataclass(frozen=True)
class Planned:
    """One utterance to be made."""

    id: str
    split: str
    speaker: DemoSpeaker
    spoken: str  # diacritised, dialect-like rules applied
    transcript: str | None
    label: str | None
    job: dict[str, Any]  # for eSpeak NG
    channel: Channel


def plan(task: str, config: DemoCorpusConfig) -> list[Planned]:
    """Decide everything about one task's utterances, sorted by voice and then by id.

    The order matters: what eSpeak NG says depends on what it said before.
    """
    planned = _PLANS[task](_Draw(task, config), config)
    return sorted(planned, key=lambda item: (item.speaker.voice, item.id))


def speakers(split: str, per_voice: int, random: Random) -> list[DemoSpeaker]:
    """Make the speakers of one split: `per_voice` of every voice, each with an own manner."""
    voices = [(gender, voice) for gender, all_ in VOICES[split].items() for voice in all_]
    return [
        DemoSpeaker(
            name=f"syn_{split}_{gender[0]}{number:02d}",
            gender=gender,
            voice=voice,
            pitch=random.uniform(36, 54),
            rate=random.uniform(150, 190),
            range=random.uniform(38, 58),
            tract=random.uniform(0.95, 1.05),
        )
        for number, (gender, voice) in enumerate(
            (each for each in voices for _ in range(per_voice)), start=1
        )
    ]


class _Draw:
    """Makes the utterances of one task, all chances from one source."""

    def __init__(self, task: str, config: DemoCorpusConfig) -> None:
        self.random = Random(f"{config.seed} {task}")
        self._task = task
        # The same speakers in every task: pretraining hears the train speakers of all tasks.
        source = Random(f"{config.seed} speakers")
        self._speakers = {
            split: speakers(split, config.speakers_per_voice, source) for split in SPLITS
        }

    def utterance(
        self,
        split: str,
        number: int,
        text: str,
        *,
        label: str | None = None,
        emotion: str = "neutral",
        dialect: Dialect | None = None,
        transcript: str | None = None,
    ) -> Planned:
        """Plan one utterance of a random speaker: `text` by the dialect's rules and manner."""
        speaker = self.random.choice(self._speakers[split])
        style = self._style(emotions()[emotion], dialect)
        sign, likely = style.mark
        mark = sign if self.random.random() < likely else "."
        if dialect is not None:
            text = dialect.apply(text, self.random)
        uniform = self.random.uniform
        return Planned(
            id=f"{self._task}_{split}_{number:04d}",
            split=split,
            speaker=speaker,
            spoken=text,
            transcript=transcript,
            label=label,
            job={
                "text": speakable(text + mark),
                "voice": speaker.voice,
                "pitch": _bounded(speaker.pitch + style.pitch, 0, 99),
                "range": _bounded(speaker.range * style.range, 0, 99),
                "rate": _bounded(speaker.rate * style.rate, 90, 300),
            },
            channel=Channel(
                tract=speaker.tract,
                effort=style.effort,
                level=style.level,
                snr=uniform(15, 30),
                noise_slope=uniform(0.2, 1.0),
                lead=uniform(0.05, 0.2),
                tail=uniform(0.05, 0.2),
            ),
        )

    def _style(self, mean: Emotion, dialect: Dialect | None) -> Emotion:
        """Draw the prosody of one utterance around its emotion's mean, in its dialect's manner."""
        drawn: dict[str, Any] = {
            name: self.random.gauss(getattr(mean, name), _emotion_table()["spread"][name])
            for name in ("pitch", "range", "rate", "level", "effort")
        }
        drawn["range"] = max(0.1, drawn["range"])
        if dialect is not None:
            drawn["pitch"] += dialect.pitch
            drawn["range"] *= dialect.range
            drawn["rate"] *= dialect.rate
            drawn["effort"] += dialect.effort
        return replace(mean, **drawn)


def speakable(text: str) -> str:
    """Put shadda before the vowel it carries, as eSpeak NG needs it (Unicode orders it after)."""
    for vowel in VOWELS:
        text = text.replace(vowel + SHADDA, SHADDA + vowel)
    return text


@cache
def emotions() -> dict[str, Emotion]:
    """Return the emotion-like classes by name."""
    return {
        name: Emotion(**{**entry, "mark": tuple(entry["mark"])})
        for name, entry in _emotion_table().items()
        if name != "spread"
    }


@cache
def _emotion_table() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("emotions.toml"))


def _plan_ser(draw: _Draw, config: DemoCorpusConfig) -> list[Planned]:
    sentences = Grammar(draw.random).distinct(_SER_SENTENCES, "short_sentence")
    labels = list(emotions())

    def make(split: str, number: int) -> Planned:
        label = labels[number % len(labels)]
        return draw.utterance(
            split, number, draw.random.choice(sentences), label=label, emotion=label
        )

    return _each(config.ser, make)


def _plan_did(draw: _Draw, config: DemoCorpusConfig) -> list[Planned]:
    grammar, names = Grammar(draw.random), list(dialects())

    def make(split: str, number: int) -> Planned:
        dialect = dialects()[names[number % len(names)]]
        text = _talk(grammar, draw.random)
        return draw.utterance(split, number, text, label=dialect.name, dialect=dialect)

    return _each(config.did, make)


def _talk(grammar: Grammar, random: Random) -> str:
    """Return everyday talk, by chance with a second sentence."""
    second = f" {grammar.talk()}" if random.random() < _SECOND_SENTENCE else ""
    return grammar.talk() + second


def _plan_asr(draw: _Draw, config: DemoCorpusConfig) -> list[Planned]:
    sizes = config.asr
    grammar = Grammar(draw.random, _ASR_WORDS_PER_LIST)
    pool = iter(grammar.distinct(sizes.train + sizes.dev + sizes.test))

    def make(split: str, number: int) -> Planned:
        text = next(pool)
        return draw.utterance(split, number, text, transcript=undiacritised(text))

    return _each(sizes, make)


def _plan_ssl(draw: _Draw, config: DemoCorpusConfig) -> list[Planned]:
    grammar, manners = Grammar(draw.random), list(emotions())

    def make(number: int) -> Planned:
        manner = draw.random.choice(manners)
        if draw.random.random() < _SSL_TALK:
            dialect = draw.random.choice(list(dialects().values()))
            text = _talk(grammar, draw.random)
            return draw.utterance("train", number, text, emotion=manner, dialect=dialect)
        return draw.utterance("train", number, grammar.sentence(), emotion=manner)

    return [make(number) for number in range(config.ssl)]


_PLANS: dict[str, Callable[[_Draw, DemoCorpusConfig], list[Planned]]] = {
    "ssl": _plan_ssl,
    "ser": _plan_ser,
    "did": _plan_did,
    "asr": _plan_asr,
}


def _each(sizes: SplitSizes, make: Callable[[str, int], Planned]) -> list[Planned]:
    return [make(split, number) for split in SPLITS for number in range(getattr(sizes, split))]


def _bounded(value: float, low: int, high: int) -> int:
    return round(min(max(value, low), high))
