"""What an audit keeps of each utterance: a few numbers, so that millions fit into memory."""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.leakage import DIGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness_bench.audit.sets import AuditSet

KINDS = ("id", "speaker", "cluster", "recording", "audio", "text", "short text")
NAMED = ("speaker", "cluster")  # few and telling: their names are kept for examples
LONG_TEXT = 12  # words; what is longer does not come again by chance


class Facts:
    """One set: of each utterance its id, length, place in time, and a hash per kind of thing."""

    def __init__(self, name: str, origin: str, *, has_cuts: bool) -> None:
        self.name, self.origin, self.has_cuts = name, origin, has_cuts
        self.kinds = {kind: array("q") for kind in KINDS}  # 0 where an utterance has none
        self.names: dict[int, str] = {}  # hash -> speaker or cluster
        self.duration = array("d")
        # Where it stands in its recording, and in its source video where its name tells, in ms;
        # the end is 0 where that is not known.
        self.places = {kind: (array("q"), array("q")) for kind in ("recording", "cluster")}
        self._ids, self._ends = bytearray(), array("q")

    def add(self, row: dict[str, Any], long_text: int) -> None:
        """Take in one utterance as lhotse writes a cut."""
        uid = str(row["id"])
        self._ids += uid.encode()
        self._ends.append(len(self._ids))
        duration = float(row.get("duration", 0.0))
        self.duration.append(duration)
        for kind, value in _values(row, long_text).items():
            known = 0 if not value else _hash(value)
            self.kinds[kind].append(known)
            if kind in NAMED and value:
                self.names.setdefault(known, value)
        start = float(row.get("start", 0.0))
        self._place("recording", start, start + duration)
        custom = _supervision(row).get("custom") or {}
        self._place("cluster", custom.get("video_start"), custom.get("video_end"))

    def _place(self, kind: str, start: object, end: object) -> None:
        starts, ends = self.places[kind]
        first, last = _milliseconds(start), _milliseconds(end)
        starts.append(first)
        ends.append(last)

    def __len__(self) -> int:
        return len(self._ends)

    def id(self, place: int) -> str:
        """Return the id of one utterance."""
        first = self._ends[place - 1] if place else 0
        return self._ids[first : self._ends[place]].decode()

    def hashes(self, kind: str) -> NDArray[np.int64]:
        """Return the hashes of one kind, (utterances,)."""
        return np.frombuffer(self.kinds[kind], dtype=np.int64)

    def seconds(self) -> NDArray[np.float64]:
        """Return the durations, (utterances,)."""
        return np.frombuffer(self.duration, dtype=np.float64)

    def spans(self, kind: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the starts and ends in ms, each (utterances,)."""
        starts, ends = self.places[kind]
        return np.frombuffer(starts, dtype=np.int64), np.frombuffer(ends, dtype=np.int64)

    @property
    def hours(self) -> float:
        """Return the hours of all utterances."""
        return float(self.seconds().sum()) / 3600


def gather(found: AuditSet, long_text: int = LONG_TEXT) -> Facts:
    """Read a set once and keep its facts.

    Raises:
        ValueError: the set has no utterances, or its manifest is broken.
    """
    facts = Facts(found.name, found.origin, has_cuts=found.has_cuts)
    for row in found.rows():
        facts.add(row, long_text)
    if not len(facts):
        raise ValueError(f"{found.name} holds no utterances; was another set meant?")
    return facts


def _values(row: dict[str, Any], long_text: int) -> dict[str, str]:
    """Return the value of each kind, empty where the utterance has none."""
    said = _supervision(row)
    words = str(said.get("text") or "").split()
    text, is_long = " ".join(words), len(words) >= long_text
    return {
        "id": str(row["id"]),
        "speaker": str(said.get("speaker") or ""),
        "cluster": str((said.get("custom") or {}).get("cluster") or ""),
        "recording": _recording(row),
        "audio": str((row.get("custom") or {}).get(DIGEST) or ""),
        "text": text if is_long else "",
        "short text": "" if is_long else text,
    }


def _supervision(row: dict[str, Any]) -> dict[str, Any]:
    """Return the first supervision; foreign manifests may have none."""
    found = row.get("supervisions") or [{}]
    return dict(found[0])


def _recording(row: dict[str, Any]) -> str:
    """Return what names the recording: its file, or its id where the audio lies in shards."""
    recording = row.get("recording") or {}
    sources = recording.get("sources") or [{}]
    if sources[0].get("type") == "file":
        return str(sources[0]["source"])
    return str(recording.get("id") or "")


def _milliseconds(seconds: object) -> int:
    try:
        return round(float(str(seconds)) * 1000)
    except (ValueError, OverflowError):
        return 0


def _hash(value: str) -> int:
    """Return 64 bits that are the same in every process; never 0."""
    return int.from_bytes(blake2b(value.encode(), digest_size=8).digest(), signed=True) or 1
