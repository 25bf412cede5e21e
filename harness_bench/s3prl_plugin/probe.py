"""One probe: train a head on a frozen upstream by s3prl's command line, then test the best."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path  # pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.config import STRICT, build, resolved
from harness_bench.cuts import cuts_path, splits
from harness_bench.feature_store.config import MEMORY_MB, feature_cache_config
from harness_bench.files import digest_file, digest_strings, read_json, write_json, write_text
from harness_bench.processes import run_logged
from harness_bench.provenance import versions, write_provenance
from harness_bench.s3prl_plugin.arguments import packaged_config, tasks
from harness_bench.s3prl_plugin.checkpoints import load_states
from harness_bench.s3prl_plugin.classifier_config import BEST, predictions_name
from harness_bench.s3prl_plugin.hub import own_checkpoint, own_names

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ProbeConfig", "ProbeOutcome", "run_probe", "tasks", "upstreams"]

OUTCOME, LOG, RUN, SETTINGS = "outcome.json", "log.txt", "s3prl", "config.yaml"
BEGUN = "key.txt"  # of which probe the folder holds a part

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeConfig:
    """How a head is trained; the defaults are the paper's where it gives them."""

    total_steps: Count = 10_000
    eval_step: Count = 500
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3  # the paper gives none
    batch_size: Count = 4
    eval_batch_size: Count = 4
    input_norm: Literal["none", "batch"] = "none"  # see HeadConfig; "batch" for short probes
    hidden: Count = 80
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1337
    # Test at every dev evaluation instead of in a second process: the same figures (a test says
    # so), one process start less, worth it for probes of a minute or less.
    test_in_training: bool = False
    feature_cache_mb: Annotated[int, Field(ge=0)] = 1024

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
    test_predictions: Path
    checkpoint: Path
    commands: tuple[str, ...]
    best_step: int
    layer_weights: tuple[float, ...]  # of the weighted sum, adding up to 1; empty for one layer
    train_seconds: float
    test_seconds: float


def upstreams() -> list[str]:
    """List this project's upstreams."""
    return own_names()


def run_probe(
    *,
    upstream: str,
    checkpoint: Path | None,
    task: str,
    cuts: Path,
    label_field: str | None,
    out: Path,
    config: ProbeConfig,
    threads: int,
) -> ProbeOutcome:
    """Train and test one head, or return the outcome of an equal probe that `out` holds.

    A probe that was cut off goes on where it was, with the same outcome to the bit on a CPU.

    Args:
        upstream: any name that `-u` takes.
        checkpoint: the upstream's checkpoint folder, or None where it has none.
        task: a folder under `downstream/`.
        cuts: prepared folder with train, dev and test.
        label_field: the label's field; None: the task's own.
        out: folder for the outcome, log.txt and s3prl's experiment folder.
        config: settings of the training.
        threads: CPU threads of the process.

    Raises:
        ValueError: an unknown task, missing splits or a folder that is no checkpoint.
        RuntimeError: s3prl failed; shows the end of its log.
    """
    import yaml  # noqa: PLC0415 - comes with the s3prl extra

    settings = _settings(task, cuts, label_field, config)
    if checkpoint is None:
        checkpoint = own_checkpoint(upstream)  # The weights count, not the name.
    key = _key(upstream, checkpoint, task, settings, config)
    kept = _kept(out / OUTCOME, key)
    if kept is not None:
        return kept
    (out / OUTCOME).unlink(missing_ok=True)
    if not _begun(out / BEGUN, key):
        shutil.rmtree(out / RUN, ignore_errors=True)
        write_text(out / LOG, "")
        write_text(out / BEGUN, key)
    # Not JSON, though that is YAML too: YAML takes its 1e-05 for a string.
    write_text(out / SETTINGS, yaml.safe_dump(settings, allow_unicode=True, sort_keys=False))
    # -a: a run that was cut off goes on where its last checkpoint stands, to the bit.
    train = ["-m", "train", "-a", "-u", upstream, "-d", task, "-c", str(out / SETTINGS)]
    train += ["-p", str(out / RUN), "--seed", str(config.seed)]
    train += ["-k", str(checkpoint)] if checkpoint is not None else []
    test = ["-m", "evaluate", "-t", "test", "-e", str(out / RUN / BEST)]
    commands = [train] if config.test_in_training else [train, test]
    seconds = [_run(command, out / LOG, config, threads) for command in commands]
    outcome = _outcome(out, key, [_command(arguments) for arguments in commands], seconds)
    write_provenance(out, config=resolved(config), seed=config.seed, inputs={"all": key})
    write_json(out / OUTCOME, resolved(outcome))
    return outcome


