"""What a demo runs on: which folder serves pretraining, classification and ASR, and the sizes."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, load
from harness_bench.core.registry import package_folder
from harness_bench.demo.plan import DemoCorpusConfig

HERE = package_folder("harness_bench.demo")
EMBEDDED = HERE / "demo.toml"
FBANK, BEST_STUDENT = "fbank", "best student"  # of `asr_models`


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DemoSource:
    """One corpus on disk."""

    folder: str = Field(min_length=1)  # relative to the data root
    corpus: str = "tsv"  # how to read it: a name of `harness-bench prepare`
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    max_skipped: float = Field(default=0.05, ge=0, le=1)
    alias: str = Field(default="", pattern=r"^[\w.-]*$")  # its name, where not the folder's

    @property
    def name(self) -> str:
        """Its name in output folders and results."""
        return self.alias or Path(self.folder).name


# `[asr]` or, for several, `[[asr]]`.
type Sources = Annotated[
    Annotated[DemoSource, Tag("table")] | Annotated[tuple[DemoSource, ...], Tag("tables")],
    Discriminator(lambda given: "table" if isinstance(given, dict | DemoSource) else "tables"),
]


type Heads = tuple[Literal["cnn", "linear", "knn"], ...]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Classification:
    """One classification task: a head of downstream/ and the field it learns."""

    task: str = Field(min_length=1)
    label_field: str = Field(min_length=1)
    source: DemoSource
    heads: Heads = ()  # where empty, those of all tasks


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DemoConfig:
    """The whole job. With [synthesis], the data are made first; else they lie below data_root."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    title: str = Field(min_length=1)
    synthetic: bool
    data_root: str = ""  # relative to the config file
    synthesis: DemoCorpusConfig | None = None
    pretraining: Sources  # train splits, heard by every model
    classification: tuple[Classification, ...] = Field(min_length=1)
    asr: Sources
    family: str = "family.toml"  # relative to the config file, or to the embedded one
    # Rows: upstreams without weights; iterations of the family and named models, all of the family
    # where empty; iterations whose shape is tried untrained too, that of most layers where empty.
    baselines: tuple[str, ...] = Field(default=("fbank_cached",), min_length=1)
    models: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    # What is recognised: "fbank", a row's model, or the student that the heads' dev sets chose.
    asr_models: tuple[str, ...] = (FBANK, BEST_STUDENT)
    heads: Heads = Field(default=("cnn",), min_length=1)
    # The heads' grid, as in a file of `harness-bench probe --config`; overrides of the recipe.
    learning_rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    probe: dict[str, int | float | bool | str] = Field(default_factory=dict)
    linear: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, int | float | bool | str] = Field(default_factory=dict)
    # Added to all seeds of models, heads and ASR: another run on the same speech.
    seed: int = Field(default=0, ge=0)

    def __post_init__(self) -> None:
        """Check that there are data, and that no two sources would share an output folder."""
        if (self.synthesis is None) == (self.data_root == ""):
            raise ValueError("give either data_root (audio on disk) or [synthesis], not both")
        self.sources()

    @property
    def pretraining_sources(self) -> tuple[DemoSource, ...]:
        """Return the corpora of pretraining."""
        return self.pretraining if isinstance(self.pretraining, tuple) else (self.pretraining,)

    @property
    def asr_sources(self) -> tuple[DemoSource, ...]:
        """Return the corpora of ASR."""
        return self.asr if isinstance(self.asr, tuple) else (self.asr,)

    def sources(self) -> dict[str, DemoSource]:
        """Return every source once, by folder name; a name read in two ways is a `ValueError`."""
        found: dict[str, DemoSource] = {}
        tasks = (task.source for task in self.classification)
        for source in chain(self.pretraining_sources, self.asr_sources, tasks):
            if found.setdefault(source.name, source) != source:
                raise ValueError(
                    f"folder {source.folder!r} is read in two ways; folders of one name need "
                    "equal settings, since results and cuts are filed under that name. Give one of "
                    "them an alias"
                )
        return found


def load_demo(path: Path | None) -> DemoConfig:
    """Read a demo's config; None gives the embedded one."""
    return load(DemoConfig, path or EMBEDDED)


def data_folder(config: DemoConfig, path: Path | None, override: Path | None) -> Path:
    """Return where the data of a config lie: below `override`, or below its data_root."""
    base = (path or EMBEDDED).absolute().parent
    root = override.absolute() if override else (base / config.data_root).resolve()
    folders = [source.folder for source in config.sources().values()]
    if missing := [folder for folder in folders if not (root / folder).is_dir()]:
        raise ValueError(
            f"{root} has no folder {', '.join(missing)}. Give the folder that holds the data with "
            f"--data-root, or change data_root in {path or EMBEDDED}."
        )
    return root


def family_file(config: DemoConfig, path: Path | None) -> Path:
    """Return the family TOML: beside the config, or the embedded one of that name."""
    for base in ((path or EMBEDDED).absolute().parent, HERE):
        if (base / config.family).is_file():
            return base / config.family
    raise ValueError(
        f"family = {config.family!r}: there is no such file beside {path or EMBEDDED}."
    )
