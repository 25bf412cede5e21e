"""The jobs of a classification task: heads of each row, and what publishes their results."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, override

from harness_bench.core.config import read_toml, resolved
from harness_bench.study.job import StudyJob, slug_of
from harness_bench.study.task_base import ScoredSplit, StudyTaskJobs, job_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness_bench.probing.grid import GridConfig
    from harness_bench.study.config import StudyHeads, StudyTask
    from harness_bench.study.opened import StudyRow

PROBES = "probes"


class HeadsTask(StudyTaskJobs):
    """Heads of one classification task."""

    @property
    def cuts(self) -> str:
        """The prepared folder of its corpus."""
        return self.study.cuts(self.task.corpus)

    @property
    @override
    def scored(self) -> list[ScoredSplit]:
        title = self.study.title_of(self.task.corpus)
        parts = [
            ScoredSplit(part.name, self.cuts, "test", [part.field, part.value])
            for part in self.task.parts
        ]
        return [ScoredSplit(title, self.cuts, "test"), *parts]

    @property
    @override
    def training(self) -> tuple[str, str, str]:
        return (f"{self.study.title_of(self.task.corpus)} train", self.cuts, "train")

    @cached_property
    def grid(self) -> GridConfig:
        """Return what is tried: [heads], over it the task's file, over that what it says itself."""
        from harness_bench.probing.grid import grid_config  # noqa: PLC0415 - a second

        heads, task = self.config.heads, self.task
        values: dict[str, Any] = {"probe": {**heads.probe}, "linear": {**heads.linear}}
        levels: list[Mapping[str, Any]] = [_tried(heads)]
        if task.grid:  # an empty list of it is refused with the rest
            levels.append(read_toml(self.study.path(task.grid)))
        levels.append({"probe": task.settings, "linear": task.linear} | _tried(task))
        for level in levels:
            values |= {name: level[name] for name in ("learning_rates", "seeds") if name in level}
            for name in ("probe", "linear"):
                values[name] |= level.get(name, {})
        grid = grid_config(values)
        return replace(grid, seeds=tuple(seed + self.config.seed for seed in grid.seeds))

    def job_name(self, row: StudyRow, head: str, kind: str = "probe") -> str:
        """Return the name of a row's job."""
        return job_name(kind, self.task.title, row.model, f"({head})" * (head != "cnn"))

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of heads."""
        return tuple(self.task.heads or self.config.heads.kinds)

    @override
    def jobs(self) -> Iterator[StudyJob]:
        for row in self.rows():
            for head in self.kinds():
                yield from self._of_row(row, head)

    def _of_row(self, row: StudyRow, head: str) -> Iterator[StudyJob]:
        title = self.task.title if head == "cnn" else f"{self.task.title}.{head}"
        folder = f"{PROBES}/{slug_of(title)}/{row.folder}"
        grid = resolved(self.grid)
        linear = grid.pop("linear") | {"classifier": head}
        settings: dict[str, Any] = {
            "upstream": row.upstream, "made_by": row.made_by, "task": self.task.type,
            "cuts": self.cuts, "label_field": self.task.label_field,
            "unknown_labels": self.task.unknown_labels,
            "head": head, "grid": grid if head == "cnn" else None,
            "linear": linear if head != "cnn" else None,
        }  # fmt: skip
        after = (*self.data_jobs, *filter(None, [row.made_by]))
        trials: list[str] = []
        if head == "cnn" and self.config.heads.apart:
            for trial in self._trials(row, folder, after, settings):
                trials.append(trial.name)
                yield trial
        probe = StudyJob(
            name=self.job_name(row, head), kind="probe", folder=folder, after=(*after, *trials),
            settings=settings,
        )  # fmt: skip
        yield probe
        yield StudyJob(
            name=self.job_name(row, head, "publish"), kind="publish_heads",
            settings=settings | self.facts([row]) | {
                "probe": probe.name, "scored": [asdict(each) for each in self.scored],
            },
            **self.publishing(probe.name, [row]),
        )  # fmt: skip

    def _trials(
        self, row: StudyRow, folder: str, after: tuple[str, ...], settings: Mapping[str, Any]
    ) -> Iterator[StudyJob]:
        """Yield a job for each rate, and behind these one for each further seed."""
        rates, seeds = self.grid.learning_rates, self.grid.seeds
        if len(rates) + len(seeds) == 2:  # noqa: PLR2004 - one of each: nothing to part
            return
        name = self.job_name(row, "cnn", "trial")
        tried = {f"{name} lr{rate:g}": rate for rate in rates}
        for title, rate in tried.items():
            own = {**settings, "rate": rate, "tried": [], "seed": seeds[0]}
            yield StudyJob(
                name=title, kind="trial", folder=folder, after=after, settings=own, log_apart=True,
            )  # fmt: skip
        for seed in seeds[1:]:
            yield StudyJob(
                name=f"{name} seed{seed}", kind="trial", folder=folder, after=(*after, *tried),
                settings={**settings, "rate": None, "tried": list(tried), "seed": seed},
                log_apart=True,
            )  # fmt: skip


def _tried(given: StudyHeads | StudyTask) -> dict[str, list[Any]]:
    """Return the rates and seeds that are named; without one, what stands before them counts."""
    named = {"learning_rates": given.learning_rates, "seeds": given.seeds}
    return {name: list(values) for name, values in named.items() if values}
