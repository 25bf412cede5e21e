"""Who speaks in the demo corpus: eSpeak NG voices, each serving several speakers of one split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

# Only voices whose samples are the same in every fresh process; no voice serves two splits.
VOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "male": ("ar", "ar+m1", "ar+m4", "ar+m6", "ar+m7", "ar+m8", "ar+klatt2", "ar+edward2"),
        "female": ("ar+f1", "ar+Annie", "ar+steph", "ar+belinda"),
    },
    "dev": {"male": ("ar+m2", "ar+Andy"), "female": ("ar+shelby",)},
    "test": {"male": ("ar+m3", "ar+m5", "ar+adam"), "female": ("ar+f4", "ar+linda")},
}


@dataclass(frozen=True)
class DemoSpeaker:
    """One made-up speaker.

    Attributes:
        name: unique over all splits.
        gender: male or female.
        voice: eSpeak NG's voice.
        pitch: base pitch, 0 to 99.
        rate: words per minute.
        range: pitch range, 0 to 99.
        tract: factor on all frequencies, as a shorter (above 1) or longer vocal tract gives.
    """

    name: str
    gender: str
    voice: str
    pitch: float
    rate: float
    range: float
    tract: float


def speakers(split: str, per_voice: int, random: Random) -> list[DemoSpeaker]:
    """Make the speakers of one split: `per_voice` of every voice, each with an own manner."""
    made: list[DemoSpeaker] = []
    for gender, voices in VOICES[split].items():
        for voice in voices:
            for _ in range(per_voice):
                speaker = DemoSpeaker(
                    name=f"syn_{split}_{gender[0]}{len(made) + 1:02d}",
                    gender=gender,
                    voice=voice,
                    pitch=random.uniform(36, 54),
                    rate=random.uniform(150, 190),
                    range=random.uniform(38, 58),
                    tract=random.uniform(0.95, 1.05),
                )
                made.append(speaker)
    return made
