"""Recordings that must not be trained on: official dev and test sets, above all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness_bench.files import read_ids
from harness_bench.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lhotse.cut import Cut


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
