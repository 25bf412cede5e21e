"""The main job: corpus, family of models, heads, ASR, scores, leaderboard."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.config import build
from harness_bench.demo import costs
from harness_bench.demo.config import (
    Classification,
    DemoConfig,
    Source,
    data_folder,
    family_file,
    source_name,
)
from harness_bench.demo.schedule import Schedule, Stage
from harness_bench.predictions import ClassPrediction, read_predictions
from harness_bench.pretrain.family import checkpoint_folder, load_family
from harness_bench.processes import run_logged
from harness_bench.s3prl_plugin.probe import ProbeConfig, ProbeOutcome, Subject, run_probe

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness_bench.espnet_plugin.recipe import AsrOutcome
    from harness_bench.iteration import FamilyConfig
    from harness_bench.leaderboard.build import LeaderboardFiles

FBANK, RANDOM, ASR_TASK = "fbank", "random", "asr"


@dataclass(frozen=True)
class Entry:
    """One row of the leaderboard: an upstream and where its weights are."""

    model: str
    kind: Literal["baseline", "random", "pretrained"]
    upstream: str
    checkpoint: Path | None


@dataclass(frozen=True)
class Demo:
    """A demo ready to run."""

    config: DemoConfig
    source: Path | None  # the config file; None for the embedded default
    out: Path
    data: Path
    family: FamilyConfig

    def cuts(self, source: Source) -> Path:
        """Return the prepared folder of a source."""
        return self.out / "cuts" / source_name(source)

    def entries(self) -> list[Entry]:
        """List all rows: FBANK, a random model, every model of the family."""
        random = self.out / "models" / RANDOM
        family = [
            Entry(step.name, "pretrained", "harness_local", self.checkpoint(step.name))
            for step in self.family.iterations
        ]
        return [
            # s3prl's own FBANK, bit for bit, kept in memory between epochs.
            Entry(FBANK, "baseline", "fbank_cached", None),
            Entry(RANDOM, "random", "harness_local", random),
            *family,
        ]

    def checkpoint(self, name: str) -> Path:
        """Return the checkpoint folder of a family's model."""
        return checkpoint_folder(self.out / "pretrain", name)

    def students(self) -> list[str]:
        """List the models that no other model learns from."""
        teachers = {step.teacher for step in self.family.iterations}
        return [step.name for step in self.family.iterations if step.name not in teachers]


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
    from harness_bench.demo.publish import publish_all  # noqa: PLC0415

    return publish_all(demo, outcomes), schedule


def plan_stages(demo: Demo) -> list[Stage]:
    """Return every stage of the job; ranks put the longest chain first."""
    stages = [_data_stage(demo, source) for source in demo.config.sources().values()]
    stages.append(_random_stage(demo))
    pretraining = data_stage(demo.config.pretraining)
    for step in demo.family.iterations:
        after = [pretraining, *([pretrain_stage(step.teacher)] if step.teacher else [])]
        log = demo.out / "pretrain" / step.name / "log.txt"
        stages.append(
            Stage(pretrain_stage(step.name), _pretrainer(demo, step.name, log), tuple(after), log)
        )
    for rank, entry in enumerate(demo.entries()):
        stages += [_probe_stage(demo, entry, index, rank) for index in _tasks(demo)]
        if entry.checkpoint is not None:
            kept = demo.out / "costs" / f"{entry.model}.json"
            run = partial(costs.measure, entry.checkpoint, kept)
            # Nothing waits for these: they fill what the others leave free.
            stages.append(Stage(costs.stage_name(entry.model), run, _made_by(entry), rank=30))
    stages += [_asr(demo, FBANK), _asr(demo, None)]
    return stages


def data_stage(source: Source) -> str:
    """Return the name of the stage that makes and prepares a source."""
    return f"data {source_name(source)}"


def pretrain_stage(model: str) -> str:
    """Return the name of a model's pretraining stage."""
    return f"pretrain {model}"


def probe_stage(task: str, model: str) -> str:
    """Return the name of a probe's stage."""
    return f"{task} {model}"


def asr_stage(model: str | None) -> str:
    """Return the name of an ASR stage; None is the best student."""
    return f"{ASR_TASK} {model or 'best student'}"


def probe_config(demo: Demo) -> ProbeConfig:
    """Return the settings of the heads."""
    return build(ProbeConfig, demo.config.probe, source="[probe] of the demo")


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
        from harness_bench.espnet_plugin.recipe import AsrConfig, run_asr  # noqa: PLC0415

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
