"""A study's file with its places: where corpora lie, what is trained, which rows there are."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.core.config import build, read_toml, resolved
from harness_bench.core.files import (
    digest_file,
    digest_strings,
    read_json,
    read_settings,
    stamp,
    write_json,
)
from harness_bench.core.registry import package_folder
from harness_bench.pretrain.config import load_family, load_preset, preset_names
from harness_bench.study.config import StudyConfig, StudyModel
from harness_bench.study.job import slug_of
from harness_bench.study.saved import file_of_study

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness_bench.models.config import HubertConfig
    from harness_bench.pretrain.config import FamilyConfig, SourceConfig
    from harness_bench.study.config import StudyTask

_PACKAGED = Path(__file__).parent / "shipped"  # in an installed wheel
_CHECKOUT = Path(__file__).parents[2] / "egs" / "demo"
DEMO = (_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT) / "study.toml"
FAMILIES = package_folder("harness_bench.demo")  # with the family of the demo
SAVED = "config.json"  # in a study's folder: what it was asked for
JOINED = "joined.json"  # and the models that joined it later
CUTS, CORPUS, PRETRAIN, MODELS = "cuts", "corpus", "pretrain", "models"  # folders of a study
DATA = "data"  # below that of pretraining: corpora that a family prepares on the way
_NOT_EMPTY = ("seeds", "learning_rates", "models", "heads")  # lists of tasks and of [heads]
_LONGEST = 256  # characters of a setting that may name a file
MERGED = "pretraining"  # name of the merged corpora that a family hears
type RowKind = Literal["baseline", "random", "pretrained", "other"]


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One row of the board as jobs know it; JSON-ready by `asdict`."""

    model: str
    kind: RowKind
    upstream: str  # a name that s3prl's -u takes
    made_by: str = ""  # the job whose outcome tells where the checkpoint is; empty: it has none
    pretraining_data: str = ""  # in words; empty: what `heard` says
    heard: tuple[str, ...] = ()  # corpora of the study
    sets: tuple[tuple[str, str, str], ...] = ()  # what it was pretrained on: name, folder, split

    @property
    def folder(self) -> str:
        """Return its name as a folder's."""
        return slug_of(self.model)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study ready to be planned."""

    config: StudyConfig
    base: Path  # folder of its file, where relative paths start
    data: Path  # where corpora lie
    out: Path
    called: str = ""  # its file as the user named it
    given: StudyConfig  # the same without models that joined later
    joining: Mapping[str, Any] | None = None  # the one that joins now, and its tasks

    @cached_property
    def family_file(self) -> Path | None:
        """Return the TOML of the family: beside the study's file, or an embedded one."""
        if self.config.family is None:
            return None
        name = self.config.family.file
        for path in (self.path(name), FAMILIES / name):
            if path.is_file():
                return path
        raise ValueError(f"family.file = {name!r}: there is no such file below {self.base}.")

    @cached_property
    def family(self) -> FamilyConfig | None:
        """Return the family, None where nothing is trained."""
        return None if self.family_file is None else load_family(self.family_file)

    @cached_property
    def rows(self) -> dict[str, StudyRow]:
        """Return all rows by model, in the file's order."""
        return {model.title: self._row(model) for model in self.config.models}

    def path(self, name: str, base: Path | None = None) -> Path:
        """Return a path of the study's file; ~ and $NAME are expanded."""
        return (base or self.base) / Path(os.path.expandvars(name)).expanduser()

    def students(self) -> list[str]:
        """List the rows of the family that no other model that is trained learns from."""
        trained, steps = self.trained(), self.family.iterations if self.family else ()
        teachers = {step.teacher for step in steps if step.name in trained}
        return [
            model.title
            for model in self.config.models
            if model.iteration and model.iteration not in teachers
        ]

    def shape(self, name: str) -> HubertConfig:
        """Return the shape of an iteration of the family, or of a preset."""
        steps = {step.name: step.model for step in (self.family.iterations if self.family else ())}
        if name not in steps and name not in preset_names():
            known = ", ".join([*steps, *preset_names()])
            raise ValueError(f"models: random = {name!r} is no iteration or preset; known: {known}")
        return steps[name] if name in steps else load_preset(name).model

    def trained(self) -> list[str]:
        """List the iterations that some row needs, with their teachers, in order."""
        if self.family is None:
            return []
        steps = {step.name: step for step in self.family.iterations}
        wanted: set[str] = set()
        for model in self.config.models:
            name: str | None = model.iteration
            if name and name not in steps:
                known = ", ".join(steps)
                raise ValueError(f"models: the family has no iteration {name!r}; known: {known}.")
            while name and name in steps and name not in wanted:
                wanted.add(name)
                name = steps[name].teacher
        return [name for name in steps if name in wanted]

    def _row(self, model: StudyModel) -> StudyRow:
        if model.random:
            kind: RowKind = "random"
            made, upstream = f"random {model.title}", "harness_local"
        elif model.iteration:
            kind, made, upstream = "pretrained", f"pretrain {model.iteration}", "harness_local"
        elif model.checkpoint or model.hub:
            kind, made = "pretrained", f"checkpoint {model.title}"
            upstream = model.upstream or "harness_local"
        else:
            kind, made, upstream = "baseline", "", model.upstream
        heard = model.heard or (self.heard if model.iteration else ())
        sets = [(f"{self.title_of(name)} train", self.cuts(name), "train") for name in heard]
        if model.iteration and not heard:
            on_the_way = Path(PRETRAIN, DATA)
            sets = [
                (f"{source.title} {source.split}", str(source.found_in(on_the_way)), source.split)
                for source in self.audio_of(model.iteration)
            ]
        return StudyRow(
            model=model.title, kind=model.kind or kind, upstream=upstream, made_by=made,
            pretraining_data=model.pretraining_data, heard=heard, sets=tuple(sets),
        )  # fmt: skip

    def cuts(self, corpus: str) -> str:
        """Return the prepared folder of a corpus; relative to the study's unless it was given."""
        given = self.config.corpora[corpus].cuts
        return str(self.path(given, self.data)) if given else f"{CUTS}/{slug_of(corpus)}"

    @property
    def heard(self) -> tuple[str, ...]:
        """The corpora that the family hears; none where it names its audio itself."""
        return self.config.family.corpora if self.config.family else ()

    @property
    def heard_cuts(self) -> str:
        """The prepared folder that the family hears."""
        return self.cuts(self.heard[0]) if len(self.heard) == 1 else f"{CUTS}/{MERGED}"

    @property
    def heard_job(self) -> str:
        """The job that makes it; empty where the family names its audio itself."""
        several = len(self.heard) > 1
        return f"merge {MERGED}" if several else f"prepare {self.heard[0]}" if self.heard else ""

    def audio_of(self, iteration: str) -> list[SourceConfig]:
        """Return what an iteration hears of the family's own [data]."""
        family = self.family
        if family is None or family.data is None:
            return []
        (step,) = (each for each in family.iterations if each.name == iteration)
        sources = family.data.sources
        return [each for each in sources if not step.sources or each.title in step.sources]

    def title_of(self, corpus: str) -> str:
        """Return what results call a corpus, without a word about how it was made."""
        return self.config.corpora[corpus].title or corpus