def _settings(
    task: str, cuts: Path, label_field: str | None, config: ProbeConfig
) -> dict[str, Any]:
    """Return the task's packaged config with this probe's settings in it."""
    if task not in tasks():
        raise ValueError(f"There is no task {task!r}; known: {', '.join(tasks())}.")
    if missing := {"train", "dev", "test"} - set(splits(cuts)):
        raise ValueError(
            f"{cuts} has no {', '.join(sorted(missing))} split; a probe needs all three."
        )
    settings = _packaged(task)
    settings["runner"].update(
        total_steps=config.total_steps,
        eval_step=config.eval_step,
        log_step=config.eval_step,
        save_step=config.eval_step,
        max_keep=1,
        eval_dataloaders=["dev", "test"] if config.test_in_training else ["dev"],
    )
    settings["optimizer"]["lr"] = config.learning_rate
    expert = settings["downstream_expert"]
    expert["datarc"].update(
        cuts=str(cuts),
        train_batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size,
    )
    if label_field is not None:
        expert["datarc"]["label_field"] = label_field
    expert["modelrc"].update(
        input_norm=config.input_norm, hidden=config.hidden, dropout=config.dropout
    )
    return settings


def _packaged(task: str) -> dict[str, Any]:
    """Read a task's packaged config."""
    import yaml  # noqa: PLC0415 - comes with the s3prl extra

    settings: dict[str, Any] = yaml.safe_load(packaged_config(task).read_text(encoding="utf-8"))
    return settings


def _key(
    upstream: str,
    checkpoint: Path | None,
    task: str,
    settings: dict[str, Any],
    config: ProbeConfig,
) -> str:
    """Return the digest of all that decides the outcome: settings, model, cuts, versions."""
    from harness_bench.models.checkpoint import checkpoint_digest  # noqa: PLC0415 - imports torch

    cuts = Path(settings["downstream_expert"]["datarc"]["cuts"])
    return digest_strings(
        [
            upstream,
            "" if checkpoint is None else checkpoint_digest(checkpoint),
            task,
            json.dumps(settings, sort_keys=True),
            json.dumps(resolved(config), sort_keys=True),
            feature_cache_config().dtype,
            *(digest_file(cuts_path(cuts, split)) for split in ("train", "dev", "test")),
            json.dumps(versions(), sort_keys=True),
        ]
    )


def _begun(path: Path, key: str) -> bool:
    """Tell whether an equal probe was begun here and not finished."""
    return path.is_file() and path.read_text(encoding="utf-8") == key


def _kept(path: Path, key: str) -> ProbeOutcome | None:
    """Return the outcome in a file if it is that of an equal probe and its files are there."""
    if not path.is_file():
        return None
    values = read_json(path)
    if values.get("key") != key:
        return None
    outcome = build(ProbeOutcome, values, source=str(path))
    files = (outcome.dev_predictions, outcome.test_predictions, outcome.checkpoint)
    return outcome if all(file.is_file() for file in files) else None


def _command(arguments: Sequence[str]) -> str:
    """Return a command line for readers: what one types to repeat it."""
    return shlex.join(["python", "-m", "harness_bench.run_downstream", *arguments])


def _run(arguments: Sequence[str], log: Path, config: ProbeConfig, threads: int) -> float:
    """Run s3prl's command line, its output appended to the log; return the seconds it took."""
    command = [sys.executable, "-m", "harness_bench.run_downstream", *arguments]
    # s3prl's bars go into a file: redraw them seldom.
    settings = {MEMORY_MB: str(config.feature_cache_mb), "TQDM_MININTERVAL": "10"}
    return run_logged(command, log, threads=threads, environment=settings)


def _outcome(
    out: Path, key: str, commands: Sequence[str], seconds: Sequence[float]
) -> ProbeOutcome:
    """Collect what a finished run left."""
    checkpoint = out / RUN / BEST
    state = load_states(checkpoint)
    weights = state["Featurizer"].get("weights")
    return ProbeOutcome(
        key=key,
        dev_predictions=out / RUN / predictions_name("dev"),
        test_predictions=out / RUN / predictions_name("test"),
        checkpoint=checkpoint,
        commands=tuple(commands),
        best_step=int(state["Step"]),
        layer_weights=() if weights is None else tuple(weights.softmax(0).tolist()),
        train_seconds=seconds[0],
        test_seconds=sum(seconds[1:]),
    )
