"""The main job: corpus, family of models, heads, ASR, scores, results, leaderboard."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import torch

from harness_bench.audio.batching import total_hours
from harness_bench.core.config import build
from harness_bench.core.own_files import replacing
from harness_bench.core.process import run_logged
from harness_bench.core.workdir import OldNote, WorkDir, hardware, versions
from harness_bench.cuts.store import cuts_path, read_cuts, read_lines, write_lines
from harness_bench.models import hub
from harness_bench.models.checkpoint import save_random
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.pretrain.config import checkpoint_folder, load_family
from harness_bench.probing.grid import grid_config, run_grid
from harness_bench.probing.linear import LinearOutcome, run_linear
from harness_bench.probing.probe import Subject
from harness_bench.probing.run import publish_grid, publish_linear
from harness_bench.results.efficiency import efficiency
from harness_bench.results.predictions import TextPrediction, read_predictions
from harness_bench.results.record import Costs, Result
from harness_bench.scoring import publish
from harness_bench.scoring.texts.score import score_rows
from harness_bench.study.old_config import (
    BEST_STUDENT,
    Classification,
    DemoConfig,
    DemoSource,
    data_folder,
    family_file,
)
from harness_bench.study.schedule import Schedule, Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from rich.console import Console

    from harness_bench.asr.run import AsrOutcome
    from harness_bench.leaderboard.build import LeaderboardFiles
    from harness_bench.models.config import HubertConfig
    from harness_bench.pretrain.config import FamilyConfig
    from harness_bench.probing.grid import GridConfig, GridOutcome
    from harness_bench.probing.head.config import LinearConfig
    from harness_bench.probing.run import Head
    from harness_bench.results.record import Leakage
    from harness_bench.scoring.publish import Template

RESULTS, LEADERBOARD = "results", "leaderboard"  # folders of a run
RANDOM, PRETRAINING = "random", "pretraining"
# Stages are called "KIND NAME"; those of heads and of ASR by their task.
DATA, PRETRAIN, COSTS, ASR = "data", "pretrain", "costs", "asr"


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

    @property
    def heard(self) -> str:
        """Return the name of what models are pretrained on."""
        names = [source.name for source in self.config.pretraining_sources]
        return names[0] if len(names) == 1 else PRETRAINING

    @cached_property
    def hours(self) -> float:
        """Return how much audio models are pretrained on; it must be prepared."""
        return total_hours(read_cuts(self.out / "cuts" / self.heard, "train"))

    @cached_property
    def rows(self) -> dict[str, DemoRow]:
        """Return all rows by model: baselines, untrained models, models of the family, others."""
        # s3prl's own FBANK, bit for bit, is kept in memory between epochs.
        names = {name: name.removesuffix("_cached") for name in self.config.baselines}
        rows = [DemoRow(model, "baseline", name, None) for name, model in names.items()]
        for model in self.untrained:
            folder = self.out / "models" / model
            rows.append(DemoRow(model, "random", "harness_local", folder))
        family = [step.name for step in self.family.iterations]
        for name in self.config.models or family:
            folder = self.checkpoint(name) if name in family else _other_model(name)
            model = name if name in family else hub.model_name(folder)
            rows.append(DemoRow(model, "pretrained", "harness_local", folder))
        return {row.model: row for row in rows}

    @property
    def untrained(self) -> dict[str, HubertConfig]:
        """Return the shapes that are tried with random weights, by row."""
        steps = {step.name: step.model for step in self.family.iterations}
        deepest = max(steps, key=lambda name: steps[name].encoder_layers)
        names = self.config.untrained or (deepest,)
        if unknown := set(names) - set(steps):
            raise ValueError(
                f"untrained names {min(unknown)!r}; the family has {', '.join(steps)}."
            )
        alone = len(names) == 1
        return {RANDOM if alone else f"{RANDOM}_{name}": steps[name] for name in names}

    def checkpoint(self, name: str) -> Path:
        """Return the checkpoint folder of a family's model."""
        return checkpoint_folder(self.out / "pretrain", name)

    def students(self) -> list[str]:
        """List the rows of the family that no other model learns from."""
        teachers = {step.teacher for step in self.family.iterations}
        names = [step.name for step in self.family.iterations if step.name not in teachers]
        return [name for name in names if name in self.rows]

    @cached_property
    def grid(self) -> GridConfig:
        """Return the settings of the heads."""
        config = self.config
        values: dict[str, Any] = {"probe": {**config.probe}, "linear": config.linear}
        values |= {"learning_rates": config.learning_rates} if config.learning_rates else {}
        values |= {"seeds": config.seeds} if config.seeds else {}
        grid = grid_config(values)
        return replace(grid, seeds=tuple(seed + config.seed for seed in grid.seeds))

    def probes(self, models: Collection[str] | None = None) -> Iterator[Probe]:
        """Yield every head of every row, or of the rows of some models."""
        for row in (self.rows[model] for model in (self.rows if models is None else models)):
            for task in self.config.classification:
                for head in task.heads or self.config.heads:
                    yield Probe(self, row, task, head)


