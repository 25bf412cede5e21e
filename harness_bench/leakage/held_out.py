"""Dev and test sets must not be trained on, whatever list or folder brings them in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.core.files import read_ids
from harness_bench.core.log import say
from harness_bench.cuts.store import cuts_path, read_rows, splits
from harness_bench.cuts.table import SPAN, Table
from harness_bench.leakage.compare import compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lhotse.cut import Cut
    from numpy.typing import NDArray


_BEGINNINGS = ("dev", "test", "valid", "eval")
_NAMES = ("id", "recording id", "supervision id")  # by which a cut may be a held-out utterance
# Ids like 001_01 are those of many corpora; a length that agrees too is no chance.
_SAME_LENGTH = 0.01  # seconds
_SHOWN = 5


class Excluded(NamedTuple):
    """What a list of exclusions did."""

    kept: list[Cut]
    left_out: list[Cut]
    unmatched: list[str]  # ids of the lists that no cut has


def read_exclusions(files: Iterable[str]) -> set[str]:
    """Read all ids of lists; no such file, or one without ids, is a `ValueError`."""
    ids: set[str] = set()
    for file in files:
        if not Path(file).is_file():
            raise ValueError(f"data.exclude names {file}, and there is no such file.")
        if not (found := read_ids(Path(file))):
            raise ValueError(f"{file} (data.exclude) holds no ids; was another file meant?")
        ids.update(found)
    return ids


def exclude(cuts: Sequence[Cut], ids: set[str]) -> Excluded:
    """Leave out every cut whose recording or utterance is on the list."""
    found = Excluded([], [], [])
    unmatched = set(ids)
    for cut in cuts:
        hits = names_of(cut) & ids
        unmatched -= hits
        (found.left_out if hits else found.kept).append(cut)
    return found._replace(unmatched=sorted(unmatched))


def refuse_excluded(cuts: Iterable[Cut], ids: set[str], where: str) -> None:
    """Refuse shards that hold an excluded recording: they are not written again for it."""
    if bad := [str(cut.id) for cut in cuts if names_of(cut) & ids]:
        raise ValueError(
            f"{where} holds {len(bad)} utterances of excluded recordings "
            f"({', '.join(bad[:_SHOWN])}). Shard the corpus again without them."
        )


def tell(excluded: Excluded, title: str) -> None:
    """Say what was left out, and what of the list was not found."""
    if excluded.left_out:
        names = ", ".join(str(cut.id) for cut in excluded.left_out[:_SHOWN])
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


def refuse_held_out(cuts: Iterable[Cut], folders: Sequence[Path], where: str) -> None:
    """Stop where training audio touches a dev or test set.

    Touching is the same samples, the same id at the same length, or overlapping seconds of one
    file. Speakers and videos may be shared; `harness-bench audit` reports them, and sound that was
    encoded anew. Protected are the dev and test sets, such as `test_clean`, of prepared folders;
    `where` is what to call the training audio.

    Raises:
        ValueError: names the sets, the number of cuts and the first of them; or one of the folders
            is no prepared one.
    """
    protected = [
        Table(f"{folder}, split {split}", kinds=("id", "audio", "recording", SPAN)).extend(
            read_rows(cuts_path(folder, split))
        )
        for folder in dict.fromkeys(folders)
        for split in splits(folder)
        if split.lower().startswith(_BEGINNINGS)
    ]
    if not protected:
        return
    training = Table(where, kinds=(*_NAMES, "audio", "recording", SPAN)).extend(cuts)
    parts, seen = [], np.zeros(len(training), dtype=bool)
    for table in protected:
        places = np.flatnonzero(_touched(training, table) & ~seen)
        seen[places] = True
        if len(places):
            shown = ", ".join(training.id(int(place)) for place in places[:_SHOWN])
            parts.append(f"{len(places)} utterances of {table.name} ({shown})")
    if parts:
        raise ValueError(
            f"{where} would train on {'; '.join(parts)}. Scores on those sets would be "
            "meaningless. Train on another split, list these ids in a file named by data.exclude, "
            "or set pretrain.allow_test_data = true if that is what you want."
        )


def _touched(training: Table, held: Table) -> NDArray[np.bool_]:
    """Tell which utterances take audio from a held-out set, (cuts,)."""
    touched = np.zeros(len(training), dtype=bool)
    if not len(held):
        return touched
    for finding in compare(training, held, kinds=("audio", SPAN)).findings:
        touched[finding.places[0]] = True
    order = np.argsort(held.hashes("id"))
    ids, seconds = held.hashes("id")[order], held.seconds()[order]
    for kind in _NAMES:
        names = training.hashes(kind)
        nearest = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
        same_length = np.abs(seconds[nearest] - training.seconds()) < _SAME_LENGTH
        touched |= (ids[nearest] == names) & same_length
    return touched
