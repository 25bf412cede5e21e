"""The main job: corpus, family of models, heads, ASR, scores, leaderboard."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from harness_bench.core.config import build
from harness_bench.core.process import run_logged
from harness_bench.core.workdir import OldNote, WorkDir, hardware, versions
from harness_bench.pretrain.config import load_family
from harness_bench.probing.probe import ProbeOutcome, Subject, run_probe
from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.results.record import Costs
from harness_bench.study.config import (
    FBANK,
    RANDOM,
    Classification,
    Demo,
    DemoConfig,
    Entry,
    Source,
    asr_stage,
    data_folder,
    data_stage,
    family_file,
    pretrain_stage,
    probe_config,
    probe_stage,
    source_name,
    stage_name,
)
from harness_bench.study.schedule import Schedule, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness_bench.asr.run import AsrOutcome
    from harness_bench.leaderboard.build import LeaderboardFiles


def measure(checkpoint: Path, kept: Path) -> Costs:
    """Measure a checkpoint, or return what was measured of the same one on the same machine.

    Args:
        checkpoint: the checkpoint folder.
        kept: JSON file for the costs and for what decides them.

    Raises:
        ValueError: no checkpoint there.
        RuntimeError: the model could not be run.
    """
    from harness_bench.models.frozen import checkpoint_digest  # noqa: PLC0415 - likewise
    from harness_bench.results.efficiency import efficiency  # noqa: PLC0415 - imports torch

    work = WorkDir(
        kept.parent,
        {"checkpoint": checkpoint_digest(checkpoint), "hardware": hardware(),
         "versions": versions()},
        older=(OldNote(kept.name, "decided_by", outcome="costs"),),
        note=kept.name,
    )  # fmt: skip
    if not work.finished:
        work.finish(efficiency(checkpoint).costs.model_dump())
    return Costs.model_validate(work.outcome)


def run_demo(
    config: DemoConfig,
    source: Path | None,
    out: Path,
    *,
    console: Console,
    jobs: int = 2,
    data_root: Path | None = None,
) -> tuple[LeaderboardFiles, Schedule]:
    """Run the whole chain; finished stages of an earlier run with equal inputs are kept.

    Args:
        config: what to run on.
        source: the file it came from, None for the embedded default.
        out: the run folder; everything stays below it.
        console: for progress.
        jobs: single-threaded stages run at the same time.
        data_root: overrides the config's data_root.

    Raises:
        ValueError: data or settings that do not fit.
        RuntimeError: a stage's process failed; shows the end of its log.
    """
    synthetic = out / "corpus"
    data = synthetic if config.synthesis else data_folder(config, source, data_root)
    demo = Demo(config, source, out, data, load_family(family_file(config, source)))
    schedule = Schedule(jobs, console)
    outcomes = schedule.run(plan_stages(demo))
    # The leaderboard draws: matplotlib and jinja2 are imported only now.
    from harness_bench.study.publish import publish_all  # noqa: PLC0415

    return publish_all(demo, outcomes), schedule


def plan_stages(demo: Demo) -> list[Stage]:
    """Return every stage of the job; ranks put the longest chain first."""
    stages = [_data_stage(demo, source) for source in demo.config.sources().values()]
    stages.append(_random_stage(demo))
    pretraining = data_stage(demo.config.pretraining)
    names = {step.name for step in demo.family.iterations}
    for step in demo.family.iterations:
        inside = step.teacher if step.teacher in names else None
        after = [pretraining, *([pretrain_stage(inside)] if inside else [])]
        log = demo.out / "pretrain" / step.name / "log.txt"
        stages.append(
            Stage(pretrain_stage(step.name), _pretrainer(demo, step.name, log), tuple(after), log)
        )
    for rank, entry in enumerate(demo.entries()):
        stages += [_probe_stage(demo, entry, index, rank) for index in _tasks(demo)]
        if entry.checkpoint is not None:
            kept = demo.out / "costs" / f"{entry.model}.json"
            run = partial(measure, entry.checkpoint, kept)
            # Nothing waits for these: they fill what the others leave free.
            stages.append(Stage(stage_name(entry.model), run, _made_by(entry), rank=30))
    stages += [_asr(demo, FBANK), _asr(demo, None)]
    return stages


def _tasks(demo: Demo) -> range:
    return range(len(demo.config.classification))


def _made_by(entry: Entry) -> tuple[str, ...]:
    """Return the stages that must end before a row's upstream can be used."""
    made: dict[str, tuple[str, ...]] = {
        "baseline": (),
        "random": (RANDOM,),
        "pretrained": (pretrain_stage(entry.model),),
    }
    return made[entry.kind]


