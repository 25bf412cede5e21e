"""A tiny GigaSpeech: opus podcasts of several segments, and recordings of DEV and TEST."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.corpora.trees import sound

if TYPE_CHECKING:
    from pathlib import Path

# recording -> path, source, subsets of all, segments: (begin, end, text, subsets)
AUDIOS: dict[str, tuple[str, str, list[str], list[tuple[float, float, str, list[str]]]]] = {
    "POD0000000001": (
        "audio/podcast/P0001/POD0000000001.opus",
        "podcast",
        ["{XL}"],
        [
            (0.0, 0.5, "AS IT'S COMMONLY KNOWN <COMMA> YES <PERIOD>", ["{XL}", "{M}"]),
            (0.75, 1.25, "DOUGLAS MCGRAY IS GOING TO BE OUR GUIDE", ["{XL}"]),
        ],
    ),
    "YOU0000000315": (
        "audio/youtube/P0004/YOU0000000315.opus",
        "youtube",
        ["{DEV}"],
        [(0.5, 1.0, "THE DISCUSSION <QUESTIONMARK>", ["{DEV}"])],
    ),
    "POD1000000004": (
        "audio/podcast/P0000/POD1000000004.opus",
        "podcast",
        ["{TEST}"],
        [(1.5, 2.0, "LATE OF THE PARISH", ["{TEST}"])],
    ),
}
UTTERANCES = {
    "POD0000000001_S0000000": "train",
    "POD0000000001_S0000001": "train",
    "YOU0000000315_S0000000": "dev",
    "POD1000000004_S0000000": "test",
}


def entry(aid: str) -> dict[str, Any]:
    """Return a recording's entry with the keys of the published file."""
    path, source, subsets, segments = AUDIOS[aid]
    return {
        "title": "N/A", "url": "https://example.org/x.mp3", "path": path, "aid": aid,
        "source": source, "codec": "opus", "channels": 1, "md5": "0" * 32, "speaker": "N/A",
        "category": "People and Blogs", "subsets": subsets, "duration": 2.0, "sample_rate": 16000,
        "segments": [
            {"sid": f"{aid}_S{number:07d}", "speaker": "N/A", "begin_time": begin, "end_time": end,
             "text_tn": text, "subsets": inner}
            for number, (begin, end, text, inner) in enumerate(segments)
        ],
    }  # fmt: skip


def build(root: Path) -> None:
    """Write audio and GigaSpeech.json."""
    for path, *_ in AUDIOS.values():
        sound(root / path, 2.0, format="OGG", subtype="OPUS")
    about = {"dataset": "GigaSpeech", "language": "EN", "version": "v1.0.0"}
    text = json.dumps({**about, "audios": [entry(aid) for aid in AUDIOS]}, indent=2)
    (root / "GigaSpeech.json").write_text(text, encoding="utf-8")
