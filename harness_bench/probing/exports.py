"""Linear probes along a pretraining: what dev says of every export, without touching test."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from harness_bench.core.config import resolved
from harness_bench.core.files import read_jsonl, write_jsonl
from harness_bench.core.log import say
from harness_bench.core.workdir import WorkDir, inputs_key
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.probing.head.config import DataConfig
from harness_bench.probing.head.data import learn_classes, read_split
from harness_bench.probing.linear import best_of_layers, fit, label_field, open_encoder, pool_split
from harness_bench.probing.probe import split_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from harness_bench.models.frozen import ModelShape
    from harness_bench.probing.head.config import LinearConfig
    from harness_bench.probing.head.data import LabelledCuts
    from harness_bench.probing.probe import Subject

_READ = ("train", "dev")  # test sets steer nothing


def probe_exports(
    exports: Mapping[int, Path], out: Path, subject: Subject, config: LinearConfig,
    *, baseline: str = "",
) -> list[dict[str, Any]]:  # fmt: skip
    """Probe the exports of a run that were not probed yet; return all rows of these settings.

    Classifiers are fitted on train; the row says what the best of them has right on dev.

    Args:
        exports: update -> checkpoint folder.
        out: file of the rows, rewritten after every export; it may hold those of other tasks.
        subject: task and cuts; the upstream opens each export.
        config: what is tried.
        baseline: an upstream without checkpoint to compare with, such as fbank_cached; its row has
            this name as `upstream`, and no `update`.

    Raises:
        ValueError: no export, an unknown task, no train or dev split, or labels that train lacks.
    """
    if not exports:
        raise ValueError(
            f"{out.parent} has no export yet. Set export_interval_updates (a multiple of "
            "save_interval_updates), or wait for the end of the training."
        )
    field = label_field(subject, _READ)
    digests = split_digests(subject.cuts, _READ)
    named = {
        "task": subject.task, "corpus": subject.cuts.resolve().name, "head": config.classifier
    }  # fmt: skip
    models: list[tuple[dict[str, Any], str, Path | None]] = []
    if baseline:
        models.append(({"upstream": baseline}, baseline, None))
    models += [({"update": each}, subject.upstream, exports[each]) for each in sorted(exports)]
    with WorkDir(out, {}).lock():
        rows = list(read_jsonl(out)) if out.is_file() else []
        for what, upstream, folder in models:
            place = {**what, **named}
            key = inputs_key({
                **named, "label_field": field, "config": resolved(config), **digests,
                "checkpoint": upstream if folder is None else checkpoint_digest(folder),
            })  # fmt: skip
            if key in {row["key"] for row in rows}:
                continue
            encode = open_encoder(upstream, folder)
            found = _probed(encode, _read(subject, field, out, encode.shape), config)
            others = [row for row in rows if not _is(row, place)]
            rows = sorted([*others, {**place, **found, "key": key}], key=_update)
            write_jsonl(out, rows)
            title = " ".join(map(str, next(iter(what.items()))))
            say(f"{title}: {found['accuracy']:.1f} % of dev, hidden state {found['layer']}")
    return [row for row in rows if _is(row, named)]


def _update(row: Mapping[str, Any]) -> int:
    return int(row.get("update", 0))


def _is(row: Mapping[str, Any], place: Mapping[str, Any]) -> bool:
    return all(row.get(name) == value for name, value in place.items())


def _read(subject: Subject, field: str, out: Path, shape: ModelShape) -> list[LabelledCuts]:
    """Read both splits; their waveforms stay in memory from one export to the next."""
    data = DataConfig(cuts=subject.cuts, label_field=field)
    classes = learn_classes(subject.cuts, field)
    return [
        read_split(split, config=data, classes=classes, report_in=out.parent, shape=shape)
        for split in _READ
    ]


def _probed(
    encode: Callable[[Tensor], list[Tensor]], splits: list[LabelledCuts], config: LinearConfig
) -> dict[str, Any]:
    begun = time.monotonic()
    train, dev = (pool_split(each, encode, config.segments) for each in splits)
    fitted = fit(train, dev, config)
    return {
        "accuracy": 100 * fitted[0].correct,
        "layer": fitted[0].layer,
        "setting": fitted[0].setting,
        "layers": best_of_layers(fitted),
        "seconds": time.monotonic() - begun,
    }
