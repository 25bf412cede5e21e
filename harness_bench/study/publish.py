"""From the outcomes of a demo's stages to result files and the leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
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
from harness_bench.study.config import ASR, BEST_STUDENT, COSTS, FBANK, Demo, DemoRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.asr.run import AsrOutcome
    from harness_bench.probing.probe import ProbeOutcome
    from harness_bench.results.record import Costs, Leakage
    from harness_bench.study.config import DemoSource

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
    for row in demo.rows():
        for task in demo.config.classification:
            audit = Audit(demo, row, task.source, known)
            outcome: ProbeOutcome = outcomes[f"{task.task} {row.model}"]
            template = _template(audit, task.task, outcomes.get(f"{COSTS} {row.model}"))
            _publish_probe(outcome, template, folder, audit)
    for stage in (f"{ASR} {FBANK}", BEST_STUDENT):
        row, asr = outcomes[stage]
        audit = Audit(demo, row, demo.config.asr, known)
        template = _template(audit, ASR, outcomes.get(f"{COSTS} {row.model}"))
        _publish_asr(asr, template, folder, audit)
    return build(folder, demo.out / LEADERBOARD, title=demo.config.title)


@dataclass(frozen=True)
class Audit:
    """What a row was trained on, to be held against the split it is scored on."""

    demo: Demo
    row: DemoRow
    source: DemoSource
    known: dict[tuple[str, str, bool], Leakage]  # what audits of a demo share

    def leakage(self, split: str) -> Leakage:
        """Compare pretraining and head or recipe training with a split."""
        # Models differ in whether they were pretrained, and in nothing else that counts here.
        key = (self.source.name, split, self.row.kind == "pretrained")
        if key not in self.known:
            self.known[key] = self._compared(split)
        return self.known[key]

    def _compared(self, split: str) -> Leakage:
        sets = {f"{self.source.name} train": self.source}
        if self.row.kind == "pretrained":
            pretraining = self.demo.config.pretraining
            sets[f"{pretraining.name} train"] = pretraining
        training = (
            (title, read_cuts(self.demo.cuts(each), "train")) for title, each in sets.items()
        )
        return leakage(training, read_cuts(self.demo.cuts(self.source), split), split)


def _publish_probe(outcome: ProbeOutcome, row: Template, folder: Path, audit: Audit) -> None:
    """Write the dev and test results of one head."""
    files = {"dev": outcome.dev_predictions, "test": outcome.test_predictions}
    seed = audit.demo.probe_config().seed
    row = partial(
        row,
        command="\n".join(outcome.commands),
        layer_weights=outcome.layer_weights,
        seconds=outcome.train_seconds + outcome.test_seconds,
        seed=seed,
        seeds=(seed,),
        stage_seconds={"training": outcome.train_seconds, "testing": outcome.test_seconds},
    )
    for split, path in files.items():
        rows = read_predictions(path, ClassPrediction)
        of_split = partial(row, split=split, leakage=audit.leakage(split))
        publish(class_result(rows, of_split), rows, folder)


def _publish_asr(outcome: AsrOutcome, row: Template, folder: Path, audit: Audit) -> None:
    """Write the results of one ASR run, under the challenge's text profile and without any."""
    row = partial(
        row,
        command=" ".join(outcome.command),
        seconds=outcome.seconds,
        seed=audit.demo.config.seed,
        seeds=(audit.demo.config.seed,),
        layer_weights=outcome.layer_weights,
    )
    for split, path in outcome.predictions.items():
        rows = read_predictions(path, TextPrediction)
        found, _ = score_rows(rows, also=("none",))
        of_split = partial(row, split=split, leakage=audit.leakage(split))
        publish(text_result(rows, of_split, found), rows, folder)


def _template(audit: Audit, task: str, costs: Costs | None) -> Template:
    """Say what is true of a row whatever the split."""
    demo, row = audit.demo, audit.row
    kind = "synthetic " if demo.config.synthetic else ""
    heard = "none"
    if row.kind == "pretrained":
        source = demo.config.pretraining
        hours = total_hours(read_cuts(demo.cuts(source), "train"))
        heard = f"{kind}{source.name}, train, {hours:.2f} h"
    weights = {"parameters": 0} if row.checkpoint is None else upstream_fields(row.checkpoint)
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
