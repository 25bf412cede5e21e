"""What jobs will take before any has run: operations counted, and speeds measured elsewhere.

Right within a factor of three or so: enough to choose between a laptop and a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness_bench.asr.config import REPOSITORY
from harness_bench.core.files import read_json
from harness_bench.corpora.doctor.known import of_corpus
from harness_bench.models.config import USUAL_UTILISATION, forward_per_second, gpu_hours
from harness_bench.pretrain.plan import cost_of, disk_bytes
from harness_bench.study.progress import max_epoch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness_bench.study.config import StudyCorpus
    from harness_bench.study.job import StudyJob
    from harness_bench.study.opened import Study

_HOUR = 3600.0
# Of one core (AMD EPYC), with the demo's models and speech.
CORE_OPERATIONS = 50e9  # a second, in pretraining: 52 and 56 of its two models
DECODED = 1200.0  # seconds of audio a second, in `prepare`: 1,200 and 1,480 of two corpora
LABELLED = 300.0  # seconds of audio a second, in labels from MFCC
HEAD = 2.8e-3  # seconds for an utterance of a step of the CNN head
RECOGNISED = 115.0  # seconds of audio a second, in training ASR on FBANK
# Seconds of jobs that are as long in any study, nearly: of one with tiny models, on a busy machine.
SHORT = {"merge": 1, "random": 8, "publish_heads": 1, "publish_asr": 1, "board": 10}
OPERATIONS = "by the operation count, on a GPU at 10 % of an H100's bf16 peak, or 50 GFLOP/s a core"
SPEEDS = "by speeds measured on one core with the demo"


@dataclass(frozen=True)
class Guess:
    """What one job will take."""

    hours: float
    source: str
    disk_gb: float = 0.0


def with_guesses(
    study: Study, jobs: Mapping[str, StudyJob]
) -> tuple[dict[str, StudyJob], set[str]]:
    """Return the jobs with hours and disk where the plan leaves them open, and their sources."""
    found: dict[str, StudyJob] = {}
    sources: set[str] = set()
    for name, job in jobs.items():
        known = guess(study, job) if job.needs.hours is None else None
        if known is None:
            found[name] = job
            continue
        sources.add(known.source)
        needs = replace(job.needs, hours=known.hours, disk_gb=job.needs.disk_gb or known.disk_gb)
        found[name] = replace(job, needs=needs)
    return found, sources


def guess(study: Study, job: StudyJob) -> Guess | None:
    """Return what a job will take; None where that cannot be said."""
    by_kind: dict[str, Callable[[Study, StudyJob], Guess | None]] = {
        "prepare": _prepare, "labels": _labels, "pretrain": _pretrain, "probe": _probe,
        "trial": _probe, "asr": _asr, "broadcast": _asr,
    }  # fmt: skip
    if job.kind in by_kind:
        return by_kind[job.kind](study, job)
    seconds = SHORT.get(job.kind)
    return None if seconds is None else Guess(seconds / _HOUR, SPEEDS)


def corpus_hours(study: Study, name: str) -> dict[str, float]:
    """Return the hours of a corpus by split: prepared, else declared, else known; "" is all."""
    corpus = study.config.corpora[name]
    report = study.out / study.cuts(name) / "report.json"
    if report.is_file():
        splits = read_json(report).get("splits", {})
        return {split: float(each["hours"]) for split, each in splits.items()}
    return {"": corpus.hours} if corpus.hours else _known_hours(corpus)


def _known_hours(corpus: StudyCorpus) -> dict[str, float]:
    known = of_corpus(corpus.layout)
    return {
        figure.splits[0] if len(figure.splits) == 1 else "": float(figure.value)
        for figure in (known.figures if known else ())
        if figure.what == "hours" and figure.value
        and all(corpus.options.get(name) == value for name, value in figure.options.items())
    }  # fmt: skip


def _total(hours: Mapping[str, float]) -> float | None:
    return hours.get("") or sum(hours.values()) or None


def _train(study: Study, name: str) -> float | None:
    hours = corpus_hours(study, name)
    return hours.get("train") or _total(hours)


def _prepare(study: Study, job: StudyJob) -> Guess | None:
    hours = _total(corpus_hours(study, job.name.removeprefix("prepare ")))
    return None if hours is None else Guess(hours / DECODED / job.needs.cpus, SPEEDS)


def _computed(operations: float, job: StudyJob) -> float:
    """Return the hours that so many operations take where a job runs."""
    if gpus := job.needs.gpus * max(job.needs.nodes, 1):
        return gpu_hours(operations, USUAL_UTILISATION) / gpus
    return operations / CORE_OPERATIONS / _HOUR / job.needs.cpus


def _pretrain(study: Study, job: StudyJob) -> Guess | None:
    steps = {step.name: step for step in (study.family.iterations if study.family else ())}
    step = steps.get(job.settings["iteration"])
    if step is None:
        return None
    cost = cost_of(step, job.needs.gpus * max(job.needs.nodes, 1) or None)
    operations = cost.audio_hours * _HOUR * cost.flop_per_second
    return Guess(_computed(operations, job), OPERATIONS, disk_bytes(step) / 1e9)


def _labels(study: Study, job: StudyJob) -> Guess | None:
    steps = {step.name: step for step in (study.family.iterations if study.family else ())}
    step, hours = steps.get(job.settings["iteration"]), _heard_hours(study, job)
    if step is None or hours is None:
        return None
    if step.labels.source != "hidden":
        return Guess(hours / LABELLED / job.needs.cpus, SPEEDS)
    if step.teacher not in steps:
        return None
    operations = hours * _HOUR * forward_per_second(steps[step.teacher].model)
    return Guess(_computed(operations, job), OPERATIONS)


def _heard_hours(study: Study, job: StudyJob) -> float | None:
    """Return the hours that a family hears: of the study's corpora, or as its [data] declares."""
    if data := job.settings["data"]:
        hours = [source["hours"] for source in data["sources"]]
    else:
        hours = [_train(study, name) for name in study.heard]
    return sum(hours) if hours and all(hours) else None


