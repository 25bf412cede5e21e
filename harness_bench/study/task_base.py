"""What the jobs of all tasks share: names, ranks, audits, what results say of their rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.study.job import StudyJob

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness_bench.study.config import StudyTask
    from harness_bench.study.opened import Study, StudyRow

RESULTS = "results"
CURVES = "curves"  # folder of them, whose files the board draws


def job_name(*parts: str) -> str:
    """Join the parts of a job's name; one that says the same as that before it is left out."""
    return " ".join(dict.fromkeys(filter(None, parts)))


@dataclass(frozen=True)
class ScoredSplit:
    """A split that is scored, and what its recipe or heads are trained on."""

    corpus: str  # what results call it
    cuts: str
    split: str
    part: list[str] | None = None  # field and value of the utterances that count


class StudyTaskJobs:
    """What all kinds of tasks share."""

    def __init__(self, study: Study, task: StudyTask) -> None:
        self.study, self.task, self.config = study, task, study.config

    @property
    def scored(self) -> list[ScoredSplit]:
        """All splits that are scored."""
        raise NotImplementedError

    @property
    def training(self) -> tuple[str, str, str]:
        """Name, folder and split of what the recipe or heads are trained on."""
        raise NotImplementedError

    @property
    def data_jobs(self) -> tuple[str, ...]:
        """The jobs that make its data."""
        return (f"prepare {self.task.corpus}",)

    def rows(self) -> list[StudyRow]:
        """Return the rows that the task takes."""
        rows = self.study.rows
        return [rows[name] for name in self.task.models or rows]

    def jobs(self) -> Iterator[StudyJob]:
        """Yield the jobs in order."""
        raise NotImplementedError

    def audit(self, row: StudyRow) -> str:
        """Return the job that holds what a row has heard against the splits that are scored."""
        heard = row.heard or [name.rpartition(" ")[0] for name, *_ in row.sets]
        return job_name("audit", self.task.title, ("with " + " ".join(heard)) * bool(heard))

    def publishing(self, job: str, rows: Iterable[StudyRow]) -> dict[str, Any]:
        """Return what all jobs that publish results have in common."""
        rows, costs = list(rows), self.config.board.costs
        wants = [row.made_by for row in rows if row.made_by]  # where the weights are
        wants += [self.audit(row) for row in rows]
        wants += [f"costs {row.model}" for row in rows if costs and row.made_by]
        wants += [each["job"] for row in rows if not isinstance(each := self._heard(row), str)]
        return {
            "after": (job,), "wants": tuple(dict.fromkeys(wants)),
            "folder": RESULTS, "late": True,
        }  # fmt: skip

    def facts(self, rows: Iterable[StudyRow]) -> dict[str, Any]:
        """Return what a result says beside its figures, by row."""
        synthetic = self.config.synthetic
        return {
            "synthetic": synthetic,
            "times": self.config.board.times,
            "rows": {
                row.model: {
                    "kind": row.kind,
                    "upstream": row.upstream,
                    "made_by": row.made_by,
                    "audit": self.audit(row),
                    "heard": self._heard(row),
                }
                for row in rows
            },
        }

    def _heard(self, row: StudyRow) -> str | dict[str, str]:
        """Say what a row was pretrained on, with the hours of `job` behind it."""
        if row.pretraining_data or row.kind in ("baseline", "random"):
            return row.pretraining_data or "none"
        if row.heard != self.study.heard or not row.made_by.startswith("pretrain "):
            return "see the model's card"
        names = ", ".join(self.study.title_of(name) for name in row.heard)
        kind = "synthetic " * self.config.synthetic
        if not names:  # the family names its audio itself
            return f"{kind}{', '.join(name for name, *_ in row.sets)}" or "see the model's card"
        return {"text": f"{kind}{names}, train", "job": self.study.heard_job}


def audits(tasks: Iterable[StudyTaskJobs]) -> Iterator[StudyJob]:
    """Yield one audit of each task and set of corpora that rows have heard; rows alike share it."""
    for task in tasks:
        for sets in dict.fromkeys(row.sets for row in task.rows()):
            row = next(row for row in task.rows() if row.sets == sets)
            after = [*task.data_jobs, *(f"prepare {name}" for name in row.heard)]
            if not row.heard and any(not Path(folder).is_absolute() for _, folder, _ in sets):
                after.append(row.made_by)  # which prepares them on the way
            yield StudyJob(
                name=task.audit(row), kind="audit",
                settings={"training": [*map(list, dict.fromkeys([task.training, *sets]))],
                          "scored": [asdict(each) for each in task.scored]},
                after=tuple(dict.fromkeys(after)),
            )  # fmt: skip