def _other_model(name: str) -> Path:
    """Return the folder of a model that the family does not make."""
    folder = hub.locate(name)
    if not folder.is_dir():
        raise ValueError(
            f"models names {name!r}, which is no iteration of the family, no named model "
            f"({', '.join(hub.names())}), no checkpoint folder and no OWNER/NAME of the Hugging "
            "Face Hub."
        )
    return folder


@dataclass(frozen=True)
class Probe:
    """One kind of head on one row and task."""

    demo: Demo
    row: DemoRow
    task: Classification
    head: Head

    @property
    def name(self) -> str:
        """Return the name of its stage."""
        return f"{self.task.task} {self.row.model}" + f" ({self.head})" * (self.head != "cnn")

    @property
    def folder(self) -> Path:
        """Return where it is trained."""
        task = self.task.task if self.head == "cnn" else f"{self.task.task}.{self.head}"
        return self.demo.out / "probes" / task / self.row.model

    @property
    def subject(self) -> Subject:
        """Return what is probed on what."""
        return Subject(
            upstream=self.row.upstream,
            checkpoint=self.row.checkpoint,
            task=self.task.task,
            cuts=self.demo.cuts(self.task.source),
            label_field=self.task.label_field,
        )

    def run(self) -> GridOutcome | LinearOutcome:
        """Train and test heads, or return what an equal run left."""
        if self.head == "cnn":
            return run_grid(self.subject, self.folder, self.demo.grid)
        return run_linear(self.subject, self.folder, self.linear)

    @property
    def linear(self) -> LinearConfig:
        """Return the settings of a classifier that is no CNN."""
        assert self.head != "cnn"
        return replace(self.demo.grid.linear, classifier=self.head)

    def dev_accuracy(self) -> float:
        """Return the accuracy on dev in per cent, over the seeds of what dev chose."""
        found = self.run()
        if isinstance(found, LinearOutcome):
            return max(found.dev.values())
        chosen = (trial for trial in found.trials if trial.learning_rate == found.learning_rate)
        return fmean(trial.dev["accuracy"] for trial in chosen)


def run_demo(
    config: DemoConfig,
    source: Path | None,
    out: Path,
    *,
    console: Console,
    jobs: int = 2,
    data_root: Path | None = None,
    minutes: float | None = None,
) -> tuple[LeaderboardFiles, Schedule]:
    """Run the whole chain below `out`; finished stages with equal inputs are kept.

    The config came from `source`, None for the embedded default; `jobs` single-threaded stages run
    at the same time; `data_root` overrides the config's. After `minutes` no stage begins: the board
    has what is finished, and the same command goes on from there.

    Raises:
        ValueError: data or settings that do not fit, or no GPU where the recipe asks for one.
        RuntimeError: a stage's process failed; shows the end of its log.
    """
    data = out / "corpus" if config.synthesis else data_folder(config, source, data_root)
    demo = Demo(config, source, out, data, load_family(family_file(config, source)))
    _require_gpus(int(config.recipe.get("ngpu", 0)))
    schedule = Schedule(jobs, console, None if minutes is None else 60 * minutes)
    return publish_all(demo, schedule.run(plan_stages(demo))), schedule


def _require_gpus(number: int) -> None:
    """Refuse a recipe for GPUs where there are none: ESPnet would, after all the pretraining."""
    if number > (found := torch.cuda.device_count()):
        raise ValueError(
            f"[recipe] ngpu = {number}, but torch {torch.__version__} sees {found} GPUs here. "
            "Look at nvidia-smi and `harness-bench doctor`, or set ngpu = 0: ASR on the CPU."
        )


