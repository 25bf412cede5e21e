"""The main job: corpus, family of models, heads, ASR, scores, results, leaderboard."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.audio.batching import total_hours
from harness_bench.core.config import build
from harness_bench.core.process import run_logged
from harness_bench.core.workdir import OldNote, WorkDir, hardware, versions
from harness_bench.cuts.store import read_cuts
from harness_bench.pretrain.config import checkpoint_folder, load_family
from harness_bench.probing.probe import ProbeConfig, ProbeOutcome, Subject, run_probe
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.results.record import Costs, Result
from harness_bench.scoring import publish
from harness_bench.scoring.texts.score import score_rows
from harness_bench.study.config import (
    Classification,
    DemoConfig,
    DemoSource,
    data_folder,
    family_file,
)
from harness_bench.study.schedule import Schedule, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from harness_bench.asr.run import AsrOutcome
    from harness_bench.leaderboard.build import LeaderboardFiles
    from harness_bench.pretrain.config import FamilyConfig
    from harness_bench.results.record import Leakage
    from harness_bench.scoring.publish import Template

RESULTS, LEADERBOARD = "results", "leaderboard"  # folders of a run
FBANK, RANDOM = "fbank", "random"  # models
# Stages are called "KIND NAME"; those of heads and of ASR by their task.
DATA, PRETRAIN, COSTS, ASR = "data", "pretrain", "costs", "asr"
BEST_STUDENT = f"{ASR} best student"  # its model is known once the heads are tested


@dataclass(frozen=True)
class DemoRow:
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

    def cuts(self, source: DemoSource) -> Path:
        """Return the prepared folder of a source."""
        return self.out / "cuts" / source.name

    def rows(self) -> list[DemoRow]:
        """List all rows: FBANK, a random model, every model of the family."""
        # s3prl's own FBANK, bit for bit, kept in memory between epochs.
        fbank = DemoRow(FBANK, "baseline", "fbank_cached", None)
        random = DemoRow(RANDOM, "random", "harness_local", self.out / "models" / RANDOM)
        names = [step.name for step in self.family.iterations]
        models = [DemoRow(n, "pretrained", "harness_local", self.checkpoint(n)) for n in names]
        return [fbank, random, *models]

    def checkpoint(self, name: str) -> Path:
        """Return the checkpoint folder of a family's model."""
        return checkpoint_folder(self.out / "pretrain", name)

    def students(self) -> list[str]:
        """List the models that no other model learns from."""
        teachers = {step.teacher for step in self.family.iterations}
        return [step.name for step in self.family.iterations if step.name not in teachers]

    def probe_config(self) -> ProbeConfig:
        """Return the settings of the heads."""
        return build(ProbeConfig, self.config.probe, source="[probe] of the demo")


def run_demo(
    config: DemoConfig,
    source: Path | None,
    out: Path,
    *,
    console: Console,
    jobs: int = 2,
    data_root: Path | None = None,
) -> tuple[LeaderboardFiles, Schedule]:
    """Run the whole chain below `out`; finished stages with equal inputs are kept.

    The config came from `source`, None for the embedded default; `jobs` single-threaded stages run
    at the same time; `data_root` overrides the config's.

    Raises:
        ValueError: data or settings that do not fit.
        RuntimeError: a stage's process failed; shows the end of its log.
    """
    data = out / "corpus" if config.synthesis else data_folder(config, source, data_root)
    demo = Demo(config, source, out, data, load_family(family_file(config, source)))
    schedule = Schedule(jobs, console)
    return publish_all(demo, schedule.run(plan_stages(demo))), schedule


def plan_stages(demo: Demo) -> list[Stage]:
    """Return every stage of the job; ranks put the longest chain first."""
    stages = [_data_stage(demo, source) for source in demo.config.sources().values()]
    stages.append(_random_stage(demo))
    names = {step.name for step in demo.family.iterations}  # a teacher may be from outside
    for step in demo.family.iterations:
        log = demo.out / "pretrain" / step.name / "log.txt"
        after = [f"{DATA} {demo.config.pretraining.name}"]
        after += [f"{PRETRAIN} {step.teacher}"] if step.teacher in names else []
        train = partial(_pretrain, demo, step.name, log)
        stages.append(Stage(f"{PRETRAIN} {step.name}", train, tuple(after), log))
    for number, row in enumerate(demo.rows()):
        stages += [_probe_stage(demo, row, task, number) for task in demo.config.classification]
        if row.checkpoint is not None:
            # Nothing waits for these: they fill what the others leave free.
            run = partial(measure, row.checkpoint, demo.out / "costs" / f"{row.model}.json")
            stages.append(Stage(f"{COSTS} {row.model}", run, _made_by(row), rank=30))
    return [*stages, _asr_stage(demo, FBANK), _asr_stage(demo, None)]


def _made_by(row: DemoRow) -> tuple[str, ...]:
    """Return the stages that must end before a row's upstream can be used."""
    return {"baseline": (), "random": (RANDOM,)}.get(row.kind, (f"{PRETRAIN} {row.model}",))


