"""What is done to training audio; light enough for configs and the command line to import."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT

Probability = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0.5, le=2)]
Seconds = Annotated[float, Field(gt=0, le=10)]
Hertz = Annotated[float, Field(gt=0, le=8000)]
Decibels = Annotated[float, Field(ge=-50, le=100)]
GENERATED, SIMULATED = "generated", "simulated"  # noise and rooms that need no recordings


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AugmentConfig:
    """Each change is off by default and drawn anew for every utterance in every epoch.

    The paper (3.1) names speed perturbation, SpecAugment, reverberation and noise; its settings
    are unpublished.
    """

    # One of these factors is drawn; above 1 is faster. Labels follow. Include 1.0 to keep some.
    speed: tuple[Factor, ...] = ()
    noise_prob: Probability = 0.0
    # A folder of recordings, or "generated": coloured noise, nothing to download.
    noise: str = Field(default=GENERATED, min_length=1)
    noise_snr: tuple[Decibels, Decibels] = (5.0, 20.0)  # dB, speech to noise, drawn evenly
    reverb_prob: Probability = 0.0
    # A folder of measured room responses, or "simulated" ones.
    reverb: str = Field(default=SIMULATED, min_length=1)
    reverb_t60: tuple[Seconds, Seconds] = (0.2, 0.8)  # of simulated rooms, drawn evenly
    time_masks: int = Field(default=0, ge=0)  # silenced spans
    time_mask_seconds: Seconds = 0.4  # each at most so long, and at most a fifth of the utterance
    channel_masks: int = Field(default=0, ge=0)  # removed frequency bands
    channel_mask_hertz: Hertz = 1000.0  # each at most so wide

    def __post_init__(self) -> None:
        """Check that ranges are ranges, and that speeds can be had."""
        for name in ("noise_snr", "reverb_t60"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} = [{low:g}, {high:g}]: the first must not be larger")
        for factor in self.speed:
            # Resampling by 9333 to 10000 would need a filter bank of 1 GB in every worker.
            if abs(100 * factor - round(100 * factor)) > 1e-6:  # noqa: PLR2004 - float noise
                raise ValueError(f"speed = {factor:g}: give hundredths, such as {factor:.2f}")

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        chances = (self.noise_prob, self.reverb_prob, self.time_masks, self.channel_masks)
        return bool(self.speed) or any(chance > 0 for chance in chances)
