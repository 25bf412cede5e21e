"""Check a corpus as it came and write cuts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.study.job import LOG
from harness_bench.study.outcomes import refuse_absent

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Prepare the corpus into the job's folder; tell what is in it."""
    given = dict(place.job.settings)
    refuse_absent(place)
    layout, folder = given.pop("layout"), given.pop("folder")
    # A path below the study's folder where the study made the corpus itself.
    root = place.out / folder if (place.out / folder).exists() else Path(folder)
    # Of a version before, whose failure left it; `prepare` refuses what is not its own.
    (place.folder / LOG).unlink(missing_ok=True)
    report = prepare(
        layout, str(root), place.folder,
        PrepareConfig(
            options=given["options"], audio=given["audio"], require=tuple(given["require"]),
            exclude=tuple(given["exclude"]), max_skipped=given["max_skipped"],
            jobs=place.job.needs.cpus,
        ),
    )  # fmt: skip
    return {"hours": {name: split.hours for name, split in report.splits.items()}}
