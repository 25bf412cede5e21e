"""Tables of made sets, for tests of comparisons."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from harness_bench.cuts.table import Table

FIELDS = ("speaker", "cluster", "recording", "audio", "text")


def row(uid: str, **known: Any) -> dict[str, Any]:
    """Return an utterance as a manifest has it; what is not given is not known."""
    custom = {key: known[key] for key in ("cluster", "video_start", "video_end") if key in known}
    said = {"speaker": known.get("speaker"), "text": known.get("text"), "custom": custom}
    source = {"type": "file", "source": known.get("recording", "")}
    return {
        "id": uid,
        "start": known.get("start", 0.0),
        "duration": known.get("duration", 3600.0),
        "supervisions": [said],
        "recording": {"id": uid, "sources": [source]},
        "custom": {"audio_digest": known.get("audio")},
    }


def table(
    rows: list[dict[str, Any]], name: str = "set", origin: str = "", *, has_cuts: bool = True
) -> Table:
    return Table(name, origin=origin, has_cuts=has_cuts).extend(rows)


def rows(prefix: str, names: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draw utterances whose every field comes from `names`; ids begin with the prefix."""
    one = st.fixed_dictionaries(
        dict.fromkeys(FIELDS, names)
        # Tenths of a second, so that overlaps of just the smallest length occur.
        | {"start": st.integers(0, 30).map(_tenths), "duration": st.integers(1, 12).map(_tenths)}
    )
    many = st.lists(one, min_size=1, max_size=6)
    return many.map(lambda found: [row(f"{prefix}{n}", **each) for n, each in enumerate(found)])


def _tenths(number: int) -> float:
    return number / 10
