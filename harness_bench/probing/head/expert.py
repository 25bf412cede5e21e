"""The downstream expert that every classification task here is an instance of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, override

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from harness_bench.audio.frames import FRAME_FIELD
from harness_bench.audio.io import read_waveform
from harness_bench.core.config import build
from harness_bench.core.distributed import world
from harness_bench.core.files import append_jsonl, read_json, write_json, write_text
from harness_bench.core.log import first_rank, say
from harness_bench.core.skipped import SkipList
from harness_bench.models.frozen import ModelShape
from harness_bench.probing.head.config import (
    BEST,
    CLASSES,
    DIVERGED,
    METRICS,
    ClassifierConfig,
    predictions_name,
)
from harness_bench.probing.head.data import (
    LabelledCuts,
    TrainingCuts,
    batches,
    learn_classes,
    prediction_rows,
    read_split,
)
from harness_bench.probing.head.model import CnnAttentionHead, valid_frames
from harness_bench.probing.s3prl.layers import refuse_unheeded
from harness_bench.results.predictions import write_predictions
from harness_bench.scoring.metrics import accuracy, macro_f1
from harness_bench.scoring.statistics import class_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch.utils.data import DataLoader


def gather(
    records: Mapping[str, Any], classes: Sequence[str]
) -> tuple[list[str], list[str], NDArray[np.float32]]:
    """Return truths, most probable classes and (utterances, classes) probabilities of batches."""
    probs: NDArray[np.float32] = torch.cat(records["probs"]).float().cpu().numpy()
    truths = [classes[number] for number in torch.cat(records["truths"]).tolist()]
    return truths, [classes[best] for best in probs.argmax(axis=1)], probs


def measure(
    losses: Sequence[Tensor], truths: list[str], preds: list[str], classes: list[str]
) -> dict[str, float]:
    """Return the mean loss of batches, and accuracy and macro F1 in percent."""
    totals = class_statistics(truths, preds, classes).sum(axis=0, dtype=float)
    return {
        "loss": float(torch.stack([*losses]).float().cpu().numpy().mean()),
        "accuracy": float(accuracy.value(totals)),
        "macro_f1": float(macro_f1.value(totals)),
    }


class ClassifierExpert(nn.Module):
    """One label per utterance: the paper's head, chosen by accuracy on dev.

    Writes into the experiment folder: classes.json, metrics.jsonl (one line per split and log),
    dev-best.ckpt, and predictions.<split>.jsonl of the best step (or of `-m evaluate`). The
    arguments are s3prl's: its own and the config file's.
    """

    best_score: Tensor  # (1,) dev accuracy of dev-best.ckpt

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.task, self.seed = str(kwargs["downstream"]), int(kwargs["seed"])
        refuse_unheeded(kwargs.get("runner", {}))
        values = json.loads(json.dumps(downstream_expert, default=str))
        config = build(ClassifierConfig, values, source=f"config of {self.task}: downstream_expert")
        self.data, self.folder = config.datarc, Path(expdir)
        # `frames` puts the upstream's own in its place, where that is one of ours.
        self.shape = ModelShape(upstream_dim, 0, upstream_rate, FRAME_FIELD)
        self._trains = kwargs["mode"] == "train"
        if self._trains and first_rank():
            (self.folder / DIVERGED).unlink(missing_ok=True)
        self.classes = self._choose_classes(training=self._trains)
        self.model = CnnAttentionHead(upstream_dim, len(self.classes), config.modelrc)
        self.register_buffer("best_score", torch.full((1,), -1.0))
        self._best_step = 0
        self.stale = 0  # evaluations of dev since the best one
        self._splits: dict[tuple[str, bool], LabelledCuts] = {}
        self._heard: list[int] | None = None  # samples of the file that `load_audio` read

    def get_dataloader(
        self, split: str, epoch: int | None = None, skip: int = 0
    ) -> DataLoader[Any]:
        """Return the batches of a split; a resumed run skips the first ones of its epoch."""
        training = epoch is not None
        if (split, training) not in self._splits:
            self._splits[split, training] = read_split(
                split, config=self.data, classes=self.classes, report_in=self.folder,
                shape=self.shape, checked=not training,
            )  # fmt: skip
        data: LabelledCuts | TrainingCuts = self._splits[split, training]
        if isinstance(data, LabelledCuts) and training:
            rank = world()[0]
            name = f"{split}.{rank}" if rank else split
            data = TrainingCuts(data, SkipList(self.folder, name, self.data.max_skipped))
        return batches(data, self.data, seed=self.seed, epoch=epoch, skip=skip)

    def resume_at(self, step: int) -> None:
        """Drop what an interrupted run logged after the checkpoint it resumes from."""
        path = self.folder / METRICS
        if path.is_file() and first_rank():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            # The last line may be half: the run was killed.
            whole = [line for line in lines if line.endswith("}\n")]
            kept = [line for line in whole if json.loads(line)["step"] <= step]
            write_text(path, "".join(kept))
            rows = map(json.loads, kept)
            scores = [row["accuracy"] for row in rows if row["split"] == "dev" and row["step"]]
            self.stale = len(scores) - 1 - scores.index(max(scores)) if scores else 0

    @override
    def forward(
        self,
        split: str,
        features: Sequence[Tensor],
        labels: Tensor,
        samples: list[int],
        ids: list[str],
        groups: list[str],
        records: dict[str, Any],
        **_: Any,
    ) -> Tensor:
        """Return the loss of a batch and add its outputs to the records.

        Args:
            split: train, dev, test, ...
            features: (frames, upstream_dim) of each utterance.
            labels: (B,) int64.
            samples: of each utterance, at 16 kHz.
            ids: of the utterances.
            groups: their clusters.
            records: s3prl's `defaultdict(list)`; tensors stay on the device until they are read.
        """
        labels = labels.to(features[0].device)
        logits = self._logits(features, samples)
        loss = F.cross_entropy(logits, labels)
        records["losses"].append(loss.detach())
        records["probs"].append(logits.detach().softmax(-1))
        records["truths"].append(labels)
        records["ids"] += ids
        records["groups"] += groups
        return loss

    def log_records(
        self, split: str, records: Mapping[str, Any], logger: Any, global_step: int, **_: Any
    ) -> list[str]:
        """Log the measures of a split; return the names under which to save a checkpoint."""
        truths, preds, probs = gather(records, self.classes)
        measures = measure(records["losses"], truths, preds, self.classes)
        if not (np.isfinite(probs).all() and np.isfinite(measures["loss"])):
            self._end_diverged(split, measures["loss"], global_step)
        self._log(split, measures, logger, global_step)
        # In the buffer's precision: rounded, an equal accuracy must not count as a better one.
        score = torch.tensor(measures["accuracy"], dtype=self.best_score.dtype)
        best = split == "dev" and global_step > 0 and bool(score > self.best_score.cpu())
        if best:
            # Filled, not replaced: a new tensor would lose its place in a distributed model.
            self.best_score.fill_(score)
            self._best_step = global_step
        if split == "dev":
            self.stale = 0 if best else self.stale + 1
            logger.flush()  # nobody closes it where this evaluation ends the training
        # Step 0 is `-m evaluate`, which runs the chosen checkpoint on any split.
        if global_step == 0 or (split != "train" and global_step == self._best_step):
            tags = (self._splits.get((split, False)) or self._splits[split, True]).tags
            columns = (records["ids"], truths, preds, probs.tolist(), records["groups"])
            rows = prediction_rows(*columns, classes=self.classes, tags=tags)
            write_predictions(self.folder / predictions_name(split), rows)
        return [BEST] if best else []

    def _end_diverged(self, split: str, loss: float, step: int) -> NoReturn:
        """End a training, or a test, whose figures mean nothing; no head is left of it."""
        if self._trains and first_rank():
            if (best := self.folder / BEST).is_file():
                best.replace(self.folder / f"before-divergence-{BEST}")
            write_json(self.folder / DIVERGED, {"step": step, "split": split, "loss": str(loss)})
        raise ValueError(
            f"{self.task}: at step {step} the loss or the probabilities of {split} are not finite "
            f"(loss {loss:g}). The training diverged, or the upstream's features are not finite. "
            "Lower the learning rate (config.optimizer.lr, --lr of probe), or try another "
            "upstream; there is no head to use."
        )

    def load_audio(self, path: Path) -> Tensor:
        """Read a file for `-m inference`: (samples,) float32, 16 kHz; else as `read_waveform`."""
        waveform = read_waveform(path)
        self._heard = [len(waveform)]
        return torch.from_numpy(waveform)

    def inference(self, features: Sequence[Tensor], names: Sequence[str]) -> None:
        """Print the class probabilities of each utterance as one JSON line."""
        for name, probs in zip(names, self.probabilities(features, self._heard), strict=True):
            line = json.dumps({"id": name, "probs": probs}, ensure_ascii=False, allow_nan=False)
            print(line)  # noqa: T201 - what was asked for

    def probabilities(
        self, features: Sequence[Tensor], samples: list[int] | None = None
    ) -> list[dict[str, float]]:
        """Return each utterance's probabilities, highest first; by default of all frames.

        Raises:
            ValueError: one is not finite.
        """
        shares = self._logits(features, samples).softmax(-1)
        if not bool(shares.isfinite().all()):
            raise ValueError(
                "The head's probabilities are not finite: its weights or the upstream's are broken."
            )
        rows = shares.tolist()
        return [
            dict(sorted(zip(self.classes, row, strict=True), key=lambda pair: -pair[1]))
            for row in rows
        ]

    @override
    def get_extra_state(self) -> dict[str, list[str]]:
        """Put the class names into checkpoints."""
        return {"classes": self.classes}

    @override
    def set_extra_state(self, state: Mapping[str, list[str]]) -> None:
        """Refuse a checkpoint whose outputs mean other classes."""
        if (stored := list(state["classes"])) != self.classes:
            raise ValueError(
                f"The checkpoint's classes are {stored}, those of {self.folder / CLASSES} or of "
                f"the train split of {self.data.cuts} are {self.classes}. Evaluate with the cuts "
                "that the head was trained on."
            )

    def _logits(self, features: Sequence[Tensor], samples: list[int] | None) -> Tensor:
        frames = [len(item) for item in features]
        if samples is not None:
            frames = valid_frames(frames, samples, self.shape)
        counts = torch.tensor(frames, device=features[0].device)
        logits: Tensor = self.model(pad_sequence([*features], batch_first=True), counts)
        return logits

    def _choose_classes(self, *, training: bool) -> list[str]:
        path = self.folder / CLASSES
        if not training and path.is_file():
            return [str(name) for name in read_json(path)]
        classes = learn_classes(self.data.cuts, self.data.label_field)
        write_json(path, classes)
        return classes

    def _log(self, split: str, measures: dict[str, float], logger: Any, step: int) -> None:
        for name, value in measures.items():
            logger.add_scalar(f"{self.task}/{split}-{name}", value, global_step=step)
        append_jsonl(self.folder / METRICS, {"step": step, "split": split, **measures})
        say(
            f"{self.task} {split} at step {step}: accuracy {measures['accuracy']:.2f} %, macro F1 "
            f"{measures['macro_f1']:.2f} %, loss {measures['loss']:.4f}"
        )
