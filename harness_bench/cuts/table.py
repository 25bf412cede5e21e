"""What reports need of the cuts of one split: a few numbers each, so that millions fit."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.core.files import digest_strings
from harness_bench.core.log import bar
from harness_bench.core.rng import chance
from harness_bench.cuts import store
from harness_bench.cuts.fields import DIGEST, ROW_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from harness_bench.cuts.store import Row

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


class Columns:
    """Durations, and of each kind of thing that splits may share a 64-bit hash; 0 for none."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.duration = array("d")
        self.kinds = {kind: array("q") for kind in ROW_KINDS}
        self.transcribed = 0
        self.labels: dict[str, Counter[str]] = {name: Counter() for name in LABEL_FIELDS}

    def add(self, row: Row) -> None:
        """Take in one cut with its one supervision."""
        supervision = row["supervisions"][0]
        self.ids.append(row["id"])
        self.duration.append(row["duration"])
        for kind, value in ROW_KINDS.items():
            known = value(row)
            self.kinds[kind].append(0 if known is None else hash(known) or 1)
        self.transcribed += bool(supervision.get("text"))
        custom = supervision.get("custom", {})
        for name, counts in self.labels.items():
            if name in custom:
                counts[str(custom[name])] += 1

    def __len__(self) -> int:
        return len(self.ids)

    def order(self) -> list[int]:
        """Return the places of all cuts, by id."""
        return sorted(range(len(self.ids)), key=self.ids.__getitem__)

    def hashes(self, kind: str) -> NDArray[np.int64]:
        """Return the hashes of one kind, (cuts,)."""
        return np.frombuffer(self.kinds[kind], dtype=np.int64)

    def describe(self) -> SplitReport:
        """Put the split in figures."""
        speakers = np.unique(self.hashes("speaker"))
        labels = next((counts for counts in self.labels.values() if counts), Counter[str]())
        return SplitReport(
            utterances=len(self.ids),
            hours=round(float(np.sum(np.frombuffer(self.duration))) / 3600, 4),
            speakers=int(np.count_nonzero(speakers)),
            transcribed=self.transcribed,
            digest=digest_strings(sorted(self.ids)),
            labels=dict(sorted(labels.items())),
        )

    def speakers_known(self) -> bool:
        """Whether every cut has a speaker."""
        return bool(self.hashes("speaker").all())


LABEL_FIELDS = ("label", "emotion", "dialect")


@dataclass(frozen=True)
class SplitReport:
    """One split in figures."""

    utterances: int
    hours: float
    speakers: int
    transcribed: int
    digest: str  # of the sorted utterance ids
    labels: dict[str, int]  # label -> utterances, of the first of `LABEL_FIELDS` there is


USUAL_SPLIT = "train"
UNKNOWN = "unknown"  # the language of cuts that do not say, as pretraining calls it
SECOND = 1_000_000  # lengths are whole microseconds, so that every machine agrees on sums


class Candidates:
    """Columns over all cuts of some files, in the files' order.

    Attributes:
        lengths: microseconds, (cuts,) int64.
        chances: 128 bits of BLAKE2b of seed and id, (2, cuts) uint64, the first most significant.
        groups: the same of seed and the value of the field that keeps cuts together; None
            where each is on its own.
        languages: number of the language, (cuts,) int32.
        names: the languages, by number.
    """

    def __init__(
        self, files: Sequence[Path], seed: int, by: str | None, *, languages: bool
    ) -> None:
        self.files = files
        lengths, spoken = array("q"), array("i")
        own, together = bytearray(), bytearray()
        numbers: dict[str, int] = {}
        for path, row in _rows(files):
            lengths.append(round(float(row["duration"]) * SECOND))
            own += chance(seed, row["id"])
            if by is not None:
                together += chance(seed, _value(row, by, path))
            name = (store.field(row, "language") or UNKNOWN) if languages else ""
            spoken.append(numbers.setdefault(name, len(numbers)))
        self.lengths = np.frombuffer(lengths, dtype=np.int64)
        self.chances = _columns(own)
        self.groups = None if by is None else _columns(together)
        self.languages = np.frombuffer(spoken, dtype=np.int32)
        self.names = list(numbers)
        self._refuse_twins()

    def __len__(self) -> int:
        return len(self.lengths)

    def order(self) -> NDArray[np.int64]:
        """Return all places by chance: groups first, then cuts; whatever the files' order."""
        most, least = self.chances
        if self.groups is None:
            return np.lexsort((least, most))
        return np.lexsort((least, most, self.groups[1], self.groups[0]))

    def digest(self) -> str:
        """Return the digest of which ids there are, whatever their order."""
        order = np.lexsort((self.chances[1], self.chances[0]))
        return digest_strings([self.chances[:, order].astype("<u8").tobytes().hex()])

    def _refuse_twins(self) -> None:
        """Refuse two cuts of one id: a list could not tell them apart."""
        order = np.lexsort((self.chances[1], self.chances[0]))
        same = (self.chances[:, order[1:]] == self.chances[:, order[:-1]]).all(axis=0)
        if same.any():
            place = int(order[1:][same].min())
            name, path = _at(self.files, place)
            raise ValueError(
                f"The id {name!r} comes twice ({path} and before). A list could not tell the two "
                "apart: leave one folder out, or prepare it with other ids."
            )


def _rows(files: Sequence[Path]) -> Iterator[tuple[Path, store.Row]]:
    for path in files:
        for row in bar(store.read_rows(path), title=f"reading {path.parent.name}", unit="utt"):
            yield path, row


def _value(row: store.Row, name: str, path: Path) -> str:
    value = store.field(row, name)
    if value is None:
        raise ValueError(
            f"Cut {row['id']!r} of {path} has no {name}, so it cannot be kept together with its "
            f"like. Prepare the corpus with `--require {name}`, or take another field."
        )
    return value


def _columns(data: bytearray) -> NDArray[np.uint64]:
    """Turn 16 bytes each into two columns of whole numbers in the bytes' order, (2, cuts)."""
    return np.frombuffer(bytes(data), dtype=">u8").reshape(-1, 2).T.astype(np.uint64)


def _at(files: Sequence[Path], place: int) -> tuple[str, Path]:
    """Return id and file of the cut at a place."""
    for number, (path, row) in enumerate(_rows(files)):
        if number == place:
            return row["id"], path
    raise AssertionError(place)
