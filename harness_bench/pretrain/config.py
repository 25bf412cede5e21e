"""Families and their iterations: shape, labels, training, augmentation, audio; read from TOML.

The presets of the paper (egs/harness/pretrain1/conf) and every demo or user config have this one
format. Nothing here needs torch.
"""

from __future__ import annotations

import os
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT
from harness_bench.core.config import STRICT, build, read_toml, resolved
from harness_bench.core.files import check_given
from harness_bench.core.registry import modules_in
from harness_bench.core.skipped import MAX_SKIPPED
from harness_bench.models import hub
from harness_bench.models.config import HubertConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGED = Path(__file__).parent / "paper"  # in an installed wheel
_CHECKOUT = Path(__file__).parents[2] / "egs" / "harness" / "pretrain1" / "conf"
PRESETS = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
OBJECTIVES = "harness_bench.pretrain.objectives"  # the package of the objectives, one file each
HUBERT = "hubert"
CHECKPOINT = "checkpoint"  # the exported model in a run folder
# Keys of PretrainConfig that decide no weight: keys of runs hold the oldest with these values.
UNDECIDING: dict[str, Any] = {
    "save_interval_updates": 1, "log_interval": 1, "num_workers": 0, "divergence": 3.0,
    "keep_interval_updates": 1, "export_interval_updates": None, "tensorboard": True,
    "allow_test_data": False,
}  # fmt: skip
# The later ones, which they do not hold; of a run that goes well.
SUPERVISION = (
    "validate_interval_updates", "valid_subset", "valid_hours", "max_skipped", "max_bad_updates",
    "heartbeat_timeout", "wandb_project", "best_checkpoint_metric",
    "maximize_best_checkpoint_metric",
)  # fmt: skip
_TEST_SETS = ("test", "eval")
PREPARED, SHARDED = "cuts", "shar"
GENERATED, SIMULATED = "generated", "simulated"  # noise and rooms that need no recordings
Beta = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0.5, le=2)]
Seconds = Annotated[float, Field(gt=0, le=10)]
Hertz = Annotated[float, Field(gt=0, le=8000)]
Decibels = Annotated[float, Field(ge=-50, le=100)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelConfig:
    """Where the target labels of an iteration come from (paper, section 2)."""

    source: Literal["mfcc", "hidden", "none"]  # "none": the objective needs no labels
    # Index into the teacher's hidden_states: 0 is the transformer's input, L the last block.
    layer: int | None = Field(default=None, ge=0, le=96)
    clusters: int = Field(default=1000, ge=2, le=65535)
    pca_dim: int | None = Field(default=None, ge=1)
    # Instead of pca_dim: as many components as keep this share of the variance.
    pca_variance: float | None = Field(default=None, gt=0, lt=1)
    # k-means and PCA see a random subset of this much audio, by seed (the paper: 300 h).
    fit_hours: float = Field(default=300.0, gt=0)
    # Instead of fit_hours: this share of the audio (the paper's students: 30 %).
    fit_share: float | None = Field(default=None, gt=0, le=1)
    # At most this many frames of it are held in memory, over all ranks together.
    fit_frames: int = Field(default=2_000_000, ge=100)
    kmeans_iterations: int = Field(default=100, ge=1)
    kmeans_tolerance: float = Field(default=1e-4, ge=0)  # relative fall of inertia
    batch_seconds: float = Field(default=60.0, gt=0)
    seed: int = Field(default=0, ge=0)

    def __post_init__(self) -> None:
        if (self.source == "hidden") != (self.layer is not None):
            raise ValueError(
                f"source = {self.source!r} with layer = {self.layer}: hidden states need a layer, "
                "others take none"
            )
        if self.pca_dim is not None and self.pca_variance is not None:
            raise ValueError(
                f"pca_dim = {self.pca_dim} and pca_variance = {self.pca_variance}: give one of them"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AugmentConfig:
    """Each change is off by default and drawn anew for every utterance in every epoch.

    The paper (3.1) names speed perturbation, SpecAugment, reverberation and noise; its settings
    are unpublished.
    """

    # One of these factors is drawn; above 1 is faster. Labels follow. Include 1.0 to keep some.
    speed: tuple[Factor, ...] = ()
    noise_prob: Probability = 0.0
    # A folder of recordings, or "generated": coloured noise, nothing to download.
    noise: str = Field(default=GENERATED, min_length=1)
    noise_snr: tuple[Decibels, Decibels] = (5.0, 20.0)  # dB, speech to noise, drawn evenly
    reverb_prob: Probability = 0.0
    # A folder of measured room responses, or "simulated" ones.
    reverb: str = Field(default=SIMULATED, min_length=1)
    reverb_t60: tuple[Seconds, Seconds] = (0.2, 0.8)  # of simulated rooms, drawn evenly
    time_masks: int = Field(default=0, ge=0)  # silenced spans
    time_mask_seconds: Seconds = 0.4  # each at most so long, and at most a fifth of the utterance
    channel_masks: int = Field(default=0, ge=0)  # removed frequency bands
    channel_mask_hertz: Hertz = 1000.0  # each at most so wide

    def __post_init__(self) -> None:
        for name in ("noise_snr", "reverb_t60"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} = [{low:g}, {high:g}]: the first must not be larger")
        for factor in self.speed:
            # Resampling by 9333 to 10000 would need a filter bank of 1 GB in every worker.
            if abs(100 * factor - round(100 * factor)) > 1e-6:  # noqa: PLR2004 - float noise
                raise ValueError(f"speed = {factor:g}: give hundredths, such as {factor:.2f}")

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        masks = self.time_masks or self.channel_masks
        return bool(self.speed or self.noise_prob or self.reverb_prob or masks)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainConfig:
    """Masked prediction: fairseq's names; defaults are fairseq's for HuBERT Large."""

    max_update: int = Field(ge=1)
    max_seconds: float = Field(default=62.5, gt=0)  # audio per rank and batch
    max_sample_size: int = Field(default=250_000, ge=3200)  # longer utterances are cropped
    min_sample_size: int = Field(default=400, ge=400)  # shorter ones are left out and counted
    # False: all utterances of a batch are cut to its shortest, as fairseq does; no audio is padded.
    pad_audio: bool = True
    # Language -> weight: every language gets its share of the audio. None: as the data are.
    balance: dict[str, Weight] | None = None
    num_buckets: int = Field(default=30, ge=2)
    mask_prob: float = Field(default=0.8, gt=0, le=1)
    mask_length: int = Field(default=10, ge=1)
    mask_channel_prob: float = Field(default=0.0, ge=0, lt=1)  # channels of the projected features
    mask_channel_length: int = Field(default=10, ge=1)
    pred_masked_weight: float = Field(default=1.0, ge=0)
    pred_nomask_weight: float = Field(default=0.0, ge=0)
    features_pen_weight: float = Field(default=10.0, ge=0)  # criterion.loss_weights[0]
    logit_temp: float = Field(default=0.1, gt=0)
    final_dim: int = Field(default=768, ge=1)
    feature_grad_mult: float = Field(default=1.0, ge=0, le=1)
    lr: float = Field(default=1.5e-3, gt=0)
    warmup_updates: int | None = Field(default=None, ge=0)  # None: 8 % of max_update
    adam_betas: tuple[Beta, Beta] = (0.9, 0.98)
    adam_eps: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    update_freq: int = Field(default=1, ge=1)  # batches per update
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: bool = False  # torch.compile, dynamic shapes
    ddp_comm_hook: Literal["none", "bf16"] = "none"  # how gradients travel between ranks
    init: Literal["random", "block_average", "copy_extractor", "slice", "svd"] = "random"
    save_interval_updates: int = Field(default=5000, ge=1)
    keep_interval_updates: int = Field(default=3, ge=1)  # the last so many states stay
    # Every so many updates the model is exported and stays (a multiple of save_interval_updates).
    export_interval_updates: int | None = Field(default=None, ge=1)
    # Every so many updates, and at the end, held-out utterances are predicted, as in dataset.* of
    # fairseq: a random subset of `valid_hours`, always with the same masks.
    validate_interval_updates: int | None = Field(default=None, ge=1)
    valid_subset: str = Field(default="dev", min_length=1)
    valid_hours: float = Field(default=1.0, gt=0)
    # The model that this figure of a validation finds best is exported and stays. Losses are best
    # where they are smallest, other figures where they are largest, unless `maximize_...` says.
    best_checkpoint_metric: str | None = Field(default=None, min_length=1)
    maximize_best_checkpoint_metric: bool | None = None
    # The masked loss diverges once it is so many times chance, the logarithm of clusters.
    divergence: float = Field(default=3.0, gt=1)
    # Updates in a row whose gradients may be not finite: each is left out. After more of them, or
    # once the loss diverges, the run goes back to an earlier state and passes these batches.
    max_bad_updates: int = Field(default=3, ge=0)
    # Largest share of utterances that cannot be read, by labels and by training.
    max_skipped: float = Field(default=MAX_SKIPPED, ge=0, le=1)
    # Seconds without an update after which a process ends; None: never.
    heartbeat_timeout: float | None = Field(default=1200.0, gt=0)
    log_interval: int = Field(default=100, ge=1)
    tensorboard: bool = True
    wandb_project: str | None = Field(default=None, min_length=1)  # of Weights & Biases
    num_workers: int = Field(default=2, ge=0)
    seed: int = Field(default=0, ge=0)
    allow_test_data: bool = False  # train even on audio of dev and test sets
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        every = self.export_interval_updates
        if every is not None and every % self.save_interval_updates:
            raise ValueError(
                f"export_interval_updates = {every} is not a multiple of save_interval_updates = "
                f"{self.save_interval_updates}"
            )
        if self.best_checkpoint_metric is not None and self.validate_interval_updates is None:
            raise ValueError(
                f"best_checkpoint_metric = {self.best_checkpoint_metric!r} is a figure of "
                "validations, and there are none: set validate_interval_updates"
            )
        if self.valid_subset.lower().startswith(_TEST_SETS):
            raise ValueError(
                f"valid_subset = {self.valid_subset!r}: what is watched in training steers it, and "
                "test sets must steer nothing; give a dev set"
            )
        if self.pred_masked_weight == self.pred_nomask_weight == 0:
            raise ValueError(
                "pred_masked_weight and pred_nomask_weight are both 0: nothing would be learned"
            )

    @property
    def warmup(self) -> int:
        """Updates until the peak learning rate (fairseq's 32k of 400k where not given)."""
        given = self.warmup_updates
        return round(0.08 * self.max_update) if given is None else given


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PaperFacts:
    """What the paper says of a preset, for tests, plans and tables."""

    gpus: int = Field(ge=1)
    parameters: int = Field(ge=1)
    printed_millions: float | None = Field(default=None, gt=0)
    where: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class IterationConfig:
    """One model of a family and how it comes to be."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    model: HubertConfig
    labels: LabelConfig
    pretrain: PretrainConfig
    # What hidden states and initial weights come from: an earlier iteration, the path of a
    # checkpoint (with a "/"), a named model of models/hub.toml, or OWNER/NAME[@REVISION].
    teacher: str | None = None
    sources: tuple[str, ...] = ()  # of the family's [data]; all where empty
    paper: PaperFacts | None = None
    objective: str = HUBERT  # a file of pretrain/objectives
    objective_options: dict[str, bool | int | float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.objective not in (known := objective_names()):
            raise ValueError(f"objective = {self.objective!r}; known: {', '.join(known)}")
        rate, field_size = self.model.downsample_rate, self.model.receptive_field
        if (rate, field_size) != (FRAME_SHIFT, FRAME_FIELD):
            raise ValueError(
                f"conv_kernel and conv_stride give a frame per {rate} samples that sees "
                f"{field_size}; labels stand for {FRAME_SHIFT} and {FRAME_FIELD}"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SourceConfig:
    """One corpus of the training audio."""

    folder: str = Field(min_length=1)  # relative to the file it stands in; ~ and $NAME are expanded
    # "cuts": a prepared folder; "shar": a sharded one; else a corpus that is prepared on the way.
    corpus: str = Field(default=PREPARED, min_length=1)
    name: str | None = None  # what iterations call it; the folder's name where unset
    split: str = "train"
    language: str | None = None  # of every utterance that does not say
    hours: float | None = Field(default=None, gt=0)  # for plans made before the audio is there
    weight: Weight | None = None  # its part of a language, or of all audio; None: 1 beside others
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)  # the corpus's own

    @property
    def title(self) -> str:
        """Return what iterations call it."""
        return self.name or Path(self.folder).name

    @property
    def ready(self) -> bool:
        """Whether its folder holds cuts or shards."""
        return self.corpus in (PREPARED, SHARDED)

    def found_in(self, out: Path) -> Path:
        """Return where its cuts or shards are; `out` holds what is prepared on the way."""
        return Path(self.folder) if self.ready else out / self.title


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingDataConfig:
    """All training audio of a family."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    # Files with one recording or utterance id a line that must not be trained on.
    exclude: tuple[str, ...] = ()
    # Prepared folders whose dev and test sets must not be trained on either.
    protect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        titles = [source.title for source in self.sources]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"two sources are called {title!r}; give one of them a name")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FamilyConfig:
    """Iterations in the order of their making; students may branch from one teacher."""

    name: str = Field(min_length=1)
    iterations: tuple[IterationConfig, ...] = Field(min_length=1)
    data: TrainingDataConfig | None = None  # None: the audio is named on the command line

    @property
    def allow_test_data(self) -> bool:
        """Whether every iteration may."""
        return all(step.pretrain.allow_test_data for step in self.iterations)

    def __post_init__(self) -> None:
        known = [source.title for source in self.data.sources] if self.data else []
        seen: dict[str, IterationConfig] = {}
        for step in self.iterations:
            self._check_teacher(step, seen)
            if step.name in seen:
                raise ValueError(f"iteration {step.name!r} is there twice; names must differ")
            seen[step.name] = step
            if not set(step.sources) <= set(known):
                raise ValueError(
                    f"iteration {step.name!r}: sources = {list(step.sources)}, but [data] has "
                    f"{', '.join(known) or 'none'}"
                )

    def _check_teacher(self, step: IterationConfig, seen: Mapping[str, IterationConfig]) -> None:
        """Check that a teacher comes before its student and has the layer asked for."""
        if step.teacher is None:
            if step.labels.source == "hidden" or step.pretrain.init != "random":
                raise ValueError(f"iteration {step.name!r} needs a teacher for labels or init")
            return
        teacher, layer = seen.get(step.teacher), step.labels.layer or 0
        later = step.teacher in {each.name for each in self.iterations}
        if teacher is None and (later or not is_outside(step.teacher)):
            raise ValueError(
                f"iteration {step.name!r}: teacher = {step.teacher!r} is none of the iterations "
                f"before it ({', '.join(seen) or 'none'}), nor a named model "
                f"({', '.join(hub.names())}); "
                'the path of a checkpoint has a "/", as in "./teacher"'
            )
        if teacher is not None and layer > teacher.model.encoder_layers:
            raise ValueError(
                f"iteration {step.name!r}: labels.layer = {layer}, but teacher {teacher.name!r} "
                f"has {teacher.model.encoder_layers} layers"
            )


def reseeded(family: FamilyConfig, add: int) -> FamilyConfig:
    """Return a family with a number added to the seeds of all its labels and trainings."""
    steps = (
        replace(
            step,
            labels=replace(step.labels, seed=step.labels.seed + add),
            pretrain=replace(step.pretrain, seed=step.pretrain.seed + add),
        )
        for step in family.iterations
    )
    return replace(family, iterations=tuple(steps))


def is_outside(teacher: str) -> bool:
    """Whether a name is a path or a named model; iterations of these names come first."""
    return "/" in teacher or teacher in hub.names()


def key_values(step: IterationConfig) -> dict[str, object]:
    """Return an iteration's settings as the key of its run holds them.

    What came after the first keys is left out where it is unset, so that older runs are still
    recognised, and so is what changes no weight. The path of a teacher says nothing: digests of
    labels and weights do.
    """
    values = resolved(step)
    for name in SUPERVISION:
        del values["pretrain"][name]
    for name, plain in (("pad_audio", True), ("ddp_comm_hook", "none")):
        if values["pretrain"][name] == plain:
            del values["pretrain"][name]
    if step.objective == HUBERT:
        del values["objective"]
        if not step.objective_options:
            del values["objective_options"]
    if step.teacher is not None and "/" in step.teacher:
        del values["teacher"]
    return values


def objective_names() -> list[str]:
    """List the objectives, by looking into their folder."""
    return [name for name in modules_in(OBJECTIVES) if name != "base"]


def preset_names() -> list[str]:
    """List the presets of the paper."""
    return sorted(path.stem for path in PRESETS.glob("harness_*.toml"))


def load_preset(name: str) -> IterationConfig:
    """Read one preset by name; an unknown name is a `ValueError` that lists the known ones."""
    return build(IterationConfig, _preset(name), source=str(PRESETS / f"{name}.toml"))


def _preset(name: str) -> dict[str, Any]:
    """Return the keys of a preset's own file."""
    if name not in preset_names():
        raise ValueError(f"There is no preset {name!r}; known: {', '.join(preset_names())}.")
    return read_toml(PRESETS / f"{name}.toml")


def check_iteration(path: Path, called: str = "Config") -> None:
    """Refuse what is neither a file nor the name of a preset."""
    if str(path) not in (known := preset_names()):
        check_given(path, called, "file", f"Give a TOML file, or a preset: {', '.join(known)}.")


def read_iteration(path: Path) -> IterationConfig:
    """Read one iteration from TOML, or a preset of the paper by its name."""
    check_iteration(path)
    if str(path) in preset_names():
        return load_preset(str(path))
    return build(IterationConfig, _with_paths(read_toml(path), path.parent), source=str(path))


def load_family(path: Path) -> FamilyConfig:
    """Read a family from TOML.

    An iteration may name a `preset` of the paper and override any of its keys; `[defaults.*]`
    apply to every iteration that does not set them. Paths of `[data]` and of teachers are relative
    to the file.
    """
    values = {"iterations": []} | read_toml(path)
    defaults = values.pop("defaults", {})
    whole = (_with_defaults(entry, defaults) for entry in values["iterations"])
    values["iterations"] = [_with_paths(entry, path.parent) for entry in whole]
    if isinstance(values.get("data"), dict):
        values["data"] = resolve_paths(values["data"], path.parent)
    return build(FamilyConfig, values, source=str(path))


def _with_defaults(entry: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Merge an iteration over its preset, and that over the family's defaults."""
    own = {key: value for key, value in entry.items() if key != "preset"}
    # The preset file's own keys alone: its unset ones must not hide the family's defaults.
    preset = _preset(entry["preset"]) if "preset" in entry else {}
    return _merge(_merge(defaults, preset), own)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested tables; `above` wins."""
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _with_paths(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the path of a teacher absolute; names have no slash, and the Hub's are no path here."""
    teacher = entry.get("teacher")
    if not isinstance(teacher, str) or "/" not in teacher:
        return entry
    path = _absolute(teacher, base)
    here = Path(str(path)).exists() or not hub.is_repository(teacher)
    return {**entry, "teacher": path} if here else entry


def resolve_paths(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a [data] table absolute; the strict config explains wrong types."""
    table = dict(values)
    for key in ("sources", "exclude", "protect"):
        if isinstance(table.get(key), list):
            table[key] = [
                {**each, "folder": _absolute(each["folder"], base)}
                if isinstance(each, dict) and "folder" in each
                else _absolute(each, base)
                for each in table[key]
            ]
    return table


def _absolute(path: object, base: Path) -> object:
    """Return a path relative to `base` as an absolute one, ~ and $NAME expanded."""
    if not isinstance(path, str):
        return path
    return str((base / Path(os.path.expandvars(path)).expanduser()).resolve())


def checkpoint_folder(out: Path, name: str) -> Path:
    """Return where a family's folder holds the checkpoint of one of its models."""
    return out / name / "run" / CHECKPOINT
