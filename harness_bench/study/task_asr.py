"""The jobs of an ASR task: on a prepared corpus, or by the recipe of QASR."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, override

from harness_bench.asr.config import REPOSITORY, AsrConfig, BroadcastConfig, corpus_of, split_of
from harness_bench.core.config import build, resolved
from harness_bench.study.config import ASR, BEST_STUDENT
from harness_bench.study.job import Needs, StudyJob, slug_of
from harness_bench.study.opened import CUTS, named_files, state_on_disk
from harness_bench.study.task_base import ScoredSplit, StudyTaskJobs, job_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness_bench.study.config import StudyTask
    from harness_bench.study.opened import Study, StudyRow
    from harness_bench.study.task_heads import HeadsTask

_ASR_MEMORY_GB = 4.0
# Options of the recipe of QASR: of how corpora are read, and of all that models share.
_OF_SOURCES = ("train_hours", "dev_hours", "split_seed", "max_skipped", "audio_check")
_OF_DATA = (
    *_OF_SOURCES, "recipe", "train_set", "valid_set", "test_sets", "nj", "text_profile",
    "token_type", "nbpe", "speed_perturb_factors", "audio_format", "min_wav_duration",
    "max_wav_duration", "lm_train_text",
)  # fmt: skip


class RecognitionTask(StudyTaskJobs):
    """ASR of one task: what its two kinds share."""

    def __init__(self, study: Study, task: StudyTask, heads: Iterable[HeadsTask]) -> None:
        super().__init__(study, task)
        self.heads = list(heads)
        if (given := task.models) and BEST_STUDENT in given and not (study.students() and heads):
            raise ValueError(
                f"task {task.title!r}: {BEST_STUDENT!r} is chosen by heads of iterations that no "
                "other learns from; there are none. Name a model"
            )

    def names(self) -> list[str]:
        """List the models; by default all that the recipes can compute."""
        able = [model.title for model in self.config.models if self.task.takes(model)]
        names = list(self.task.models or able)
        if odd := [name for name in names if name != BEST_STUDENT and name not in able]:
            raise ValueError(
                f"task {self.task.title!r}: models = {odd[0]!r} has no checkpoint, and of what "
                f"has none the recipes know FBANK alone; they can take: {', '.join(able)}"
            )
        return names

    @override
    def rows(self) -> list[StudyRow]:
        return list({row.model: row for name in self.names() for row in self.choice(name)}.values())

    def choice(self, name: str) -> list[StudyRow]:
        """Return the rows that a name may turn out to be."""
        names = self.study.students() if name == BEST_STUDENT else [name]
        return [self.study.rows[each] for each in names]

    def settings(self) -> dict[str, Any]:
        """Return the settings of the recipe: [asr], and over it the task's."""
        return {**self.config.asr, **self.task.settings}

    def recipe(self) -> str | None:
        """Return the recipe's folder, named from the repository's where it lies in that."""
        if not self.task.recipe:
            return None
        folder = self.study.path(self.task.recipe).resolve()
        return str(folder.relative_to(REPOSITORY) if folder.is_relative_to(REPOSITORY) else folder)

    @property
    def recipe_folder(self) -> Path:
        """Return the folder of the recipe that is used."""
        raise NotImplementedError

    @cached_property
    def recipe_files(self) -> dict[str, str]:
        """Return the digests of run.sh, of all conf/, and of further files that settings name."""
        folder = self.recipe_folder
        names = ["run.sh", *(str(each.relative_to(folder)) for each in folder.glob("conf/**/*"))]
        return named_files([*names, *self.settings().values()], folder)

    def seeds(self) -> list[int]:
        """Return the seeds, the study's added."""
        given = self.task.seeds or (int(self.settings().get("seed", 0)),)
        return [seed + self.config.seed for seed in given]

    def place(self, *parts: str) -> str:
        """Return a folder of the task's."""
        own = [] if self.task.title == ASR else [slug_of(self.task.title)]
        return "/".join([ASR, *own, *(slug_of(each.replace(" ", "_")) for each in parts)])

    @override
    def jobs(self) -> Iterator[StudyJob]:
        seeds = self.seeds()
        for name in sorted(self.names(), key=lambda each: each == BEST_STUDENT):  # waits for others
            for number, seed in enumerate(seeds):
                suffix = f"seed{seed}" * (len(seeds) > 1)
                yield from self._of_model(name, seed, suffix, first=number == 0)

    def _of_model(self, name: str, seed: int, suffix: str, *, first: bool) -> Iterator[StudyJob]:
        rows = self.choice(name)
        heads = [
            (row, task.job_name(row, head))
            for row in rows
            for task in self.heads
            for head in task.kinds()
            if row in task.rows()
        ]  # fmt: skip
        best = name == BEST_STUDENT
        settings, gpus = self.training_settings(seed)
        settings |= {
            "rows": {row.model: {"made_by": row.made_by, "kind": row.kind} for row in rows},
            "heads": {
                row.model: [job for other, job in heads if other == row] for row in rows
            } if best else {},
        }  # fmt: skip
        # The best may turn out to be a row that is trained by its own name.
        own = [row.model for row in rows if best and row.model in self.names()]
        trained = {each: job_name(ASR, self.task.title, each, suffix) for each in own}
        settings |= {"trained": trained} if trained else {}
        job = StudyJob(
            name=job_name(ASR, self.task.title, name, suffix), kind=self.kind, settings=settings,
            folder=self.place(*filter(None, [name, suffix])),
            after=(*self.data_jobs, *(() if best else filter(None, [rows[0].made_by]))),
            wants=(*(row.made_by for row in rows), *(job for _, job in heads), *trained.values())
            if best else (),
            needs=Needs(gpus=gpus, memory_gb=_ASR_MEMORY_GB), inputs=self.recipe_files,
        )  # fmt: skip
        yield job
        yield StudyJob(
            name=job_name("publish", self.task.title, name, suffix), kind=f"publish_{self.kind}",
            settings=self.facts(rows) | {
                "asr": job.name, "seed": seed, "scored": [asdict(each) for each in self.scored],
                # The board shows the first seed; tables take the others from their own splits.
                "suffix": "" if first else f".{suffix}",
            } | self.publish_settings(),
            **self.publishing(job.name, rows),
        )  # fmt: skip

    kind = ASR

    def data(self) -> Iterator[StudyJob]:
        """Yield what makes data that the study's corpora are not."""
        yield from ()

    def training_settings(self, seed: int) -> tuple[dict[str, Any], int]:
        """Return what decides a training, and the GPUs that it needs."""
        raise NotImplementedError

    def publish_settings(self) -> dict[str, Any]:
        """Return further settings of what publishes."""
        return {}


