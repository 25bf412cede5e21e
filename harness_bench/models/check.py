"""What a checkpoint does as a frozen upstream, measured: `harness-bench check-model`.

Each check is one function of an open model. What is silently wrong elsewhere is a "fail" here:
features that depend on the batch, on chance or on what was computed before, or that are not finite.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE
from harness_bench.audio.io import read_waveform
from harness_bench.core.log import steps
from harness_bench.core.tables import columns
from harness_bench.models import hub
from harness_bench.models.frozen import load_backbone, shape_of, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness_bench.models.frozen import FrozenModel, ModelShape

BATCH_LIMIT = 1e-4  # of a feature's usual size; float32 itself makes 1e-6 in small models
HALF_LIMIT = torch.finfo(torch.float16).max
GAIN = 0.1
SAME = 0.9999  # cosine from which a level makes no difference
SECONDS = 3.0  # of the made-up audio
_LONGEST = 10.0  # seconds that are read of a user's file


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    name: str
    figure: str
    verdict: Literal["pass", "fail", "note"] = "note"
    limit: str = ""
    value: float | None = None  # what the figure says, for programs


@dataclass(frozen=True)
class Tested:
    """An open model and the audio that it is checked with."""

    model: FrozenModel
    wave: Tensor  # (samples,)

    @property
    def shape(self) -> ModelShape:
        """What the settings alone say."""
        return self.model.shape

    @cached_property
    def states(self) -> Tensor:
        """The hidden states of the audio (states, frames, dim)."""
        return self.encode(self.wave)

    @cached_property
    def cuts(self) -> list[Tensor]:
        """The audio and beginnings of it, odd lengths and the shortest possible among them."""
        least, longest = self.shape.receptive_field, len(self.wave)
        shares = (1.0, 0.71, 0.37, 0.13)
        lengths = {longest, *(least + int((longest - least) * share) | 1 for share in shares)}
        lengths |= {least, least + self.shape.downsample_rate - 1}
        return [self.wave[:length] for length in sorted(lengths) if length <= longest]

    def encode(self, wave: Tensor) -> Tensor:
        """Compute one utterance alone."""
        (states,) = self.model.encode([wave])
        return states


def check_model(model: str | Path, audio: str | Path | None = None) -> list[Check]:
    """Check a checkpoint, by its path or a name of `hub.locate`, on a file or on made-up audio.

    A model that cannot be opened is the one failing line; unreadable audio is a ValueError.
    """
    try:
        path = hub.locate(model, pathless=True)
        facts, opened = describe(path), load_backbone(path)
    except ValueError as error:
        return [Check("opens", str(error), "fail", "a checkpoint of a known type")]
    wave = made_up_audio() if audio is None else _read(audio, opened.shape)
    subject = Tested(opened, wave)
    with torch.inference_mode():
        shown = steps(CHECKS, title="checks", name=lambda check: check.__name__.replace("_", " "))
        measured = [_tried(check, subject) for check in shown]
    return [*facts, *measured, *uses(path, opened.shape)]


def describe(path: Path) -> list[Check]:
    """Say what the settings tell; a model that cannot be computed is a ValueError."""
    kind, shape = type_of(path), shape_of(path)
    rate = SAMPLE_RATE / shape.downsample_rate
    names = {"source": hub.source_of(path), "digest": kind.digest(path) or "none"}
    return [
        Check("type", kind.title),
        *(Check(name, text) for name, text in names.items() if text),
        Check(
            "frame rate",
            f"{rate:g} Hz: a frame per {shape.downsample_rate} samples, each of which sees "
            f"{shape.receptive_field}",
            value=rate,
        ),
        Check("parameters", f"{kind.parameters(path):,}", value=kind.parameters(path)),
    ]


def made_up_audio(seconds: float = SECONDS) -> Tensor:
    """Return audio like a voice, the same each time: harmonics that come and go, in noise."""
    rng, time = np.random.default_rng(0), np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * time)) / SAMPLE_RATE
    voice = sum(np.sin(number * pitch) / number for number in range(1, 30))
    loud = 0.1 * (0.1 + np.sin(2 * np.pi * 2 * time) ** 2)
    samples = loud * voice + 0.003 * rng.standard_normal(len(time))
    return torch.from_numpy(samples.astype(np.float32))


def _read(audio: str | Path, shape: ModelShape) -> Tensor:
    wave = torch.from_numpy(read_waveform(audio)[: int(_LONGEST * SAMPLE_RATE)])
    least = 2 * shape.receptive_field
    if len(wave) < least or not wave.isfinite().all():
        raise ValueError(
            f"{audio}: {len(wave)} samples at 16 kHz; the checks need {least} or more, all finite."
        )
    return wave


def _tried(check: Callable[[Tested], Check], subject: Tested) -> Check:
    """Run a check; one that cannot be run has failed."""
    try:
        return check(subject)
    except (ValueError, RuntimeError, IndexError) as error:
        name = check.__name__.strip("_").replace("_", " ")
        return Check(name, f"{type(error).__name__}: {' '.join(str(error).split())}", "fail")


def _verdict(passed: bool) -> Literal["pass", "fail"]:  # noqa: FBT001 - a verdict's one fact
    return "pass" if passed else "fail"


def layers(subject: Tested) -> Check:
    """The hidden states are as many and as wide as the settings say."""
    count, _, dim = subject.states.shape
    shape = subject.shape
    expected = (shape.num_layers + 1, shape.hidden_size)
    return Check(
        "layers",
        f"{count - 1} and the input of the first, {dim} dimensions",
        _verdict((count, dim) == expected),
        f"{shape.num_layers}, {shape.hidden_size}",
        count - 1,
    )


def frames(subject: Tested) -> Check:
    """Utterances of every length have the frames that the settings say: labels count on it."""
    found = [subject.encode(cut).shape[1] for cut in subject.cuts]
    due = [subject.shape.frames(len(cut)) for cut in subject.cuts]
    odd = [(len(cut), a, b) for cut, a, b in zip(subject.cuts, found, due, strict=True) if a != b]
    figure = f"as configured, at {len(due)} lengths from {len(subject.cuts[0])} samples"
    if odd:
        figure = f"{odd[0][1]} of {odd[0][0]} samples"
    return Check("frames", figure, _verdict(not odd), str(odd[0][2]) if odd else "as configured")


def finite(subject: Tested) -> Check:
    """Weights that diverged, and a variance over one frame, give features that are no numbers."""
    shares = {
        len(cut): float((~subject.encode(cut).isfinite()).float().mean()) for cut in subject.cuts
    }
    samples, worst = max(shares.items(), key=lambda each: each[1])
    figure = "all finite" if worst == 0 else f"{1 - worst:.2%} of the numbers, {samples} samples"
    return Check("finite", figure, _verdict(worst == 0), "all", worst)


def alone_and_in_a_batch(subject: Tested) -> Check:
    """Features must not depend on what an utterance is batched with."""
    together = subject.model.encode(subject.cuts)
    worst = max(
        _difference(states, subject.encode(cut))
        for states, cut in zip(together, subject.cuts, strict=True)
    )
    figure = f"differ by {worst:.2g} at {len(subject.cuts)} lengths"
    figure += ", computed one by one" if subject.model.one_by_one else ""
    limit = f"{BATCH_LIMIT:g} of their size"
    return Check("alone = in a batch", figure, _verdict(worst <= BATCH_LIMIT), limit, worst)


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference (states, frames, dim), in the usual size of its feature.

    A few features are a hundred times as large as the others, and so is their rounding.
    """
    size = theirs.square().mean(1, keepdim=True).sqrt()
    size = size + size.mean(2, keepdim=True)
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    apart = torch.where(same, 0.0, (ours - theirs).abs() / size)
    return float(apart.nan_to_num(nan=torch.inf).max())