def _forward(study: Study, made_by: str) -> float:
    """Return the operations of a model per second of audio; 0 of one that nothing is known of."""
    kind, _, name = made_by.partition(" ")
    if kind == "random":
        name = next(model.random for model in study.config.models if model.title == name)
    elif kind != "pretrain":
        return 0.0
    return forward_per_second(study.shape(name))


def _corpus_of(study: Study, cuts: str) -> str | None:
    return next((name for name in study.config.corpora if study.cuts(name) == cuts), None)


def _probe(study: Study, job: StudyJob) -> Guess | None:
    grid, corpus = job.settings["grid"], _corpus_of(study, job.settings["cuts"])
    if grid is None or corpus is None:
        return None
    trials = 1 if job.kind == "trial" else len(grid["learning_rates"]) + len(grid["seeds"]) - 1
    heard = trials * grid["probe"]["total_steps"] * grid["probe"]["batch_size"]
    hours = heard * HEAD / _HOUR / job.needs.cpus
    if audio := _total(corpus_hours(study, corpus)):  # features are kept from the first epoch on
        hours += _computed(audio * _HOUR * _forward(study, job.settings["made_by"]), job)
    return Guess(hours, SPEEDS)


def _asr(study: Study, job: StudyJob) -> Guess | None:
    recipe = job.settings.get("recipe") or job.settings["given"]
    if "cuts" in job.settings:
        corpus = _corpus_of(study, job.settings["cuts"])
    else:
        corpus = next(task.train for task in study.config.tasks if task.broadcast)
    hours, epochs = corpus and _train(study, corpus), _epochs(recipe)
    forward = max(_forward(study, row["made_by"]) for row in job.settings["rows"].values())
    if not hours or not epochs or (job.needs.gpus and not forward):
        return None
    audio = epochs * hours * _HOUR
    trained = 0.0 if job.needs.gpus else audio / RECOGNISED / _HOUR / job.needs.cpus
    return Guess(trained + _computed(audio * forward, job), OPERATIONS if forward else SPEEDS)


def _epochs(recipe: Mapping[str, Any]) -> int | None:
    """Return the epochs of a recipe, of its settings or of the file that they name."""
    if recipe.get("max_epoch"):
        return int(recipe["max_epoch"])
    folder = REPOSITORY / recipe["recipe"]
    return max_epoch_of(folder / recipe.get("asr_config", "conf/train_asr.yaml"))
