"""Train one iteration: config, data, model, the loop, checkpoint; on CPU, one GPU or many ranks."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from tqdm import tqdm

from harness_bench.core.distributed import together
from harness_bench.core.files import digest_strings
from harness_bench.core.log import say
from harness_bench.core.skipped import SkipList
from harness_bench.core.watchdog import watchdog
from harness_bench.core.workdir import OldNote, WorkDir, alone
from harness_bench.models.checkpoint import FACTS
from harness_bench.models.frozen import CONFIG, checkpoint_digest, load_backbone
from harness_bench.models.initialization import initialise
from harness_bench.models.types.hubert import Backbone
from harness_bench.pretrain.config import CHECKPOINT, UNDECIDING, key_values
from harness_bench.pretrain.data.batches import BatchMaker
from harness_bench.pretrain.data.cut_source import as_source
from harness_bench.pretrain.data.loader import BatchStream, make_loader
from harness_bench.pretrain.data.stream import AudioStream, Position
from harness_bench.pretrain.exports import export
from harness_bench.pretrain.monitor import Diverged, Guard, TrainLog
from harness_bench.pretrain.objectives.base import objective_class
from harness_bench.pretrain.scaling import lr_warning
from harness_bench.pretrain.state import (
    ADAPTABLE,
    ADVICE,
    EXPORTS,
    Run,
    note_changes,
    on_sigterm,
    restore,
    rewind,
    save_state,
    wait_for_state,
)
from harness_bench.pretrain.updates import Groups, MadeUpdate, Steps
from harness_bench.pretrain.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from lightning.fabric import Fabric
    from torch import Tensor

    from harness_bench.models.hubert import Hubert
    from harness_bench.pretrain.config import IterationConfig, PretrainConfig
    from harness_bench.pretrain.data.batches import MaskedBatch
    from harness_bench.pretrain.data.cut_source import CutSource
    from harness_bench.pretrain.labels.store import Labels
    from harness_bench.pretrain.validation import ValidSet


SAVE, LOOK = "save", "look"
PATIENCE = 180  # seconds in which a run that was told to end has written its state


def pretrain(  # noqa: PLR0913 - `restart` and `adapt` are options of two verbs
    step: IterationConfig,
    cuts: Sequence[Cut] | CutSource,
    labels: Labels,
    out: Path,
    *,
    fabric: Fabric,
    teacher: Path | None = None,
    valid: ValidSet | None = None,
    restart: bool = False,
    adapt: bool = False,
) -> Path:
    """Train one iteration and export it; return the checkpoint folder.

    An interrupted run resumes from its last saved state, bit-equal on CPU; a finished one is left
    alone.

    Args:
        step: model shape and settings.
        cuts: the training utterances; those too short are left out and counted.
        labels: of all of them.
        out: gets state-*.pt, train.jsonl, valid.jsonl, provenance.json, checkpoint/ and, for
            exports on the way, checkpoints/.
        fabric: launched; decides device, precision and ranks.
        teacher: checkpoint for initialisations other than random.
        valid: what `validate_interval_updates` asks for; it changes no weight.
        restart: replace a different run that `out` holds instead of refusing.
        adapt: go on with a run of other `ADAPTABLE` settings, a finished one too; provenance.json
            lists what was changed at which update.

    Raises:
        ValueError: nothing to train on, `out` holds a different run, or another process trains
            in it.
        RuntimeError: gradients are not finite or the loss diverges, again and again; the batch is
            in `out/diverged`. Or another rank's error, such as one of these.
        OSError: a state cannot be written; the one before is whole.
        KeyboardInterrupt: SIGTERM came; the state is saved.
    """
    source = as_source(cuts)
    teacher = None if step.pretrain.init == "random" else teacher
    work, folder = run_dir(out, step, source, labels, teacher), out / CHECKPOINT
    if work.finished and (folder / CONFIG).is_file():
        return folder
    refusal = f"Another process trains in {out}: end it, wait for it, or give another folder."
    with alone(out / ".lock", refusal, patience=PATIENCE):
        if work.finished and (folder / CONFIG).is_file():  # it ended while this one waited
            return folder
        adapted = work.differences if adapt and not restart else {}
        if not restart and not (adapted and set(adapted) <= ADAPTABLE):
            work.refuse_others(ADVICE)
        run = build_run(step, work.digest, out, fabric, teacher, source.hours)
        restore(run, restart=restart, adapt=bool(adapted))
        changes = note_changes(run, adapted)
        work.begin(config=step, seed=step.pretrain.seed, changes=changes)
        if adapted:
            save_state(run)  # under the new key
            wait_for_state(run)
        if (warning := lr_warning(step, fabric.world_size)) is not None:
            say(warning)
        _train(run, source, labels, valid)
        if fabric.global_rank == 0:
            export(run, folder)
        work.finish()
    return folder


def run_dir(
    out: Path, step: IterationConfig, source: CutSource, labels: Labels, teacher: Path | None
) -> WorkDir:
    """Name all that decides the weights; intervals, workers and logs do not."""
    fixed = replace(step.pretrain, **UNDECIDING)
    inputs: dict[str, Any] = {"config": key_values(replace(step, pretrain=fixed))}
    if teacher is not None:
        inputs["teacher"] = checkpoint_digest(teacher)
    inputs |= {"labels": labels.digest, "cuts": source.digest}
    key = digest_strings([str(value) for value in inputs.values()])
    # A checkpoint from elsewhere has no key, so it counts as another run's and is not trained over.
    older = tuple(OldNote(f"{CHECKPOINT}/{name}", "key") for name in (FACTS, CONFIG))
    return WorkDir(out, inputs, key=key, older=older)


def build_run(
    step: IterationConfig, key: str, out: Path, fabric: Fabric, teacher: Path | None, hours: float
) -> Run:
    """Build model, optimizer and schedule; equal on every rank."""
    config = step.pretrain
    source = None if teacher is None else _open_hubert(teacher)
    hubert = initialise(step.model, config.init, source, config.seed)
    kind = objective_class(step)
    torch.manual_seed(config.seed + 1)
    objective = kind(hubert, step.labels.clusters, config, step.objective_options)
    # The parts that take the time; blocks share their code, so it is compiled once.
    for part in (hubert.feature_extractor, *hubert.encoder.layers) if config.compile else ():
        part.compile(dynamic=True)
    torch.manual_seed(config.seed + 2 + fabric.global_rank)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in objective.parameters() if parameter.requires_grad],
        lr=config.lr, betas=config.adam_betas, eps=config.adam_eps,
        weight_decay=config.weight_decay, fused=fabric.device.type == "cuda" or None,
    )  # fmt: skip
    model, wrapped = fabric.setup(objective, optimizer)
    if config.ddp_comm_hook == "bf16" and fabric.world_size > 1:
        model._forward_module.register_comm_hook(None, bf16_compress_hook)  # noqa: SLF001 - Fabric has no other way
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: learning_rate_share(update, config)
    )
    model.train()
    return Run(fabric, step, key, out, hours, objective, model, wrapped, schedule)


def _open_hubert(path: Path) -> Hubert:
    """Open a teacher whose weights start a student."""
    model = load_backbone(path)
    if not isinstance(model, Backbone):
        raise ValueError(  # noqa: TRY004 - a user's path
            f"{path} is not of HuBERT's architecture, and only HuBERT's weights can initialise "
            'students; init = "random" uses only its labels.'
        )
    return model.hubert


def learning_rate_share(update: int, config: PretrainConfig) -> float:
    """Return the share of the peak rate at an update: linear warm-up, then linearly to 0."""
    if update < config.warmup:
        return (update + 1) / config.warmup
    left = config.max_update - update
    return max(0.0, left / max(1, config.max_update - config.warmup))


def _train(run: Run, source: CutSource, labels: Labels, valid: ValidSet | None) -> None:
    """Update until max_update, from wherever the run stands; go back where it diverges."""
    skips = SkipList(run.out, run.fabric.global_rank, run.config.max_skipped)
    # Whatever ends the run, its last state is written.
    with on_sigterm() as signals, run.writer, _tf32(run.fabric.device):
        groups = Groups(run, _batches(run, source, labels, skips), signals)
        while True:
            try:
                return _update_on(run, groups, valid, skips)
            except Diverged as error:
                rewind(run, str(error))


@contextmanager
def _tf32(device: torch.device) -> Iterator[None]:
    """Let a GPU multiply what is float32, such as the logits beside bf16, as TF32.

    Labels and frozen models keep float32: their keys say nothing of it.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _update_on(run: Run, groups: Groups, valid: ValidSet | None, skips: SkipList) -> None:
    """Update until max_update; `Diverged` where nothing good comes of it, KeyboardInterrupt."""
    config, progress, rank = run.config, run.progress, run.fabric.global_rank
    log, guard = TrainLog(run), Guard(run)
    with closing(log), watchdog(config.heartbeat_timeout, "update") as alive, tqdm(
        total=config.max_update, initial=progress.update, desc=run.step.name, unit="update",
        mininterval=1, maxinterval=10, disable=rank > 0 or None, leave=False,
    ) as display:  # fmt: skip

        def done(made: MadeUpdate) -> None:
            display.update()
            group = made.group
            row = log.add(made.sums, group.batches, made.norm, group.waited)
            guard.check_loss(row, group.batches)
            if row is not None:
                display.set_postfix(bits=f"{row['loss_masked']:.2f}", refresh=False)

        steps = Steps(run, guard, done)
        validation = Validation(run, valid, log, skips, alive)
        while steps.update < config.max_update:
            alive()
            validation.once()  # after the state is saved, and after a resume where it was cut off
            group = groups.take()
            totals, last = group.totals, group.batches[-1]
            sums = [_backward(run, batch, totals, last=batch is last) for batch in group.batches]
            if steps.update + 1 < config.max_update:
                groups.fetch()
            norm = run.fabric.clip_gradients(
                run.model, run.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
            )
            steps.settle()  # the one before: its flag has come while this one was computed
            due = _due(progress.update + 1, config)
            good = steps.make(MadeUpdate(group, sums, norm), known=group.stop or due is not None)
            run.optimizer.zero_grad()
            if group.stop or (good and due == SAVE):
                _save(run)
            if group.stop:
                wait_for_state(run)
                raise KeyboardInterrupt
        validation.once()
        wait_for_state(run)


