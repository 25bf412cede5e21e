"""Write tiny MGB-2, QASR and MGB-3 trees in their official layouts, with real audio bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FIRST, SECOND = "03BD00C0-2C0B-4C81-BA8C-018175D0B4E3", "1A2B3C4D-0000-4C81-BA8C-0000000000FF"


@dataclass(frozen=True)
class Seg:
    """One segment of a transcript."""

    number: int
    start: str
    end: str
    words: str = "نعم ، لا"
    who: str = "speaker1"
    wmer: str = "10.5"


def sound(path: Path, seconds: float = 3.0, seed: int = 0) -> None:
    """Write noise as loud as speech."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(16_000 * seconds))
    soundfile.write(path, 0.1 * noise, 16_000)


def text(path: Path, lines: Iterable[str]) -> None:
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def transcript(
    programme: str,
    segments: Iterable[Seg],
    *,
    annotation: str = "transcript_align",
    speakers: str = '<speaker id="{0}_speaker1_align" name="speaker1"/>',
) -> str:
    """Return the XML of a programme; ids write `_` where the recording's name has `-`."""
    name = programme.replace("-", "_")
    rows = []
    for one in segments:
        who = quoteattr(f"{name}_{one.who}_align" if one.who.startswith("speaker") else one.who)
        words = "".join(
            f'<element id="{name}_w{place}" type="word">{word}</element>\n'
            for place, word in enumerate(one.words.split())
        )
        error = f' WMER="{one.wmer}"' if one.wmer else ""
        rows.append(
            f'<segment id="{name}_utt_{one.number}" starttime="{one.start}" endtime="{one.end}" '
            f'AWD="0.3" PMER="12.1"{error} who={who}>\n{words}</segment>'
        )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<transcript><head>'
        f'<recording filename="{programme}.wav"/><annotations><annotation id="{annotation}"/>'
        f"</annotations><speakers>{speakers.format(name)}</speakers></head><body>"
        f'<segments annotation_id="{annotation}">{"".join(rows)}</segments></body></transcript>\n'
    )


def write_xml(folder: Path, programme: str, segments: Iterable[Seg], **how: str) -> Path:
    """Write the XML of a programme and return its path."""
    path = folder / f"{programme}.xml"
    text(path, [transcript(programme, segments, **how)])
    return path