class PreparedTask(RecognitionTask):
    """ASR on one prepared corpus."""

    @cached_property
    def asr(self) -> AsrConfig:
        """Return the recipe's settings, checked."""
        recipe = self.recipe()
        values = self.settings() | ({"recipe": recipe} if recipe else {})
        return build(AsrConfig, values, source=f"[asr] and settings of task {self.task.title!r}")

    @property
    @override
    def recipe_folder(self) -> Path:
        return REPOSITORY / self.asr.recipe

    @property
    @override
    def scored(self) -> list[ScoredSplit]:
        title, cuts = self.study.title_of(self.task.corpus), self.study.cuts(self.task.corpus)
        return [ScoredSplit(title, cuts, split) for split in self.asr.test_sets]

    @property
    @override
    def training(self) -> tuple[str, str, str]:
        train = self.asr.train_set
        title = self.study.title_of(self.task.corpus)
        return (f"{title} {train}", self.study.cuts(self.task.corpus), train)

    @override
    def training_settings(self, seed: int) -> tuple[dict[str, Any], int]:
        config = replace(self.asr, seed=seed)
        return {
            "cuts": self.study.cuts(self.task.corpus), "recipe": resolved(config)
        }, config.ngpu  # fmt: skip


class BroadcastTask(RecognitionTask):
    """ASR trained on QASR and tested on it and others, by the recipe of QASR."""

    kind = "broadcast"

    @property
    @override
    def data_jobs(self) -> tuple[str, ...]:
        return (f"asr_data {self.task.title}",)

    @cached_property
    def given(self) -> dict[str, Any]:
        """Return what run.sh is told, beside its own defaults; checked."""
        corpora, recipe = self.config.corpora, self.recipe() or "egs/qasr/asr1"
        train = corpora[self.task.train]
        named = {"train_hours": "train_hours", "dev_hours": "dev_hours", "seed": "split_seed"}
        values: dict[str, Any] = {
            named[name]: value if name == "seed" else str(value)
            for name, value in train.options.items()
            if name in named
        }
        values |= {
            "test_sets": [f"{corpora[name].layout}_test" for name in self.task.test],
            "max_skipped": max(corpora[name].max_skipped for name in self.task.corpora),
            "audio_check": train.audio,
        }
        values |= self.settings()
        source = f"settings of task {self.task.title!r}"
        build(BroadcastConfig, values | {"recipe": recipe}, source=source)
        for name in ("asr_config", "inference_config", "lm_config", "feature_cache"):
            if values.get(name):  # as in the recipe's folder
                values[name] = str(REPOSITORY / recipe / values[name])
        return values | {"recipe": recipe}

    @property
    @override
    def recipe_folder(self) -> Path:
        return REPOSITORY / str(self.given["recipe"])

    def sources(self) -> dict[str, str]:
        """Return the folders of the corpora by layout."""
        return {
            (corpus := self.config.corpora[name]).layout: str(
                self.study.path(corpus.folder, self.study.data)
            )
            for name in self.task.corpora
        }

    def prepared(self) -> dict[str, str]:
        """Return the prepared folders by the names that results have of their corpora."""
        layouts = {name: self.config.corpora[name].layout for name in self.task.corpora}
        return {self.study.title_of(name): self.place(CUTS, each) for name, each in layouts.items()}

    @property
    @override
    def scored(self) -> list[ScoredSplit]:
        titles = {
            self.config.corpora[name].layout: self.study.title_of(name)
            for name in self.task.corpora
        }
        parts = [(corpus_of(name), split_of(name)) for name in self.given["test_sets"]]
        return [ScoredSplit(titles[name], self.place(CUTS, name), split) for name, split in parts]

    @property
    @override
    def training(self) -> tuple[str, str, str]:
        title = self.study.title_of(self.task.train)
        return (f"{title} train", self.place(CUTS, "qasr"), "train")

    @override
    def data(self) -> Iterator[StudyJob]:
        kept = {name: value for name, value in self.given.items() if name in _OF_DATA}
        sources, absent = self.sources(), {}
        for name in self.task.corpora:
            corpus = self.config.corpora[name]
            if not Path(sources[corpus.layout]).is_dir():
                absent[f"{name} ({sources[corpus.layout]})"] = corpus.get
        yield StudyJob(
            name=self.data_jobs[0], kind="asr_data", folder=self.place(),
            settings={"sources": sources, "given": kept} | ({"get": absent} if absent else {}),
            inputs={name: state_on_disk(Path(folder)) for name, folder in sources.items()}
            | named_files(["run.sh"], self.recipe_folder),
        )  # fmt: skip

    @override
    def training_settings(self, seed: int) -> tuple[dict[str, Any], int]:
        given = {name: value for name, value in self.given.items() if name not in _OF_SOURCES}
        return {"expdir": self.place(), "given": given | {"seed": seed}}, int(given.get("ngpu", 0))

    @override
    def publish_settings(self) -> dict[str, Any]:
        inference = self.given.get("inference_config")
        recipe = REPOSITORY / self.given["recipe"]
        return {
            "sets": self.given["test_sets"], "expdir": self.place(),
            "inference_config": inference or str(recipe / "conf" / "decode.yaml"),
            "asr_model": self.given.get("inference_asr_model", "valid.acc.ave.pth"),
            "profile": self.given.get("score_profile", ""),
        }  # fmt: skip