def _data_stage(demo: Demo, source: DemoSource) -> Stage:
    """Synthesise a folder where the demo makes its data, then prepare it."""

    def run() -> None:
        from harness_bench.corpora.prepare import PrepareConfig, prepare  # noqa: PLC0415

        folder = demo.data / source.folder
        if demo.config.synthesis is not None:
            from harness_bench.demo.synth import make_demo_task  # noqa: PLC0415

            make_demo_task(folder, source.name, demo.config.synthesis)
        settings = PrepareConfig(options=dict(source.options), max_skipped=source.max_skipped)
        prepare(source.corpus, folder, demo.cuts(source), settings)

    # What pretraining and ASR wait for comes first.
    waited_for = source in (demo.config.pretraining, demo.config.asr)
    return Stage(f"{DATA} {source.name}", run, rank=-1 if waited_for else 5)


def _random_stage(demo: Demo) -> Stage:
    """Export a model of the teacher's shape that has learned nothing."""

    def run() -> Path:
        from harness_bench.models.checkpoint import save_random  # noqa: PLC0415

        folder = demo.out / "models" / RANDOM
        shape = max(demo.family.iterations, key=lambda step: step.model.encoder_layers).model
        save_random(folder, shape, seed=demo.config.seed)
        return folder

    return Stage(RANDOM, run)


def _pretrain(demo: Demo, name: str, log: Path) -> Path:
    """Pretrain one model of the family in a process of its own."""
    family, cuts = family_file(demo.config, demo.source), demo.cuts(demo.config.pretraining)
    command = [sys.executable, "-m", "harness_bench.cli", "family", str(family), str(cuts)]
    command += [str(demo.out / "pretrain"), "--only", name, "--restart"]
    run_logged(command, log, threads=1)
    return demo.checkpoint(name)


def measure(checkpoint: Path, kept: Path) -> Costs:
    """Measure a checkpoint, or return what `kept` has of the same one on the same machine."""
    from harness_bench.models.frozen import checkpoint_digest  # noqa: PLC0415 - likewise
    from harness_bench.results.efficiency import efficiency  # noqa: PLC0415 - imports torch

    digest = checkpoint_digest(checkpoint)
    inputs = {"checkpoint": digest, "hardware": hardware(), "versions": versions()}
    old = OldNote(kept.name, "decided_by", outcome="costs")
    work = WorkDir(kept.parent, inputs, older=(old,), note=kept.name)
    if not work.finished:
        work.finish(efficiency(checkpoint).costs.model_dump())
    return Costs.model_validate(work.outcome)


def _probe_stage(demo: Demo, row: DemoRow, task: Classification, number: int) -> Stage:
    after = (f"{DATA} {task.source.name}", *_made_by(row))
    # ASR waits for the students' heads, so these go before the others.
    rank = 2 if row.model in demo.students() else 10 + number
    log = _probe_folder(demo, row, task) / "log.txt"
    return Stage(f"{task.task} {row.model}", partial(_probe, demo, row, task), after, log, rank)


def _probe_folder(demo: Demo, row: DemoRow, task: Classification) -> Path:
    return demo.out / "probes" / task.task / row.model


def _probe(demo: Demo, row: DemoRow, task: Classification) -> ProbeOutcome:
    """Train and test one head, or return what an equal run left."""
    subject = Subject(
        upstream=row.upstream,
        checkpoint=row.checkpoint,
        task=task.task,
        cuts=demo.cuts(task.source),
        label_field=task.label_field,
    )
    return run_probe(subject, _probe_folder(demo, row, task), demo.probe_config())


def _asr_stage(demo: Demo, model: str | None) -> Stage:
    """ASR on FBANK, or on the best student once the heads have told which that is."""
    folder = demo.out / "asr" / (model or "best_student")

    def run() -> tuple[DemoRow, AsrOutcome]:
        from harness_bench.asr.config import AsrConfig  # noqa: PLC0415
        from harness_bench.asr.run import run_asr  # noqa: PLC0415

        row = {each.model: each for each in demo.rows()}[model or best_student(demo)]
        outcome = run_asr(
            upstream=FBANK if row.checkpoint is None else "harness",
            checkpoint=row.checkpoint,
            cuts=demo.cuts(demo.config.asr),
            out=folder,
            config=build(AsrConfig, demo.config.recipe, source="[recipe] of the demo"),
            threads=1,
        )
        return row, outcome

    after = [f"{DATA} {demo.config.asr.name}"]
    if model is None:
        tasks = demo.config.classification
        after += [f"{task.task} {student}" for task in tasks for student in demo.students()]
    name = f"{ASR} {model}" if model else BEST_STUDENT
    return Stage(name, run, tuple(after), folder / "log.txt", rank=1)


