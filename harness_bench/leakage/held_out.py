"""Dev and test sets must not be trained on, whatever list or folder brings them in."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness_bench.core.files import read_ids
from harness_bench.core.log import say
from harness_bench.cuts.fields import DIGEST
from harness_bench.cuts.store import cuts_path, read_rows, splits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lhotse.cut import Cut

    from harness_bench.cuts.store import Row


class Excluded(NamedTuple):
    """What a list of exclusions did."""

    kept: list[Cut]
    left_out: list[Cut]
    unmatched: list[str]  # ids of the lists that no cut has


def read_exclusions(files: Iterable[str]) -> set[str]:
    """Read ids, one a line; empty lines and lines that begin with # are passed over.

    Raises:
        ValueError: no such file, or no id in it.
    """
    ids: set[str] = set()
    for file in files:
        path = Path(file)
        if not path.is_file():
            raise ValueError(f"data.exclude names {path}, and there is no such file.")
        if not (found := read_ids(path)):
            raise ValueError(f"{path} (data.exclude) holds no ids; was another file meant?")
        ids.update(found)
    return ids


def exclude(cuts: Sequence[Cut], ids: set[str]) -> Excluded:
    """Leave out every cut whose recording or utterance is on the list."""
    kept: list[Cut] = []
    left_out: list[Cut] = []
    seen: set[str] = set()
    for cut in cuts:
        hits = names_of(cut) & ids
        seen |= hits
        (left_out if hits else kept).append(cut)
    return Excluded(kept, left_out, sorted(ids - seen))


def refuse_excluded(cuts: Iterable[Cut], ids: set[str], where: str) -> None:
    """Stop where shards hold an excluded recording: they are not written again for it.

    Raises:
        ValueError: names the first such cuts and their number.
    """
    bad = [str(cut.id) for cut in cuts if names_of(cut) & ids]
    if bad:
        raise ValueError(
            f"{where} holds {len(bad)} utterances of excluded recordings ({', '.join(bad[:5])}). "
            "Shard the corpus again without them."
        )


def tell(excluded: Excluded, title: str) -> None:
    """Say what was left out, and what of the list was not found."""
    if excluded.left_out:
        names = ", ".join(str(cut.id) for cut in excluded.left_out[:5])
        say(f"{title}: {len(excluded.left_out)} utterances excluded ({names} ...)")
    if excluded.unmatched:
        # Usual for lists of whole test sets, yet also what a list in another spelling looks like.
        say(
            f"{title}: {len(excluded.unmatched)} ids of the lists match nothing, first "
            f"{excluded.unmatched[0]!r}"
        )


def names_of(cut: Cut) -> set[str]:
    """Return the names by which a cut may be excluded."""
    names = {str(cut.id), str(cut.recording_id)}
    return names | {str(supervision.id) for supervision in cut.supervisions}


_BEGINNINGS = ("dev", "test", "valid", "eval")
_MIN_OVERLAP = 0.1  # seconds; segments that touch are rounded differently by every tool
_SHOWN = 5


class HeldOut:
    """The utterances of dev and test sets: by name, by samples and by their place in recordings."""

    def __init__(self) -> None:
        self.sets: list[str] = []
        self._named: dict[str, list[tuple[float, str]]] = defaultdict(list)
        self._digests: dict[str, str] = {}
        self._spans: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
        self._longest: dict[str, float] = {}  # file -> longest of its spans

    def add(self, row: Row, title: str) -> None:
        """Take in one utterance of a set."""
        uid, start, duration = str(row["id"]), float(row.get("start", 0.0)), float(row["duration"])
        self._named[uid].append((duration, title))
        if digest := (row.get("custom") or {}).get(DIGEST):
            self._digests[digest] = title
        sources = (row.get("recording") or {}).get("sources") or [{}]
        if sources[0].get("type") == "file":
            file = str(sources[0]["source"])
            self._spans[file].append((start, start + duration, title))
            self._longest[file] = max(self._longest.get(file, 0.0), duration)

    def sort(self) -> None:
        """Order the spans, once all utterances are in."""
        for spans in self._spans.values():
            spans.sort()

    def touched(self, cut: Cut) -> str | None:
        """Return the set that a cut takes audio from, or None."""
        digest = (cut.custom or {}).get(DIGEST)
        if digest in self._digests:
            return self._digests[digest]
        for name in names_of(cut):
            for duration, title in self._named.get(name, ()):
                # Ids like 001_01 are many corpora's; a length that agrees too is no chance.
                if abs(duration - cut.duration) < _MIN_OVERLAP / 10:
                    return title
        return self._overlap(cut)

    def _overlap(self, cut: Cut) -> str | None:
        if not cut.has_recording or cut.recording.sources[0].type != "file":
            return None
        file = str(cut.recording.sources[0].source)
        spans = self._spans.get(file, [])
        first = bisect_left(spans, (cut.start - self._longest.get(file, 0.0),))
        for start, end, title in spans[first:]:
            if start >= cut.end - _MIN_OVERLAP:
                break
            if end > cut.start + _MIN_OVERLAP:
                return title
        return None


def held_out(folders: Iterable[Path]) -> HeldOut:
    """Read the dev and test sets of prepared folders: splits so called, such as `test_clean`.

    Raises:
        ValueError: one is no prepared folder.
    """
    found = HeldOut()
    for folder in dict.fromkeys(folders):
        for split in splits(folder):
            if split.lower().startswith(_BEGINNINGS):
                title = f"{folder}, split {split}"
                found.sets.append(title)
                for row in read_rows(cuts_path(folder, split)):
                    found.add(row, title)
    found.sort()
    return found


def refuse_held_out(cuts: Iterable[Cut], folders: Sequence[Path], where: str) -> None:
    """Stop where training audio touches a dev or test set.

    Touching is the same samples, the same id at the same length, or overlapping seconds of one
    file. Speakers and videos may be shared; `harness-bench audit` tells of them, and of sound that
    was encoded anew.

    Args:
        cuts: what is to be trained on.
        folders: prepared folders whose dev and test sets are protected.
        where: what to call the training audio.

    Raises:
        ValueError: names the sets, the number of cuts and the first of them.
    """
    known = held_out(folders)
    if not known.sets:
        return
    bad: dict[str, list[str]] = defaultdict(list)
    for cut in cuts:
        if (title := known.touched(cut)) is not None:
            bad[title].append(str(cut.id))
    if bad:
        parts = [
            f"{len(ids)} utterances of {title} ({', '.join(ids[:_SHOWN])})"
            for title, ids in bad.items()
        ]
        raise ValueError(
            f"{where} would train on {'; '.join(parts)}. Figures on those sets would be worth "
            "nothing. Train on another split, list these ids in a file named by data.exclude, or "
            "set pretrain.allow_test_data = true if that is what you want."
        )