def open_study(
    path: Path | None, out: Path | None = None, *, data_root: Path | None = None,
    seed: int | None = None,
) -> Study:  # fmt: skip
    """Read a study's file.

    Args:
        path: its TOML; None takes the demo, which comes with the package.
        out: the study's folder; default: runs/NAME.
        data_root: in place of the file's.
        seed: in place of the file's.

    Raises:
        ValueError: the file is none, or says what cannot be; names the key and its value.
    """
    file = path or DEMO
    values = read_toml(file)
    if old := {"pretraining", "classification", "recipe", "baselines"} & values.keys():
        raise ValueError(
            f"{file} has the form of versions before, with {min(old)!r}. A demo is a study now: "
            "name corpora, models and tasks as egs/demo/real_arabic.toml does (docs/study.md)."
        )
    _refuse_empty(values, file)
    config = build(StudyConfig, values, source=str(file))
    if seed is not None:
        config = replace(config, seed=seed)
    base = file.absolute().parent
    root = Path(os.path.expandvars(config.data_root)).expanduser()
    return with_joined(Study(
        config=config, given=config, base=base, data=(data_root or base / root).absolute(),
        out=(out or Path("runs") / config.name).absolute(), called=str(path or ""),
    ))  # fmt: skip


def _refuse_empty(values: Mapping[str, Any], file: Path) -> None:
    """Refuse a list of nothing, which would be taken for one that is not there."""
    tasks = values.get("tasks")
    rows = tasks if isinstance(tasks, list) else ()
    tables = {f"tasks[{number}]": each for number, each in enumerate(rows)}
    for table, given in (tables | {"heads": values.get("heads")}).items():
        for name in _NOT_EMPTY if isinstance(given, dict) else ():
            if given.get(name) == []:
                raise ValueError(
                    f"{file}: {table}.{name} = [] names none. Leave {name} out for the default, or "
                    "name one or more."
                )