def _data_stage(demo: Demo, source: Source) -> Stage:
    """Synthesise a folder where the demo makes its data, then prepare it."""

    def run() -> None:
        from harness_bench.corpora.prepare import PrepareConfig, prepare  # noqa: PLC0415

        folder = demo.data / source.folder
        if demo.config.synthesis is not None:
            from harness_bench.demo.synth import make_demo_task  # noqa: PLC0415

            make_demo_task(folder, source_name(source), demo.config.synthesis)
        settings = PrepareConfig(options=dict(source.options), max_skipped=source.max_skipped)
        prepare(source.corpus, folder, demo.cuts(source), settings)

    # What pretraining and ASR wait for comes first.
    waited_for = source in (demo.config.pretraining, demo.config.asr)
    return Stage(data_stage(source), run, rank=-1 if waited_for else 5)


def _random_stage(demo: Demo) -> Stage:
    """Export a model of the teacher's shape that has learned nothing."""

    def run() -> Path:
        from harness_bench.models.checkpoint import save_random  # noqa: PLC0415

        folder = demo.out / "models" / RANDOM
        shape = max(demo.family.iterations, key=lambda step: step.model.encoder_layers).model
        save_random(folder, shape, seed=demo.config.seed)
        return folder

    return Stage(RANDOM, run)


def _pretrainer(demo: Demo, name: str, log: Path) -> Any:
    def run() -> Path:
        family = family_file(demo.config, demo.source)
        cuts = demo.cuts(demo.config.pretraining)
        run_logged(
            [sys.executable, "-m", "harness_bench.cli", "family", str(family), str(cuts),
             str(demo.out / "pretrain"), "--only", name, "--restart"],
            log,
            threads=1,
        )  # fmt: skip
        return demo.checkpoint(name)

    return run


def _probe_stage(demo: Demo, entry: Entry, index: int, rank: int) -> Stage:
    task = demo.config.classification[index]
    name = probe_stage(task.task, entry.model)
    after = (data_stage(task.source), *_made_by(entry))
    # ASR waits for the students' heads, so these go before the others.
    rank = 2 if entry.model in demo.students() else 10 + rank
    log = _probe_folder(demo, entry, task) / "log.txt"
    return Stage(name, lambda: _probe(demo, entry, task), after, log, rank)


def _probe_folder(demo: Demo, entry: Entry, task: Classification) -> Path:
    return demo.out / "probes" / task.task / entry.model


def _probe(demo: Demo, entry: Entry, task: Classification) -> ProbeOutcome:
    """Train and test one head, or return what an equal run left."""
    subject = Subject(
        upstream=entry.upstream,
        checkpoint=entry.checkpoint,
        task=task.task,
        cuts=demo.cuts(task.source),
        label_field=task.label_field,
    )
    return run_probe(subject, _probe_folder(demo, entry, task), probe_config(demo))


def _asr(demo: Demo, model: str | None) -> Stage:
    """ASR on FBANK, or on the best student once the heads have told which that is."""
    folder = demo.out / "asr" / (model or "best_student")

    def run() -> tuple[Entry, AsrOutcome]:
        from harness_bench.asr.config import AsrConfig  # noqa: PLC0415
        from harness_bench.asr.run import run_asr  # noqa: PLC0415

        entry = {each.model: each for each in demo.entries()}[model or best_student(demo)]
        outcome = run_asr(
            upstream=FBANK if entry.checkpoint is None else "harness",
            checkpoint=entry.checkpoint,
            cuts=demo.cuts(demo.config.asr),
            out=folder,
            config=build(AsrConfig, demo.config.recipe, source="[recipe] of the demo"),
            threads=1,
        )
        return entry, outcome

    after: tuple[str, ...] = (data_stage(demo.config.asr),)
    if model is None:
        tasks = demo.config.classification
        after += tuple(probe_stage(task.task, name) for task in tasks for name in demo.students())
    return Stage(asr_stage(model), run, after, folder / "log.txt", rank=1)


def best_student(demo: Demo) -> str:
    """Return the student with the best mean accuracy on the dev sets of all heads."""
    students = [entry for entry in demo.entries() if entry.model in demo.students()]
    return max(students, key=lambda entry: _dev_accuracy(demo, entry)).model


def _dev_accuracy(demo: Demo, entry: Entry) -> float:
    shares = []
    for task in demo.config.classification:
        rows = read_predictions(_probe(demo, entry, task).dev_predictions, ClassPrediction)
        shares.append(sum(row.truth == row.pred for row in rows) / len(rows))
    return sum(shares) / len(shares)