def plan_stages(demo: Demo) -> list[Stage]:
    """Return every stage of the job; ranks put the longest chain first."""
    stages = [_data_stage(demo, source) for source in demo.config.sources().values()]
    if demo.heard == PRETRAINING:
        after = [f"{DATA} {source.name}" for source in demo.config.pretraining_sources]
        stages.append(Stage(f"{DATA} {demo.heard}", partial(_merge, demo), tuple(after), rank=-1))
    stages += [
        Stage(model, partial(_save_random, demo, model, shape))
        for model, shape in demo.untrained.items()
    ]
    names = {step.name for step in demo.family.iterations}  # a teacher may be from outside
    for step in demo.family.iterations:
        log = demo.out / "pretrain" / step.name / "log.txt"
        after = [f"{DATA} {demo.heard}"]
        after += [f"{PRETRAIN} {step.teacher}"] if step.teacher in names else []
        train = partial(_pretrain, demo, step.name, log)
        stages.append(Stage(f"{PRETRAIN} {step.name}", train, tuple(after), log))
    for number, row in enumerate(demo.rows.values()):
        if row.checkpoint is not None:
            # Nothing waits for these: they fill what the others leave free.
            run = partial(measure, row.checkpoint, demo.out / "costs" / f"{row.model}.json")
            stages.append(Stage(f"{COSTS} {row.model}", run, _made_by(demo, row), rank=30))
        # ASR waits for the students' heads, so these go before the others.
        rank = 2 if row.model in demo.students() else 10 + number
        stages += [_probe_stage(probe, rank) for probe in demo.probes([row.model])]
    asr = [
        (source, model) for source in demo.config.asr_sources for model in demo.config.asr_models
    ]
    return [*stages, *(_asr_stage(demo, *each) for each in asr)]


def _made_by(demo: Demo, row: DemoRow) -> tuple[str, ...]:
    """Return the stages that must end before a row's upstream can be used."""
    if row.kind == "random":
        return (row.model,)
    return (f"{PRETRAIN} {row.model}",) if row.checkpoint == demo.checkpoint(row.model) else ()


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
    waited_for = source in (*demo.config.pretraining_sources, *demo.config.asr_sources)
    return Stage(f"{DATA} {source.name}", run, rank=-1 if waited_for else 5)


def _merge(demo: Demo) -> None:
    """Write the train splits of several corpora as one, for pretraining."""
    folder = demo.out / "cuts" / PRETRAINING
    files = [cuts_path(demo.cuts(source), "train") for source in demo.config.pretraining_sources]
    merged = cuts_path(folder, "train")
    with replacing(folder, [merged], [merged.name]):
        write_lines(folder, "train", chain.from_iterable(map(read_lines, files)))


def _save_random(demo: Demo, model: str, shape: HubertConfig) -> None:
    """Export a model that has learned nothing."""
    save_random(demo.out / "models" / model, shape, seed=demo.config.seed)


def _pretrain(demo: Demo, name: str, log: Path) -> Path:
    """Pretrain one model of the family in a process of its own."""
    family, cuts = family_file(demo.config, demo.source), demo.out / "cuts" / demo.heard
    command = [sys.executable, "-m", "harness_bench.cli", "family", str(family), str(cuts)]
    command += [str(demo.out / "pretrain"), "--only", name, "--restart"]
    command += ["--seed", str(demo.config.seed)] if demo.config.seed else []
    run_logged(command, log, threads=1)
    return demo.checkpoint(name)


def measure(checkpoint: Path, kept: Path) -> Costs:
    """Measure a checkpoint, or return what `kept` has of the same one on the same machine."""
    digest = checkpoint_digest(checkpoint)
    inputs = {"checkpoint": digest, "hardware": hardware(), "versions": versions()}
    old = OldNote(kept.name, "decided_by", outcome="costs")
    work = WorkDir(kept.parent, inputs, older=(old,), note=kept.name)
    if not work.finished:
        work.finish(efficiency(checkpoint).costs.model_dump())
    return Costs.model_validate(work.outcome)


def _probe_stage(probe: Probe, rank: int) -> Stage:
    after = (f"{DATA} {probe.task.source.name}", *_made_by(probe.demo, probe.row))
    return Stage(probe.name, probe.run, after, probe.folder / "log.txt", rank)


