"""Write down which utterances leak, so that a training or a test set can leave them out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness_bench.files import read_ids, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.audit.report import AuditReport

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


def write_lists(report: AuditReport, folder: Path) -> list[Path]:
    """Write the ids of each set's utterances that leak into `leaked.<set>.txt`.

    A set of which none leaks has a list without ids, so that an old one never stays. The lists
    are what `prepare --exclude` and `data.exclude` take (the latter refuses one without ids): leave
    out either side of a leak, not both.

    Returns:
        The files, in the order of the sets.

    Raises:
        ValueError: two sets whose names give one file name, or an id that a list cannot hold.
    """
    names = [f"leaked.{_NOT_IN_NAMES.sub('_', each.name)}.txt" for each in report.leaked]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(
                f"Two sets would write {folder / name}; name one of them otherwise (NAME=PATH)."
            )
    for name, each in zip(names, report.leaked, strict=True):
        head = f"# {len(each.reasons)} utterances of {each.name} leak\n"
        rows = [f"# {why}\n{uid}\n" for uid, why in each.reasons.items()]
        write_text(folder / name, head + "".join(rows))
        if lost := each.reasons.keys() - read_ids(folder / name):
            raise ValueError(
                f"{folder / name} cannot hold {len(lost)} ids, first {min(lost)!r}: an id must be "
                "one line, without spaces around it, and not begin with #. Leave these out by hand."
            )
    return [folder / name for name in names]