def _due(update: int, config: PretrainConfig) -> str | None:
    """Return what follows an update that has to be known for it: a state, or a look at it."""
    if update == config.max_update or update % config.save_interval_updates == 0:
        return SAVE
    intervals = (config.log_interval, config.validate_interval_updates)
    return LOOK if any(each and update % each == 0 for each in intervals) else None


def _batches(run: Run, source: CutSource, labels: Labels, skips: SkipList) -> Iterator[MaskedBatch]:
    """Yield batches for ever; the run's progress says where in the stream it stands."""
    progress, fabric, config = run.progress, run.fabric, run.config
    stream = AudioStream(source, config, fabric.global_rank, fabric.world_size)
    start = stream.start()
    if progress.position:
        start = Position.of(progress.position)
    elif progress.left_by:
        start = stream.moved([Position.of(each) for each in progress.left_by])
    maker = BatchMaker(source, labels, config, run.step.model.encoder_embed_dim)
    cuda = fabric.device.type == "cuda"
    loader = make_loader(BatchStream(stream, maker, start), config.num_workers, pin_memory=cuda)
    first, found, told = stream.epoch(start), False, False
    for batch in loader:
        if not (found or batch.ids) and batch.epoch > first:
            raise ValueError(
                f"There is no batch: none of {source.utterances} utterances of "
                f"{source.hours:.3g} h can be read ({len(skips)} cannot)."
            )
        skips.add(len(batch.ids), batch.skipped)
        if batch.short and not told and fabric.global_rank == 0:
            told = True
            say(
                f"{len(batch.short)} utterances are shorter than min_sample_size = "
                f"{config.min_sample_size} and left out, first {min(batch.short)!r}; of later ones "
                "no more is said"
            )
        if batch.ids:
            found = True
            yield batch.to(fabric.device)


def _backward(run: Run, batch: MaskedBatch, totals: Tensor, *, last: bool) -> dict[str, Tensor]:
    """Add a batch's gradients; ranks synchronise at the last batch of an update."""
    with run.fabric.no_backward_sync(run.model, enabled=not last):
        sums = run.model(batch)
        counts = run.objective.counts(batch).to(totals.device)
        run.fabric.backward(run.objective.loss(sums, counts, totals, run.fabric.world_size))
    return {name: value.detach() for name, value in sums.items()}


def _save(run: Run) -> None:
    """Save the state; export the model on the way where that is due."""
    save_state(run)
    update, every = run.progress.update, run.config.export_interval_updates
    with together():
        if run.fabric.global_rank == 0 and every is not None and update % every == 0:
            export(run, run.out / EXPORTS / f"{update:08d}")
