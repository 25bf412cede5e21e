"""What `harness-bench score asr --hyp H --ref R` prints and writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness_bench.scoring.alignment import check_view, write_alignment
from harness_bench.scoring.asr import Breakdown, Files, read_joined, score_joined
from harness_bench.scoring.joining import check_ids
from harness_bench.scoring.registry import get_profile, profile_names
from harness_bench.text_table import columns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.scoring.joining import Joined

ALL = "all"
_REASONS = {
    "missing": "without a hypothesis", "extra": "hypotheses without a reference",
    "unreferenced": "that some reference lacks", "duplicate": "given twice",
    "ignored": "ignored as the STM says", "words_outside": "words outside every segment",
}  # fmt: skip
_TITLES = {"av_wer": "AV-WER", "mr_wer": "MR-WER", "cer": "CER"}
_COUNTS = ("cor", "sub", "del", "ins", "utterances")


def asr_report(
    files: Files, *, profile: str, breakdown: Breakdown, view: Path | None, as_json: bool
) -> str:
    """Score files of transcripts under one profile, or under all of them.

    Raises:
        ValueError: whatever is wrong with the files or the options, before anything is written.
    """
    check_ids(files.ids)
    profiles = _profiles(profile)
    if view is not None:
        check_view(view)
        if len(profiles) > 1:
            raise ValueError("--align shows one text profile; name it instead of `all`.")
    return joined_report(read_joined(files), profile, breakdown, view=view, as_json=as_json)


def joined_report(
    joined: Joined, profile: str, breakdown: Breakdown, *, view: Path | None = None, as_json: bool
) -> str:
    """Score joined texts under one profile, or under all of them, as `asr_report` does."""
    profiles = _profiles(profile)
    found: dict[str, dict[str, Any]] = {}
    for name in profiles:
        scores, found[name] = score_joined(joined, name, breakdown)
        if view is not None:
            write_alignment(view, joined, scores, name, _summary(found[name]))
    if as_json:
        return json.dumps(found if profile == ALL else found[profile], indent=2, ensure_ascii=False)
    return "\n\n".join(map(_as_text, found.values()))


def _profiles(profile: str) -> list[str]:
    return profile_names() if profile == ALL else [get_profile(profile).name]


def _summary(found: Mapping[str, Any]) -> str:
    """Say the main rates in one line."""
    if len(found["wer"]) == 1:
        return f"WER {found['wer'][0]:.2f} %, CER {found['cer']:.2f} %."
    return f"AV-WER {found['av_wer']:.2f} %, MR-WER {found['mr_wer']:.2f} %."


def _as_text(found: Mapping[str, Any]) -> str:
    """Lay out the figures of one profile for people."""
    lines = [f"Profile {found['profile']}, {found['utterances']} utterances scored."]
    left_out = [f"{count} {_REASONS[name]}" for name, count in found["ids"].items() if count]
    lines += [f"Left out: {', '.join(left_out)}."] if left_out else []
    lines += ["", *_rates(found)]
    several = len(found["wer"]) > 1
    if several:
        costs = found["authors_costs"]
        listed = ", ".join(f"{value:.2f}" for value in costs["wer"])
        lines += [
            "",
            f"With substitution cost 2, the MR-WER way: {listed}; mean {costs['av_wer']:.2f} %",
        ]
    lines += [
        "",
        (
            f"{'MR-WER' if several else 'WER'}'s counts: {found['ins']} ins, {found['del']} del, "
            f"{found['sub']} sub, {found['cor']} cor"
        ),
    ]
    for name, rows in found.get("groups", {}).items():
        lines += ["", f"By {name}", *_table(rows)]
    return "\n".join(lines)


def _rates(found: Mapping[str, Any]) -> list[str]:
    """List each rate with its default interval."""
    known = found["intervals"]
    rows = [
        (f"WER against {name}", value, interval)
        for name, value, interval in zip(
            found["references"], found["wer"], known["wer"], strict=True
        )
    ]
    several = (("AV-WER", "av_wer"), ("MR-WER", "mr_wer")) if len(rows) > 1 else ()
    rows += [(title, found[name], known[name]) for title, name in (*several, ("CER", "cer"))]
    width = max(len(title) for title, *_ in rows)
    return [
        f"{title:<{width}}  {value:6.2f} %  [{first['low']:.2f}, {first['high']:.2f}]  "
        f"{first['method']}"
        for title, value, (first, *_) in rows
    ]


def _table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write one line per group."""
    several = any(len(row["wer"]) > 1 for row in rows.values())
    rates = ("av_wer", "mr_wer", "cer") if several else ("cer",)
    cells: list[tuple[str, ...]] = [("", "WER", *(_TITLES[key] for key in rates), *_COUNTS)]
    for name, row in rows.items():
        wer = " / ".join(map(_rate, row["wer"]))
        counts = [str(row[key]) for key in _COUNTS]
        cells.append((name, wer, *(_rate(row[key]) for key in rates), *counts))
    return columns(cells)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
