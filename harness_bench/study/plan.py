"""From a study's file to its jobs: what is made of what, in an order in which it can be made."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.config import resolved
from harness_bench.corpora import available
from harness_bench.pretrain.config import key_values
from harness_bench.pretrain.plan import label_owner
from harness_bench.probing.s3prl.arguments import tasks
from harness_bench.probing.s3prl.hub import options
from harness_bench.study.config import ASR
from harness_bench.study.job import Needs, StudyJob, kinds, slug_of
from harness_bench.study.opened import CORPUS, MERGED, MODELS, PRETRAIN, named_files, state_on_disk
from harness_bench.study.task_asr import BroadcastTask, PreparedTask
from harness_bench.study.task_base import audits
from harness_bench.study.task_heads import HeadsTask

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from harness_bench.pretrain.config import IterationConfig
    from harness_bench.study.opened import Study

BOARD, LEADERBOARD = "board", "leaderboard"
_MEMORY_GB = 4.0  # of a small training
_LISTED = 50  # names; of more, only those near a wrong one are told


def plan(study: Study) -> dict[str, StudyJob]:
    """Return the jobs of a study by name; each stands behind those that it waits for.

    Nothing is computed. Corpora and checkpoints are looked at by names, sizes and times of their
    files; those that are absent have jobs that fail and say how to get them.

    Raises:
        ValueError: settings that cannot be; names the key, the value and what was expected.
    """
    return _Plan(study).jobs()


class _Plan:
    """Makes jobs of one study; methods yield those that they are named after."""

    def __init__(self, study: Study) -> None:
        self.study, self.config = study, study.config
        self.labelled: set[str] = set()
        self.audio: dict[str, str | None] = {}  # of the family's own: folder -> state on disk
        # Corpora that the recipe of QASR prepares by its own rules.
        own = {name for task in self.config.tasks if task.broadcast for name in task.corpora}
        used = {task.corpus for task in self.config.tasks} | {*self.study.heard}
        self.prepared = [name for name in self.config.corpora if name in used or name not in own]
        layouts = {
            f"corpora.{name}: layout": each.layout for name, each in study.config.corpora.items()
        }
        _known(layouts, available())
        types = {f"task {task.title!r}: type": task.type for task in self.config.tasks}
        _known(types, [*tasks(), ASR])
        upstreams = {
            f"model {each.title!r}: upstream": each.upstream
            for each in self.config.models
            if each.upstream
        }
        _known(upstreams, options())
        _known({f"outputs.{name}": name for name in self.config.outputs}, kinds())

    def jobs(self) -> dict[str, StudyJob]:
        found: dict[str, StudyJob] = {}
        for job in self._all():
            if job.name in found:
                raise ValueError(
                    f"two jobs would be called {job.name!r}; give tasks or models other names"
                )
            found[job.name] = self._with_needs(job)
        used = {job.kind for job in found.values()}
        if odd := [name for name in self.config.needs if name not in found.keys() | used]:
            known = ", ".join(sorted(used))
            raise ValueError(
                f"needs.{odd[0]!r}: there is no such kind of job ({known}), nor a job of that name"
            )
        return found

    def _with_needs(self, job: StudyJob) -> StudyJob:
        values = asdict(job.needs)
        for name in (job.kind, job.name):
            if name in self.config.needs:
                given = resolved(self.config.needs[name])
                values |= {key: value for key, value in given.items() if value is not None}
        return replace(job, needs=Needs(**values))

    def _all(self) -> Iterator[StudyJob]:
        yield from self._data()
        yield from self._models()
        shown: list[str] = []
        for job in _tasks(self.study):
            shown += [job.name] if job.kind.startswith("publish") else []
            yield job
        yield from self._outputs(shown)
        yield StudyJob(  # last: it shows the curves that outputs leave beside the results
            name=BOARD, kind="board", folder=LEADERBOARD, wants=(*shown, *self.config.outputs),
            settings={
                "title": self.config.title, "reported": self.config.board.reported,
                "times": self.config.board.times,
            },
            late=True,
        )  # fmt: skip

    def _outputs(self, shown: list[str]) -> Iterator[StudyJob]:
        """Yield what is made of results, trainings and corpora, of those that there are."""
        study, file = self.study, self.study.family_file
        cuts = {study.title_of(name): study.cuts(name) for name in self.prepared}
        made = [f"prepare {name}" for name in self.prepared]
        for task in (
            BroadcastTask(study, each, []) for each in self.config.tasks if each.broadcast
        ):
            cuts |= task.prepared()
            made += task.data_jobs
        made += [f"{PRETRAIN} {name}" for name in study.trained()]
        facts = {
            "title": self.config.title, "cuts": cuts,
            "iterations": {each.title: each.iteration for each in self.config.models
                           if each.iteration},
        }  # fmt: skip
        for kind, settings in self.config.outputs.items():
            yield StudyJob(
                name=kind, kind=kind, folder=kind, wants=(*made, *shown), late=True,
                settings=facts | settings, inputs=named_files(settings.values(), study.base),
                paths={"base": str(study.base)} | ({"family": str(file)} if file else {}),
            )  # fmt: skip

    # Corpora

    def _data(self) -> Iterator[StudyJob]:
        for name in self.prepared:
            yield from self._corpus(name)
        if len(names := self.study.heard) > 1:
            yield StudyJob(
                name=f"merge {MERGED}", kind="merge", folder=self.study.heard_cuts,
                settings={"cuts": [self.study.cuts(name) for name in names], "split": "train"},
                after=tuple(f"prepare {name}" for name in names),
            )  # fmt: skip

    def _corpus(self, name: str) -> Iterator[StudyJob]:
        corpus, where = self.config.corpora[name], self.study.data
        if corpus.cuts:
            folder = self.study.path(corpus.cuts, where)
            yield StudyJob(
                name=f"prepare {name}", kind="prepared",
                settings={"cuts": str(folder)} | self._absent(folder, corpus.get),
                inputs={"cuts": state_on_disk(folder)},
            )  # fmt: skip
            return
        settings: dict[str, Any] = {
            "layout": corpus.layout, "options": dict(corpus.options), "audio": corpus.audio,
            "require": list(corpus.require), "max_skipped": corpus.max_skipped,
            "exclude": [str(self.study.path(each, where)) for each in corpus.exclude],
        }  # fmt: skip
        inputs = {each: state_on_disk(self.study.path(each, where)) for each in corpus.exclude}
        after: tuple[str, ...] = ()
        if corpus.synthesis:
            assert self.config.synthesis is not None
            made = f"{CORPUS}/{slug_of(name)}"
            sizes = {"task": corpus.synthesis, "sizes": resolved(self.config.synthesis)}
            yield StudyJob(
                name=f"synthesise {name}", kind="synthesise", settings=sizes, folder=made
            )
            settings |= {"folder": made}
            after = (f"synthesise {name}",)
        else:
            folder = self.study.path(corpus.folder, where)
            state = state_on_disk(folder)
            hub = state is None and corpus.layout == "hf"
            settings |= {"folder": corpus.folder if hub else str(folder)}
            settings |= {} if hub else self._absent(folder, corpus.get)
            inputs |= {"files": state}
        yield StudyJob(
            name=f"prepare {name}", kind="prepare", settings=settings, inputs=inputs, after=after,
            folder=self.study.cuts(name), log_apart=True,
        )  # fmt: skip

    def _absent(self, folder: Path, get: str) -> dict[str, str]:
        """Say how to get what is not there; what is there has the same key whatever that says."""
        return {} if folder.exists() else {"get": get}

    # Models

    def _models(self) -> Iterator[StudyJob]:
        for model in self.config.models:
            row = self.study.rows[model.title]
            if model.random:
                yield StudyJob(
                    name=row.made_by, kind="random", folder=f"{MODELS}/{row.folder}",
                    settings={"shape": resolved(self.study.shape(model.random)),
                              "seed": self.config.seed},
                )  # fmt: skip
            elif model.checkpoint or model.hub:
                path = self.study.path(model.checkpoint) if model.checkpoint else None
                state = None if path is None else state_on_disk(path)
                yield StudyJob(
                    name=row.made_by, kind="checkpoint", inputs={"files": state},
                    settings={"model": model.hub or str(path), "upstream": row.upstream},
                )  # fmt: skip
        yield from self._trainings()
        for row in self.study.rows.values() if self.config.board.costs else ():
            if row.made_by:
                yield StudyJob(
                    name=f"costs {row.model}", kind="costs",
                    settings={"model": row.model, "made_by": row.made_by}, after=(row.made_by,),
                )  # fmt: skip

    def _trainings(self) -> Iterator[StudyJob]:
        family = self.study.family
        if family is None:
            return
        steps = {step.name: step for step in family.iterations}
        trained = [steps[name] for name in self.study.trained()]
        owners = Counter(label_owner(family, step).name for step in trained)
        for step in trained:
            owner = label_owner(family, step)
            after = [self.study.heard_job] if self.study.heard_job else []
            after += [f"{PRETRAIN} {step.teacher}"] if step.teacher in steps else []
            if owners[owner.name] > 1:  # or those that share them would wait for one another
                if (labels := f"labels {owner.name}") not in self.labelled:
                    self.labelled.add(labels)
                    yield self._training("labels", owner, after)
                after.append(labels)
            yield self._training(PRETRAIN, step, after)

    def _training(self, kind: str, step: IterationConfig, after: Sequence[str]) -> StudyJob:
        family, cuts = self.study.family, self.study.heard_cuts if self.study.heard_job else None
        assert family is not None
        data = None if cuts or family.data is None else resolved(family.data)
        inputs: dict[str, Any] = {}
        if step.teacher and step.teacher not in {each.name for each in family.iterations}:
            inputs["teacher"] = [step.teacher, state_on_disk(Path(step.teacher))]
        if data:
            for folder in (each.folder for each in self.study.audio_of(step.name)):
                if folder not in self.audio:
                    self.audio[folder] = state_on_disk(Path(folder))
                inputs[folder] = self.audio[folder]
        return StudyJob(
            name=f"{kind} {step.name}", kind=kind, folder=f"{PRETRAIN}/{step.name}",
            settings={"iteration": step.name, "seed": self.config.seed, "cuts": cuts,
                      "data": data, "config": key_values(step)},
            inputs=inputs, paths={"family": str(self.study.family_file)},
            after=tuple(after), needs=Needs(memory_gb=_MEMORY_GB),
        )  # fmt: skip


def _known(given: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse a name that is none of those that there are, before anything is computed."""
    for where, name in given.items():
        if name not in known:
            near = get_close_matches(name, known, 3) if len(known) > _LISTED else ()
            known = near or known
            raise ValueError(f"{where} = {name!r} is not there; known: {', '.join(known)}.")


def _tasks(study: Study) -> Iterator[StudyJob]:
    """Yield the jobs of all tasks, those of heads before the ASR that may ask for their best."""
    heads = [HeadsTask(study, task) for task in study.config.tasks if task.type != ASR]
    asr = [
        (BroadcastTask if task.broadcast else PreparedTask)(study, task, heads)
        for task in study.config.tasks
        if task.type == ASR
    ]
    yield from chain.from_iterable(task.data() for task in asr)
    yield from audits([*heads, *asr])
    yield from chain.from_iterable(task.jobs() for task in (*heads, *asr))