def _asr_stage(demo: Demo, source: DemoSource, model: str) -> Stage:
    """ASR on one row, or on the best student once the heads have told which that is."""
    alone = len(demo.config.asr_sources) == 1
    folder = demo.out / "asr" / ("" if alone else source.name) / model.replace(" ", "_")
    if model not in (*demo.rows, BEST_STUDENT):
        raise ValueError(f"asr_models names {model!r}; rows: {', '.join(demo.rows)}.")

    def run() -> tuple[DemoRow, AsrOutcome]:
        from harness_bench.asr.config import AsrConfig  # noqa: PLC0415
        from harness_bench.asr.run import run_asr  # noqa: PLC0415

        row = demo.rows[best_student(demo) if model == BEST_STUDENT else model]
        settings = demo.config.recipe | {
            "seed": int(demo.config.recipe.get("seed", 0)) + demo.config.seed
        }
        outcome = run_asr(
            upstream=row.model if row.checkpoint is None else "harness",
            checkpoint=row.checkpoint,
            cuts=demo.cuts(source),
            out=folder,
            config=build(AsrConfig, settings, source="[recipe] of the demo"),
            threads=1,
        )
        return row, outcome

    after = [f"{DATA} {source.name}"]
    if model == BEST_STUDENT:
        after += [probe.name for probe in demo.probes(demo.students())]
    else:
        after += _made_by(demo, demo.rows[model])
    return Stage(_asr_name(source, model), run, tuple(after), folder / "log.txt", rank=1)


def _asr_name(source: DemoSource, model: str) -> str:
    return f"{ASR} {source.name} {model}"


def best_student(demo: Demo) -> str:
    """Return the student with the best mean accuracy on the dev sets of all heads."""
    return max(
        demo.students(),
        key=lambda model: fmean(probe.dev_accuracy() for probe in demo.probes([model])),
    )


def publish_all(demo: Demo, outcomes: Mapping[str, Any]) -> LeaderboardFiles:
    """Write a result of every row, task and head, and of every ASR run, if run; build the board."""
    from harness_bench.leaderboard.build import build as build_board  # noqa: PLC0415 - draws

    folder = demo.out / RESULTS
    for old in folder.glob("*.json"):
        old.unlink()  # Results of rows that this config no longer has.
    known: dict[tuple[str, str, bool], Leakage] = {}
    for probe in demo.probes():
        if probe.name not in outcomes:  # no time was left
            continue
        audit, found = Audit(demo, probe.row, probe.task.source, known), outcomes[probe.name]
        row = {**_row(audit, outcomes), "leakage": audit.leakage("test")}
        if isinstance(found, LinearOutcome):
            publish_linear(probe.subject, found, probe.linear, row, folder)
        else:
            publish_grid(probe.subject, found, demo.grid, row, folder)
    for source in demo.config.asr_sources:
        for model in demo.config.asr_models:
            if (name := _asr_name(source, model)) not in outcomes:
                continue
            row, asr = outcomes[name]
            audit = Audit(demo, row, source, known)
            _publish_asr(asr, partial(Result, task=ASR, **_row(audit, outcomes)), folder, audit)
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
            heard = self.demo.config.pretraining_sources if pretrained else ()
            sets = {f"{each.name} train": self.demo.cuts(each) for each in (self.source, *heard)}
            training = ((name, read_cuts(cuts, "train")) for name, cuts in sets.items())
            scored = read_cuts(self.demo.cuts(self.source), split)
            self.known[key] = publish.leakage(training, scored, split)
        return self.known[key]


def _publish_asr(outcome: AsrOutcome, row: Template, folder: Path, audit: Audit) -> None:
    """Write the results of one ASR run, under the challenge's text profile and without any."""
    seed = audit.demo.config.seed
    for split, path in outcome.predictions.items():
        rows = read_predictions(path, TextPrediction)
        weights = audit.row.checkpoint
        template = partial(
            row,
            split=split,
            leakage=audit.leakage(split),
            layer_weights=outcome.layer_weights,
            seed=seed,
            seeds=(seed,),
            command=" ".join(outcome.command),
            seconds=outcome.seconds,
            **({} if weights is None else publish.upstream_fields(weights)),
        )
        found, _ = score_rows(rows, also=("none",))
        publish.publish(publish.text_result(rows, template, found), rows, folder)


def _row(audit: Audit, outcomes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what is true of a row whatever the head."""
    demo, row = audit.demo, audit.row
    kind = "synthetic " if demo.config.synthetic else ""
    heard = "none"
    if row.kind == "pretrained":
        heard = "see the model's card"
        if row.checkpoint == demo.checkpoint(row.model):
            names = ", ".join(source.name for source in demo.config.pretraining_sources)
            heard = f"{kind}{names}, train, {demo.hours:.2f} h"
    return {
        "model": row.model,
        "model_kind": row.kind,
        "corpus": f"{kind}{audit.source.name}",
        "synthetic": demo.config.synthetic,
        "costs": outcomes.get(f"{COSTS} {row.model}"),
        "pretraining_data": heard,
        **({"parameters": 0} if row.checkpoint is None else {}),
    }
