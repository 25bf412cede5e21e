"""From the outcomes of a demo's stages to result files and the leaderboard."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from harness_bench.audio.batching import total_hours
from harness_bench.cuts.store import read_cuts
from harness_bench.leaderboard.build import LeaderboardFiles, build
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.results.record import Result
from harness_bench.scoring.publish import (
    Template,
    class_result,
    leakage,
    publish,
    text_result,
    upstream_fields,
)
from harness_bench.scoring.texts.score import score_rows
from harness_bench.study.config import (
    ASR_TASK,
    FBANK,
    Demo,
    Entry,
    asr_stage,
    probe_config,
    probe_stage,
    source_name,
)
from harness_bench.study.config import stage_name as cost_stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.asr.run import AsrOutcome
    from harness_bench.probing.probe import ProbeOutcome
    from harness_bench.results.record import Costs, Leakage
    from harness_bench.study.config import Source

RESULTS, LEADERBOARD = "results", "leaderboard"


def publish_all(demo: Demo, outcomes: Mapping[str, Any]) -> LeaderboardFiles:
    """Score every prediction, write a result per model, task and split, build the leaderboard.

    Args:
        demo: the demo that ran.
        outcomes: stage name -> what the stage returned.
    """
    folder = demo.out / RESULTS
    for old in folder.glob("*.json"):
        old.unlink()  # Results of rows that this config no longer has.
    known: dict[tuple[str, str, bool], Leakage] = {}
    for entry in demo.entries():
        costs = outcomes.get(cost_stage(entry.model))
        for task in demo.config.classification:
            outcome: ProbeOutcome = outcomes[probe_stage(task.task, entry.model)]
            row = _template(demo, entry, task.task, task.source, costs)
            _publish_probe(demo, outcome, row, folder, Audit(demo, entry, task.source, known))
    for model in (FBANK, None):
        entry, asr = outcomes[asr_stage(model)]
        costs = outcomes.get(cost_stage(entry.model))
        row = _template(demo, entry, ASR_TASK, demo.config.asr, costs)
        _publish_asr(demo, asr, row, folder, Audit(demo, entry, demo.config.asr, known))
    return build(folder, demo.out / LEADERBOARD, title=demo.config.title)


@dataclass(frozen=True)
class Audit:
    """What a row was trained on, to be held against the split it is scored on."""

    demo: Demo
    entry: Entry
    source: Source
    known: dict[tuple[str, str, bool], Leakage] = field(
        default_factory=dict
    )  # what audits of a demo share

    def leakage(self, split: str) -> Leakage:
        """Compare pretraining and head or recipe training with a split."""
        # Models differ in whether they were pretrained, and in nothing else that counts here.
        key = (source_name(self.source), split, self.entry.kind == "pretrained")
        if key not in self.known:
            self.known[key] = self._compared(split)
        return self.known[key]

    def _compared(self, split: str) -> Leakage:
        name = source_name(self.source)
        sets = {f"{name} train": self.source}
        if self.entry.kind == "pretrained":
            pretraining = self.demo.config.pretraining
            sets[f"{source_name(pretraining)} train"] = pretraining
        training = (
            (title, read_cuts(self.demo.cuts(each), "train")) for title, each in sets.items()
        )
        return leakage(training, read_cuts(self.demo.cuts(self.source), split), split)


def _publish_probe(
    demo: Demo, outcome: ProbeOutcome, row: Template, folder: Path, audit: Audit
) -> None:
    """Write the dev and test results of one head."""
    files = {"dev": outcome.dev_predictions, "test": outcome.test_predictions}
    row = partial(
        row,
        command="\n".join(outcome.commands),
        layer_weights=outcome.layer_weights,
        seconds=outcome.train_seconds + outcome.test_seconds,
        seed=probe_config(demo).seed,
        seeds=(probe_config(demo).seed,),
        stage_seconds={"training": outcome.train_seconds, "testing": outcome.test_seconds},
    )
    for split, path in files.items():
        rows = read_predictions(path, ClassPrediction)
        of_split = partial(row, split=split, leakage=audit.leakage(split))
        publish(class_result(rows, of_split), rows, folder)


def _publish_asr(
    demo: Demo, outcome: AsrOutcome, row: Template, folder: Path, audit: Audit
) -> None:
    """Write the results of one ASR run, under the challenge's text profile and without any."""
    row = partial(
        row,
        command=" ".join(outcome.command),
        seconds=outcome.seconds,
        seed=demo.config.seed,
        seeds=(demo.config.seed,),
        layer_weights=outcome.layer_weights,
    )
    for split, path in outcome.predictions.items():
        rows = read_predictions(path, TextPrediction)
        found, _ = score_rows(rows, also=("none",))
        of_split = partial(row, split=split, leakage=audit.leakage(split))
        publish(text_result(rows, of_split, found), rows, folder)


def _template(demo: Demo, entry: Entry, task: str, source: Source, costs: Costs | None) -> Template:
    """Say what is true of a row whatever the split."""
    corpus = source_name(source)
    weights = {"parameters": 0} if entry.checkpoint is None else upstream_fields(entry.checkpoint)
    return partial(
        Result,
        model=entry.model,
        model_kind=entry.kind,
        task=task,
        corpus=f"synthetic {corpus}" if demo.config.synthetic else corpus,
        synthetic=demo.config.synthetic,
        costs=costs,
        pretraining_data=_pretraining_data(demo) if entry.kind == "pretrained" else "none",
        **weights,
    )


def _pretraining_data(demo: Demo) -> str:
    source = demo.config.pretraining
    hours = total_hours(read_cuts(demo.cuts(source), "train"))
    kind = "synthetic " if demo.config.synthetic else ""
    return f"{kind}{source_name(source)}, train, {hours:.2f} h"