def save_study(study: Study) -> None:
    """Write what was asked for into the study's folder, for `run-all` and for who reads it.

    The folder is the caller's alone meanwhile (`drive.held`).
    """
    if study.joining is not None:
        write_json(study.out / JOINED, _with_entry(joined_entries(study.out), study.joining))
    places = {name: str(getattr(study, name)) for name in ("base", "data", "called")}
    write_json(study.out / SAVED, {"config": resolved(study.given), **places})


def refuse_another(study: Study) -> None:
    """Raise a ValueError where another study's results lie in this one's folder."""
    path = study.out / SAVED
    saved = read_settings(path).get("config") if path.is_file() else None
    name = saved.get("name") if isinstance(saved, dict) else None
    if name not in (None, study.config.name):
        raise ValueError(
            f"{study.out} holds the study {name!r}, whose results {study.config.name!r} would take "
            f"from the board. Give another --out; or delete {path} where it is the same, renamed."
        )


def reopen_study(out: Path) -> Study:
    """Open the study that a folder holds as it was asked for; ValueError where it holds none."""
    found = file_of_study(out, SAVED)
    config = build(StudyConfig, found["config"], source=str(out / SAVED))
    return with_joined(Study(
        config=config, given=config, base=Path(found["base"]), data=Path(found["data"]),
        out=out.absolute(), called=found["called"],
    ))  # fmt: skip


def joined_entries(out: Path) -> list[dict[str, Any]]:
    """Return the models that joined a study by `run-all`, each with its tasks."""
    path = out / JOINED
    found: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    return found


def with_joined(study: Study) -> Study:
    """Return a study with the models that joined it; those of its file come first."""
    config, entries = study.given, joined_entries(study.out)
    for entry in entries if study.joining is None else _with_entry(entries, study.joining):
        model = build(StudyModel, entry["model"], source=str(study.out / JOINED))
        if model.title not in {each.title for each in config.models}:
            tasks = (
                _joined_by(task, model.title, config, wanted=task.title in entry["tasks"])
                for task in config.tasks
            )
            config = replace(config, models=(*config.models, model), tasks=tuple(tasks))
    return replace(study, config=config)


def _with_entry(
    entries: Iterable[Mapping[str, Any]], more: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Return the entries with one more, which takes the place of an earlier one of its model."""
    return [*(each for each in entries if each["model"]["name"] != more["model"]["name"]), more]


def _joined_by(task: StudyTask, title: str, config: StudyConfig, *, wanted: bool) -> StudyTask:
    if wanted:
        return replace(task, models=(*task.models, title)) if task.models else task
    able = (each for each in config.models if task.takes(each))
    return task if task.models else replace(task, models=tuple(each.title for each in able))


def named_files(values: Iterable[Any], base: Path) -> dict[str, str]:
    """Return the digests of the files that some of the settings name, by these; for small files."""
    named = {each for each in values if isinstance(each, str) and 0 < len(each) < _LONGEST}
    return {each: digest_file(base / each) for each in sorted(named) if (base / each).is_file()}


def state_on_disk(path: Path) -> str | None:
    """Return a digest of names, sizes and times of all files below a path; None without one.

    It changes where a file does, and costs no reading.
    """
    if not path.exists():
        return None
    if path.is_file():
        return digest_strings(map(str, stamp(path)))
    lines: list[str] = []
    seen: set[tuple[int, int]] = set()  # links may go in circles
    for folder, folders, names in os.walk(path, followlinks=True):
        here = Path(folder).stat()
        again = (here.st_dev, here.st_ino) in seen
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if not again and not name.startswith("."))
        files = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
        lines += [f"{each.relative_to(path)} {stamp(each)}" for each in files if each.is_file()]
    return digest_strings(lines)
