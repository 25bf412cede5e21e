"""Small pieces of corpora on disk that the tests of several layouts share."""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import soundfile

from harness_bench.corpora.base import Skipped, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness_bench.corpora.base import Corpus

LAYOUTS = Path(__file__).parent / "layouts"
# Programmes of broadcasts.
FIRST, SECOND = "03BD00C0-2C0B-4C81-BA8C-018175D0B4E3", "1A2B3C4D-0000-4C81-BA8C-0000000000FF"


def build(name: str, root: Path) -> dict[str, str]:
    """Write the tiny corpus of a layout below `root`; return its utterances, id -> split."""
    path = LAYOUTS / f"{name}.py"
    assert path.is_file(), f"corpus {name} needs a layout {path} to be tested on"
    layout = runpy.run_path(str(path))
    layout["build"](root)
    expected: dict[str, str] = layout["UTTERANCES"]
    return expected


def sound(path: Path, seconds: float = 0.5, rate: int = 16_000, **options: str) -> Path:
    """Write noise as loud as speech that no file of another name gets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.name.encode()))
    soundfile.write(path, 0.1 * rng.standard_normal(round(seconds * rate)), rate, **options)
    return path


def text(path: Path, lines: Iterable[str]) -> None:
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def replace_in(path: Path, old: str, new: str) -> None:
    """Change a text file, where it has what is to be changed."""
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")


def kept(found: Iterable[Utterance | Skipped]) -> dict[str, Utterance]:
    """Return what can be used, by id."""
    return {item.id: item for item in found if isinstance(item, Utterance)}


def left_out(found: Iterable[Utterance | Skipped]) -> dict[str, str]:
    """Return what cannot be used: id -> reason."""
    return {item.id: str(item.reason) for item in found if isinstance(item, Skipped)}


def refused(corpus: Corpus, root: Path, match: str) -> None:
    """Hold a layout to an error in words."""
    with pytest.raises(ValueError, match=match):
        list(corpus.utterances(root))


@dataclass(frozen=True)
class Seg:
    """One segment of a transcript of a broadcast."""

    number: int
    start: str
    end: str
    words: str = "نعم ، لا"
    who: str = "speaker1"
    wmer: str = "10.5"


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


def write_xml(folder: Path, programme: str, segments: Iterable[Seg], **how: str) -> None:
    """Write the XML of a programme."""
    text(folder / f"{programme}.xml", [transcript(programme, segments, **how)])
