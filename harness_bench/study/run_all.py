"""One more model in a study: on every task that is prepared there, joined to its board.

What joins is noted in the study's folder, so that a later run of the study's own file keeps it.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.config import resolved
from harness_bench.models import hub
from harness_bench.study.config import StudyModel
from harness_bench.study.opened import open_study, reopen_study, with_joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.study.config import StudyConfig
    from harness_bench.study.opened import Study


def joined(
    where: Path, model: str, *, name: str = "", upstream: str = "", pretraining_data: str = "",
    tasks: Sequence[str] = (),
) -> Study:  # fmt: skip
    """Return a study with one more model, which `save_study` notes as one that joined.

    Args:
        where: the folder of a study, or its TOML, whose folder is then runs/NAME.
        model: a checkpoint, a named model, OWNER/NAME[@REVISION], or an upstream without one.
        name: of its row; default: by the model.
        upstream: what opens the checkpoint; default: harness_local.
        pretraining_data: declaration, in words.
        tasks: of the study; all that can take the model where empty.

    Raises:
        ValueError: no study, no such model or task, or another model has that row.
    """
    study = open_study(where) if where.is_file() else reopen_study(where)
    more = _model(model, name=name, upstream=upstream, pretraining_data=pretraining_data)
    if more.title in {each.title for each in study.given.models}:
        raise ValueError(
            f"{where} has a row {more.title!r} of its own; give this model another name by --name."
        )
    entry = {"model": resolved(more), "tasks": _chosen(study.given, more, tasks)}
    return with_joined(replace(study, joining=entry))


def _model(model: str, *, name: str, upstream: str, pretraining_data: str) -> StudyModel:
    """Find out what a user means by a model."""
    if Path(model).exists():
        return StudyModel(
            checkpoint=str(Path(model).absolute()), upstream=upstream,
            name=name or hub.model_name(model), pretraining_data=pretraining_data,
        )  # fmt: skip
    if model in hub.names() or hub.is_repository(model):
        title = name or hub.model_name(model)
        return StudyModel(hub=model, name=title, pretraining_data=pretraining_data)
    from harness_bench.probing.s3prl.hub import options  # noqa: PLC0415 - needs s3prl

    if model not in (known := options()):
        near = ", ".join(get_close_matches(model, [*hub.names(), *known], 3))
        raise ValueError(
            f"{model!r} is no path, no named model ({', '.join(hub.names())}), no OWNER/NAME of "
            "the Hugging Face Hub and no upstream of s3prl."
            + (f" Names like it: {near}." if near else "")
        )
    return StudyModel(
        upstream=model, name=name or model.removesuffix("_cached"), kind="baseline",
        pretraining_data=pretraining_data,
    )  # fmt: skip


def _chosen(config: StudyConfig, model: StudyModel, tasks: Sequence[str]) -> list[str]:
    """Return the tasks that the model joins: those that are named, or all that can take it."""
    able = [task.title for task in config.tasks if task.takes(model)]
    if odd := [name for name in tasks if name not in able]:
        raise ValueError(
            f"--only {odd[0]!r} is no task of the study that can take {model.title!r}; there are: "
            f"{', '.join(able)}."
        )
    return list(tasks or able)
