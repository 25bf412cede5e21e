"""What a study is made of, as its TOML says: corpora, a family to train, models, tasks, a board."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.demo.plan import DemoCorpusConfig
from harness_bench.models import hub

ASR = "asr"
FBANK_UPSTREAMS = ("fbank", "fbank_cached")  # what the ASR recipes compute themselves
BROADCAST = ("qasr", "mgb2", "mgb3")  # layouts of the ASR recipe that tests on other corpora
# In `models` of an ASR task: the student that heads found best on dev.
BEST_STUDENT = "best student"
type Options = dict[str, str | int | float | bool]
type Names = tuple[str, ...]
type Rates = tuple[Annotated[float, Field(gt=0)], ...]
type Heads = tuple[Literal["cnn", "linear", "knn"], ...]
type Shown = Annotated[str, Field(min_length=1, max_length=120)]
type Title = Annotated[str, Field(max_length=120)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyCorpus:
    """One corpus: as it came (folder), prepared before (cuts), or made by computer (synthesis)."""

    folder: str = ""  # relative to data_root; ~ and $NAME are expanded; of hf also OWNER/NAME
    cuts: str = ""  # a folder that `harness-bench prepare` or `shard` wrote; relative as `folder`
    synthesis: str = ""  # a task of the demo's synthetic speech, made as [synthesis] says
    layout: str = "tsv"  # how to read it: a name of `harness-bench prepare`
    options: Options = Field(default_factory=dict)  # the layout's own
    require: Names = ()  # fields that every utterance must have
    exclude: Names = ()  # files of utterance ids to leave out; relative as `folder`
    max_skipped: float = Field(default=0.05, ge=0, le=1)
    audio: Literal["decode", "header"] = "decode"
    title: Title = ""  # its name in results; default: that of its table
    get: str = ""  # how to get it, told where it is not there
    hours: float | None = Field(default=None, gt=0)  # for estimates before it is there

    def __post_init__(self) -> None:
        if sum(map(bool, (self.folder, self.cuts, self.synthesis))) != 1:
            raise ValueError("give one of folder (as it came), cuts (prepared) and synthesis")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyFamily:
    """The models that are trained here. Those that no model of the study needs are left alone."""

    file: str = "family.toml"  # relative to the study's file, or an embedded one
    corpora: Names = ()  # whose train splits all of them hear; none: the [data] of the file


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyModel:
    """One row: an upstream without weights, a checkpoint, or an iteration, trained or not."""

    name: Title = ""  # of the row; default: what it is made from
    upstream: str = ""  # a name that s3prl's -u takes; with `checkpoint`, what opens it
    checkpoint: str = ""  # its path, relative to the study's file
    hub: str = ""  # a named model (docs/s3prl.md), or OWNER/NAME[@REVISION] of the Hub
    iteration: str = ""  # of the family
    random: str = ""  # an iteration of the family, or a preset, whose shape is tried untrained
    kind: Literal["", "baseline", "random", "pretrained", "other"] = ""  # default: by the above
    heard: Names = ()  # corpora of the study that it was pretrained on; an iteration's are known
    pretraining_data: str = ""  # in words, for results; an iteration's are known

    def __post_init__(self) -> None:
        given = [
            name for name in ("checkpoint", "hub", "iteration", "random") if getattr(self, name)
        ]
        if len(given) > 1 or (not given and not self.upstream):
            raise ValueError(
                f"model {self.title!r}: give one of upstream, checkpoint, hub, iteration and random"
            )
        if self.upstream and given not in ([], ["checkpoint"]):
            raise ValueError(f"model {self.title!r}: upstream goes with checkpoint or stands alone")

    @property
    def title(self) -> str:
        """The name of its row."""
        made = self.hub or self.iteration or (self.random and f"random_{self.random}")
        # s3prl's own FBANK, bit for bit, is kept in memory between epochs.
        named = hub.model_name(self.checkpoint) if self.checkpoint else ""
        return self.name or made or named or self.upstream.removesuffix("_cached")

    @property
    def has_weights(self) -> bool:
        """Whether it is more than an upstream's name."""
        return bool(self.checkpoint or self.hub or self.iteration or self.random)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TaskPart:
    """Utterances of the test split that are scored once more alone."""

    name: Shown  # in the place of the corpus's in results
    field: Shown  # of the utterances
    value: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyTask:
    """One task: heads on a corpus, ASR on a corpus, or ASR trained on QASR and tested on others."""

    type: str = Field(min_length=1)  # a task of downstream/, or asr
    name: Title = ""  # of folders and jobs; default: the type
    corpus: str = ""  # with train, dev and test
    train: str = ""  # in place of corpus, for ASR: a corpus of layout qasr,
    test: Names = ()  # and those of layouts qasr, mgb2 and mgb3 that are tested on
    label_field: str | None = None  # default: the task's own
    unknown_labels: Literal["error", "skip"] = "error"  # of dev and test that train lacks
    parts: tuple[TaskPart, ...] = ()
    models: Names = ()  # default: all that the task takes
    heads: Heads = ()  # default: [heads] kinds
    # A TOML of `harness-bench probe --config`, or the folder of an ASR recipe; relative to the
    # study's file. What stands here comes over it, and that over [heads] or [asr].
    grid: str = ""
    recipe: str = ""
    learning_rates: Rates = ()
    seeds: tuple[int, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)  # over [heads.probe], or over [asr]
    linear: dict[str, Any] = Field(default_factory=dict)  # over [heads.linear]

    def __post_init__(self) -> None:
        broadcast = self.broadcast
        if bool(self.corpus) == broadcast or (not broadcast and (self.train or self.test)):
            raise ValueError(f"task {self.title!r}: give corpus, or train and test")
        if broadcast and self.type != ASR:
            raise ValueError(f"task {self.title!r}: train and test go with type = 'asr' alone")
        odd: Names = ("recipe",)
        if self.type == ASR:
            odd = ("label_field", "parts", "heads", "learning_rates", "linear", "grid")
        if given := [name for name in odd if getattr(self, name)]:
            raise ValueError(f"task {self.title!r}: type {self.type!r} has no {', '.join(given)}")

    @property
    def title(self) -> str:
        """What folders and jobs call it."""
        return self.name or self.type

    def takes(self, model: StudyModel) -> bool:
        """Whether a model can be tried: ASR knows FBANK alone of what has no checkpoint."""
        return self.type != ASR or model.has_weights or model.upstream in FBANK_UPSTREAMS

    @property
    def broadcast(self) -> bool:
        """Whether it is ASR trained on one corpus and tested on others, by the recipe of QASR."""
        return bool(self.train and self.test)

    @property
    def corpora(self) -> Names:
        """The corpora that it reads."""
        return (self.corpus,) if self.corpus else (self.train, *self.test)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyHeads:
    """How heads are trained unless a task says otherwise."""

    kinds: Heads = Field(default=("cnn",), min_length=1)
    # The grid, as in a file of `harness-bench probe --config`.
    learning_rates: Rates = ()
    seeds: tuple[int, ...] = ()
    probe: dict[str, Any] = Field(default_factory=dict)
    linear: dict[str, Any] = Field(default_factory=dict)
    # Every rate and seed as a job of its own: for more workers than heads. It costs a start each.
    apart: bool = False


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JobNeeds:
    """What jobs of a kind, or one job, occupy; what is not given is left as it is."""

    cpus: int | None = Field(default=None, ge=1)
    gpus: int | None = Field(default=None, ge=0)
    memory_gb: float | None = Field(default=None, gt=0)
    hours: float | None = Field(default=None, gt=0)
    disk_gb: float | None = Field(default=None, ge=0)
    nodes: int | None = Field(default=None, ge=0)  # 1 or more: a batch job of its own


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyBoard:
    """The leaderboard that a study ends with."""

    reported: bool = True  # with the paper's own rows
    costs: bool = True  # measure what each checkpoint costs to run
    times: bool = True  # False: nothing of a clock gets into results, for boards equal to the byte


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyConfig:
    """A study: each model on each task, and the board of all."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    title: Shown
    synthetic: bool = False  # whether its speech is made by computer
    data_root: str = "."  # of corpora; relative to the file
    corpora: dict[str, StudyCorpus] = Field(min_length=1)
    synthesis: DemoCorpusConfig | None = None
    family: StudyFamily | None = None
    models: tuple[StudyModel, ...] = Field(min_length=1)
    tasks: tuple[StudyTask, ...] = Field(min_length=1)
    heads: StudyHeads = StudyHeads()
    asr: dict[str, Any] = Field(default_factory=dict)  # settings of the ASR recipe
    board: StudyBoard = StudyBoard()
    # What is made of all results beside the board: kind of job -> its settings.
    outputs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    needs: dict[str, JobNeeds] = Field(default_factory=dict)  # kind of job, or name of a job
    engine: dict[str, Any] = Field(default_factory=dict)  # see study/engine.py
    # Added to all seeds of models, heads and ASR: another run on the same speech.
    seed: int = Field(default=0, ge=0)

    def __post_init__(self) -> None:
        """Check that all that is named is there, and that no two things share a name."""
        _once("models", [model.title for model in self.models])
        _once("tasks", [task.title for task in self.tasks])
        for name, corpus in self.corpora.items():
            if corpus.synthesis and self.synthesis is None:
                raise ValueError(f"corpora.{name}: synthesis needs a table [synthesis]")
        for where, names in self._corpora_named():
            _known(where, names, self.corpora)
        for task in self.tasks:
            rows = [model.title for model in self.models] + [BEST_STUDENT] * (task.type == ASR)
            _known(f"task {task.title!r}: models", task.models, rows)
            for name in task.corpora if task.broadcast else ():
                if (layout := self.corpora[name].layout) not in BROADCAST:
                    raise ValueError(
                        f"task {task.title!r}: {name!r} has the layout {layout!r}; train and test "
                        f"take {', '.join(BROADCAST)}. Others go by `corpus`"
                    )
        trained = [each for model in self.models if (each := model.iteration)]
        if trained and self.family is None:
            raise ValueError(f"models: iteration = {trained[0]!r} needs a table [family]")

    def _corpora_named(self) -> list[tuple[str, Names]]:
        named = [(f"task {task.title!r}", task.corpora) for task in self.tasks]
        named += [(f"model {model.title!r}: heard", model.heard) for model in self.models]
        return [*named, ("family: corpora", self.family.corpora if self.family else ())]


def _once(what: str, names: list[str]) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{what}: two are called {twice[0]!r}; give one of them a name")


def _known(where: str, names: Names, known: Any) -> None:
    if odd := [name for name in names if name not in known]:
        raise ValueError(f"{where}: there is no {odd[0]!r}; known: {', '.join(known)}")