def best_student(demo: Demo) -> str:
    """Return the student with the best mean accuracy on the dev sets of all heads."""

    def accuracy(row: DemoRow, task: Classification) -> float:
        heard = read_predictions(_probe(demo, row, task).dev_predictions, ClassPrediction)
        return fmean(each.truth == each.pred for each in heard)

    students = [row for row in demo.rows() if row.model in demo.students()]
    tasks = demo.config.classification
    return max(students, key=lambda row: fmean(accuracy(row, task) for task in tasks)).model


def publish_all(demo: Demo, outcomes: Mapping[str, Any]) -> LeaderboardFiles:
    """Score what the stages returned, write a result per model, task and split, build the board."""
    from harness_bench.leaderboard.build import build as build_board  # noqa: PLC0415 - draws

    folder = demo.out / RESULTS
    for old in folder.glob("*.json"):
        old.unlink()  # Results of rows that this config no longer has.
    known: dict[tuple[str, str, bool], Leakage] = {}
    for row in demo.rows():
        for task in demo.config.classification:
            audit = Audit(demo, row, task.source, known)
            template = _template(audit, task.task, outcomes.get(f"{COSTS} {row.model}"))
            _publish_probe(outcomes[f"{task.task} {row.model}"], template, folder, audit)
    for stage in (f"{ASR} {FBANK}", BEST_STUDENT):
        row, asr = outcomes[stage]
        audit = Audit(demo, row, demo.config.asr, known)
        template = _template(audit, ASR, outcomes.get(f"{COSTS} {row.model}"))
        _publish_asr(asr, template, folder, audit)
    return build_board(folder, demo.out / LEADERBOARD, title=demo.config.title)


@dataclass(frozen=True)
class Audit:
    """What a row was trained on, to be held against the split it is scored on."""

    demo: Demo
    row: DemoRow
    source: DemoSource
    known: dict[tuple[str, str, bool], Leakage]  # what audits of a demo share

    def leakage(self, split: str) -> Leakage:
        """Compare pretraining and head or recipe training with a split."""
        pretrained = self.row.kind == "pretrained"
        # Models differ in whether they were pretrained, and in nothing else that counts here.
        key = (self.source.name, split, pretrained)
        if key not in self.known:
            sources = [self.source, *([self.demo.config.pretraining] if pretrained else [])]
            sets = {f"{each.name} train": self.demo.cuts(each) for each in sources}
            training = ((name, read_cuts(cuts, "train")) for name, cuts in sets.items())
            scored = read_cuts(self.demo.cuts(self.source), split)
            self.known[key] = publish.leakage(training, scored, split)
        return self.known[key]


def _of_split(
    row: Template, audit: Audit, split: str, seed: int, layer_weights: tuple[float, ...]
) -> Template:
    """Say of a result what its split and a single seed tell."""
    return partial(
        row, split=split, leakage=audit.leakage(split), layer_weights=layer_weights, seed=seed,
        seeds=(seed,),
    )  # fmt: skip


def _publish_probe(outcome: ProbeOutcome, row: Template, folder: Path, audit: Audit) -> None:
    """Write the dev and test results of one head."""
    seed = audit.demo.probe_config().seed
    for split, path in (("dev", outcome.dev_predictions), ("test", outcome.test_predictions)):
        rows = read_predictions(path, ClassPrediction)
        template = partial(
            _of_split(row, audit, split, seed, outcome.layer_weights),
            command="\n".join(outcome.commands),
            seconds=outcome.train_seconds + outcome.test_seconds,
            stage_seconds={"training": outcome.train_seconds, "testing": outcome.test_seconds},
        )
        publish.publish(publish.class_result(rows, template), rows, folder)


def _publish_asr(outcome: AsrOutcome, row: Template, folder: Path, audit: Audit) -> None:
    """Write the results of one ASR run, under the challenge's text profile and without any."""
    seed = audit.demo.config.seed
    for split, path in outcome.predictions.items():
        rows = read_predictions(path, TextPrediction)
        template = partial(
            _of_split(row, audit, split, seed, outcome.layer_weights),
            command=" ".join(outcome.command),
            seconds=outcome.seconds,
        )
        found, _ = score_rows(rows, also=("none",))
        publish.publish(publish.text_result(rows, template, found), rows, folder)


def _template(audit: Audit, task: str, costs: Costs | None) -> Template:
    """Say what is true of a row whatever the split."""
    demo, row = audit.demo, audit.row
    kind = "synthetic " if demo.config.synthetic else ""
    heard = "none"
    if row.kind == "pretrained":
        source = demo.config.pretraining
        hours = total_hours(read_cuts(demo.cuts(source), "train"))
        heard = f"{kind}{source.name}, train, {hours:.2f} h"
    weights = (
        {"parameters": 0} if row.checkpoint is None else publish.upstream_fields(row.checkpoint)
    )
    return partial(
        Result,
        model=row.model,
        model_kind=row.kind,
        task=task,
        corpus=f"{kind}{audit.source.name}",
        synthetic=demo.config.synthetic,
        costs=costs,
        pretraining_data=heard,
        **weights,
    )
