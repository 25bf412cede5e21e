"""One probe: train a head on a frozen upstream by s3prl's command line, then test the best."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path  # pydantic reads the annotations
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build, read_yaml, resolved
from harness_bench.core.files import digest_file, digest_strings, read_json, write_json, write_text
from harness_bench.core.process import Worker, run_logged
from harness_bench.core.workdir import OldNote, WorkDir, versions
from harness_bench.cuts.store import cuts_path, splits
from harness_bench.models.features.config import MEMORY_MB, upstream_config
from harness_bench.models.layers import MEAN, WEIGHTED, Layers
from harness_bench.probing.head.config import (
    BEST,
    DIVERGED,
    PATIENCE,
    Count,
    DataConfig,
    UnknownLabels,
    predictions_name,
)
from harness_bench.probing.s3prl.arguments import packaged_config, tasks
from harness_bench.probing.s3prl.checkpoints import load_states
from harness_bench.probing.s3prl.hub import checkpoint_of, own_names
from harness_bench.probing.s3prl.layers import KEY as LAYERS

OUTCOME, LOG, RUN, SETTINGS = "outcome.json", "log.txt", "s3prl", "config.yaml"
SPLITS = ("train", "dev", "test")
_MODULE, _WORKER = "harness_bench.run_downstream", "harness_bench.probing.s3prl.worker"
_ALONE = (sys.executable, "-m", _MODULE)
# Of versions before `inputs.json`: the key of a finished probe, or of one that was begun.
_OLD_NOTES = (OldNote(OUTCOME, "key"), OldNote("key.txt", whole=OUTCOME))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Subject:
    """What is probed: an upstream on a task."""

    upstream: str  # any name that `-u` takes
    checkpoint: Path | None  # the upstream's folder; None where it has none
    task: str  # a folder under `downstream/`
    cuts: Path  # prepared, with train, dev and test
    label_field: str | None = None  # None: the task's own
    unknown_labels: UnknownLabels = "error"  # of dev and test that train lacks


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeConfig:
    """How a head is trained; the defaults are the paper's where it gives them."""

    total_steps: Count = 10_000
    eval_step: Count = 500
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3  # the paper gives none
    batch_size: Count = 4
    eval_batch_size: Count = 4
    input_norm: Literal["none", "batch"] = "none"  # see HeadConfig; "batch" for short probes
    layers: Layers = "weighted"  # of the hidden states: learned sum, plain mean, or one of them
    hidden: Count = 80
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1337
    # Test at every evaluation of dev instead of by a second command: the same figures (a test says
    # so). Worth it where commands are typed; `run_probe` starts one process for both.
    test_in_training: bool = False
    feature_cache_mb: Annotated[int, Field(ge=0)] = 1024
    patience: Count | None = None  # evaluations without a better dev accuracy that end a training

    def __post_init__(self) -> None:
        """Check what no single field can."""
        if self.eval_step > self.total_steps:
            raise ValueError(
                f"eval_step = {self.eval_step} is larger than total_steps = {self.total_steps}: "
                "dev would never be evaluated and no head be chosen. Lower eval_step"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeOutcome:
    """What a probe left behind; written last, so a folder that has it is whole."""

    key: str  # digest of everything that decides the outcome
    dev_predictions: Path
    test_predictions: Path  # not there unless `tested`
    checkpoint: Path
    commands: tuple[str, ...]
    best_step: int
    layer_weights: tuple[float, ...]  # of the learned sum, adding up to 1; else empty
    train_seconds: float
    test_seconds: float
    tested: bool = True


class HeadDiverged(ValueError):  # noqa: N818 - what befell a training
    """A head's loss or probabilities became NaN or infinite: there is none to use."""


# Runs s3prl's command line with arguments, its output appended to a log; returns the seconds.
type Run = Callable[[Sequence[str], Path], float]


def run_probe(
    subject: Subject,
    out: Path,
    config: ProbeConfig,
    *,
    threads: int = 1,
    test: bool = True,
    run: Run | None = None,
) -> ProbeOutcome:
    """Train and test one head, or return the outcome of an equal probe that `out` holds.

    A probe that was cut off goes on where it was, with the same outcome to the bit on a CPU; one
    that was trained without a test is tested now, if that is asked for. `test=False` leaves the
    test split alone, in training too, for a grid that has not chosen yet. `run` is a process that
    heads share (see `one_process`); None starts one, which ends with this head.

    Raises:
        ValueError: an unknown task or upstream, missing splits, a folder that is no checkpoint, or
            one that the upstream does not open.
        HeadDiverged: the training's figures were not finite, now or when it was last tried.
        RuntimeError: s3prl failed; shows the end of its log.
    """
    subject = with_checkpoint(subject)
    # A head is the same whether it is tested while it is trained, later or never.
    untested = replace(config, test_in_training=False)
    found = [(each, _work(out, subject, each)) for each in dict.fromkeys([config, untested])]
    kept = next((kept for _, work in found if (kept := _kept(work))), None)
    with nullcontext(run) if run else one_process(config, threads) as ready:
        if kept is None:
            kept = _trained(subject, *found[0 if test else -1], ready)
        if test and not kept.tested:
            kept = _tested(out, kept, ready)
    return kept


def with_checkpoint(subject: Subject) -> Subject:
    """Put what the upstream opens into a subject: the weights count, not the name.

    One of ours that is broken is refused here, before data are read; errors: `checkpoint_of`.
    """
    from harness_bench.models.frozen import shape_of  # noqa: PLC0415 - imports torch

    checkpoint = checkpoint_of(subject.upstream, subject.checkpoint)
    if checkpoint is not None and subject.upstream in own_names():
        shape_of(checkpoint)
    return replace(subject, checkpoint=checkpoint)


def _trained(subject: Subject, config: ProbeConfig, work: WorkDir, run: Run) -> ProbeOutcome:
    import yaml  # noqa: PLC0415 - comes with the s3prl extra

    check_labels(subject)
    out = work.folder
    if work.begun:  # it would end in the same way
        _refuse_diverged(out)
    (out / OUTCOME).unlink(missing_ok=True)
    work.begin((RUN, LOG), config=config, seed=config.seed)
    # Not JSON, though that is YAML too: YAML takes its 1e-05 for a string.
    settings = yaml.safe_dump(_settings(subject, config), allow_unicode=True, sort_keys=False)
    write_text(out / SETTINGS, settings)
    # -a: a run that was cut off goes on where its last checkpoint stands, to the bit.
    words = ["-m", "train", "-a", "-u", subject.upstream, "-d", subject.task]
    words += ["-c", str(out / SETTINGS), "-p", str(out / RUN), "--seed", str(config.seed)]
    words += ["-k", str(subject.checkpoint)] if subject.checkpoint is not None else []
    words += ["-l", str(config.layers)] if isinstance(config.layers, int) else []
    try:
        seconds = run(words, out / LOG)
    except RuntimeError:
        _refuse_diverged(out)
        raise
    state = load_states(out / RUN / BEST)
    weights = state["Featurizer"].get("weights") if config.layers == WEIGHTED else None
    outcome = ProbeOutcome(
        key=work.digest,
        dev_predictions=out / RUN / predictions_name("dev"),
        test_predictions=out / RUN / predictions_name("test"),
        checkpoint=out / RUN / BEST,
        commands=(_command(words),),
        best_step=int(state["Step"]),
        layer_weights=() if weights is None else tuple(weights.softmax(0).tolist()),
        train_seconds=seconds,
        test_seconds=0,
        tested=config.test_in_training,
    )
    write_json(out / OUTCOME, resolved(outcome))
    work.finish()
    return outcome


def _refuse_diverged(out: Path) -> None:
    if (note := out / RUN / DIVERGED).is_file():
        found = read_json(note)
        raise HeadDiverged(
            f"{out}: the training diverged: at step {found['step']} the loss or the probabilities "
            f"of {found['split']} are not finite (loss {found['loss']}). Lower the learning rate, "
            "or look whether the upstream's features are finite (`harness-bench check-model`); to "
            f"train it once more as it was, delete {note.parent}."
        )


def _tested(out: Path, outcome: ProbeOutcome, run: Run) -> ProbeOutcome:
    words = ["-m", "evaluate", "-t", "test", "-e", str(out / RUN / BEST)]
    seconds = run(words, out / LOG)
    commands = (*outcome.commands, _command(words))
    outcome = replace(outcome, commands=commands, test_seconds=seconds, tested=True)
    write_json(out / OUTCOME, resolved(outcome))
    return outcome


def split_digests(cuts: Path, names: Sequence[str] = SPLITS) -> dict[str, str]:
    """Return the digest of each split's file, as inputs of a `WorkDir`."""
    return {f"cuts.{split}": digest_file(cuts_path(cuts, split)) for split in names}


def packaged_settings(subject: Subject, names: Sequence[str] = SPLITS) -> dict[str, Any]:
    """Return the task's packaged config; a task or a split that is not there is a ValueError."""
    if subject.task not in tasks():
        raise ValueError(f"There is no task {subject.task!r}; known: {', '.join(tasks())}.")
    if missing := set(names) - set(splits(subject.cuts)):
        raise ValueError(
            f"{subject.cuts} has no {', '.join(sorted(missing))} split; this needs "
            f"{', '.join(names)}. Name each utterance's split before `harness-bench prepare` (for "
            f"a manifest.tsv: a column `split`, no speaker in two of them), and prepare it again."
        )
    return read_yaml(packaged_config(subject.task))


def check_labels(subject: Subject) -> None:
    """Look at the classes of all splits before anything trains.

    Raises:
        ValueError: missing splits, or, unless they are to be skipped, labels that train lacks.
    """
    from harness_bench.probing.head import data  # noqa: PLC0415 - imports torch

    field = packaged_settings(subject)["downstream_expert"]["datarc"]["label_field"]
    config = DataConfig(
        cuts=subject.cuts, label_field=subject.label_field or field,
        unknown_labels=subject.unknown_labels,
    )  # fmt: skip
    classes = data.learn_classes(config.cuts, config.label_field)
    for split in SPLITS[1:]:
        data.check_split(split, config=config, classes=classes)


def _settings(subject: Subject, config: ProbeConfig) -> dict[str, Any]:
    """Return the task's packaged config with this probe's settings in it."""
    settings = packaged_settings(subject)
    settings["runner"].update(
        total_steps=config.total_steps,
        **dict.fromkeys(("eval_step", "log_step", "save_step"), config.eval_step),
        max_keep=1,
        eval_dataloaders=["dev", "test"] if config.test_in_training else ["dev"],
        **({LAYERS: MEAN} if config.layers == MEAN else {}),
        **({} if config.patience is None else {PATIENCE: config.patience}),
    )
    settings["optimizer"]["lr"] = config.learning_rate
    settings["downstream_expert"]["datarc"] |= {
        "cuts": str(subject.cuts),
        "train_batch_size": config.batch_size,
        "eval_batch_size": config.eval_batch_size,
        **({} if subject.label_field is None else {"label_field": subject.label_field}),
        **({} if subject.unknown_labels == "error" else {"unknown_labels": "skip"}),
    }
    settings["downstream_expert"]["modelrc"].update(
        input_norm=config.input_norm, hidden=config.hidden, dropout=config.dropout
    )
    return settings


def _work(out: Path, subject: Subject, config: ProbeConfig) -> WorkDir:
    """Name all that decides the outcome: settings, model, cuts, versions."""
    from harness_bench.models.frozen import checkpoint_digest  # noqa: PLC0415 - imports torch

    settings, checkpoint, given = _settings(subject, config), subject.checkpoint, resolved(config)
    # Heads from before there was a choice keep their key.
    if config.layers == WEIGHTED:
        del given["layers"]
    if config.patience is None:
        del given["patience"]
    inputs = {
        "upstream": subject.upstream,
        "checkpoint": "" if checkpoint is None else checkpoint_digest(checkpoint),
        "task": subject.task,
        "settings": settings,
        "probe": given,
        "feature_dtype": upstream_config().feature_cache.dtype,
        **split_digests(subject.cuts),
        "versions": versions(),
    }
    texts = (
        each if isinstance(each, str) else json.dumps(each, sort_keys=True)
        for each in inputs.values()
    )
    return WorkDir(out, inputs, key=digest_strings(texts), older=_OLD_NOTES)


def _kept(work: WorkDir) -> ProbeOutcome | None:
    path = work.folder / OUTCOME
    if not (work.finished and path.is_file()):
        return None
    outcome = build(ProbeOutcome, read_json(path), source=str(path))
    files = [outcome.dev_predictions, outcome.checkpoint]
    files += [outcome.test_predictions] if outcome.tested else []
    return outcome if all(file.is_file() for file in files) else None


def _command(arguments: Sequence[str]) -> str:
    """Return a command line for readers: what one types to repeat it."""
    return shlex.join(["python", "-m", _MODULE, *arguments])


@contextmanager
def one_process(
    config: ProbeConfig, threads: int, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Run]:
    """Yield what runs one command after the other in one process, which starts when it must.

    `more` are variables of its environment.
    """
    settings = {**_variables(config), **more}
    worker = Worker([sys.executable, "-m", _WORKER], threads=threads, environment=settings)
    with worker:
        yield lambda arguments, log: worker.run([*_ALONE, *arguments], arguments, log)


@contextmanager
def own_processes(
    config: ProbeConfig, threads: int, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Run]:
    """Yield what runs each command in a process of its own, as one types it: slower, the same."""
    settings = {**_variables(config), **more}
    yield lambda arguments, log: run_logged(
        [*_ALONE, *arguments], log, threads=threads, environment=settings
    )


def _variables(config: ProbeConfig) -> dict[str, str]:
    # s3prl's bars go into a file: redraw them seldom.
    return {MEMORY_MB: str(config.feature_cache_mb), "TQDM_MININTERVAL": "5"}