def repeated(subject: Tested) -> Check:
    """The same audio gives the same bits again, also after other audio: no dropout, no memory."""
    again = subject.encode(subject.wave)
    subject.encode(subject.wave.flip(0)[: len(subject.wave) // 2])
    later = subject.encode(subject.wave)
    worst = max(_difference(each, subject.states) for each in (again, later))
    figure = "bit-identical" if worst == 0 else f"differ by {worst:.2g}"
    return Check("twice, and after other audio", figure, _verdict(worst == 0), "the same", worst)


def level(subject: Tested) -> Check:
    """Whether recordings have to be as loud as those of training."""
    quiet, states = subject.encode(GAIN * subject.wave)[-1], subject.states[-1]
    cosine = float(F.cosine_similarity(quiet, states, dim=-1).mean())
    apart = float((quiet - states).norm() / states.norm())
    meaning = "does not matter: audio is normalised" if cosine >= SAME else "matters"
    figure = f"{meaning} (last layer: cosine {cosine:.4f}, differ by {apart:.1%})"
    return Check(f"level, {GAIN:g} of it", figure, value=cosine)


def silence(subject: Tested) -> Check:
    """Zeros have no variance to divide by."""
    states = subject.encode(torch.zeros_like(subject.wave))
    whole = bool(states.isfinite().all())
    figure = "finite" if whole else "not finite"
    return Check("digital silence", figure, _verdict(whole), "finite")


def broken_neighbour(subject: Tested) -> Check:
    """NaN in one utterance stays there; that one is not made to look sound."""
    half = len(subject.wave) // 2
    broken, sound = subject.wave.clone(), subject.wave[: max(half, subject.shape.receptive_field)]
    broken[half] = torch.nan
    theirs, ours = subject.model.encode([broken, sound])
    worst = _difference(ours, subject.encode(sound))
    kept = not bool(theirs.isfinite().all())
    figure = f"neighbour differs by {worst:.2g}, " + ("NaN kept" if kept else "NaN lost")
    passed = worst <= BATCH_LIMIT and kept
    return Check("NaN in a batch", figure, _verdict(passed), "only in its own features", worst)


def too_short(subject: Tested) -> Check:
    """Audio without a frame is refused; zeros for it would be learned from."""
    least = subject.shape.receptive_field
    try:
        subject.model.encode([subject.wave[: least - 1]])
    except ValueError:
        return Check("too short", f"{least - 1} samples are refused", "pass", "refused")
    return Check("too short", f"{least - 1} samples give features", "fail", "refused")


def half_precision(subject: Tested) -> Check:
    """Features are kept in float16 where the settings say so."""
    largest = float(subject.states.abs().max())
    limit = f"{HALF_LIMIT:.0f}"
    return Check("float16", f"up to {largest:.4g}", _verdict(largest < HALF_LIMIT), limit, largest)


CHECKS: tuple[Callable[[Tested], Check], ...] = (
    layers, frames, finite, alone_and_in_a_batch, repeated, level, silence, broken_neighbour,
    too_short, half_precision,
)  # fmt: skip


def uses(path: Path, shape: ModelShape) -> list[Check]:
    """Say what here can take the model."""
    same = (shape.downsample_rate, shape.receptive_field) == (FRAME_SHIFT, FRAME_FIELD)
    digest, rate = type_of(path).digest(path), SAMPLE_RATE / shape.downsample_rate
    teacher = "yes" if same else "yes, each label of the frame whose centre is nearest"
    asr = f"yes, {rate:g} frames a second" if digest else "no: it has no digest to be known by"
    return [Check("teacher of labels", teacher), Check("frontend of ASR", asr)]


def render(checks: Sequence[Check], width: int | None = None) -> str:
    """Return the table for people; texts of lines longer than `width` continue below."""
    rows = [(check.name, check.verdict, check.figure, check.limit) for check in checks]
    return "\n".join(
        columns([("check", "verdict", "figure", "limit"), *rows], texts=True, width=width)
    )


def report(model: str, checks: Sequence[Check]) -> dict[str, Any]:
    """Return the table for programs."""
    rows = [asdict(each) for each in checks]
    for row in rows:  # JSON has neither NaN nor infinity; `figure` says it
        row["value"] = row["value"] if isfinite(row["value"] or 0) else None
    return {"model": model, "passed": passed(checks), "checks": rows}


def passed(checks: Sequence[Check]) -> bool:
    """Tell whether no check failed."""
    return all(check.verdict != "fail" for check in checks)
