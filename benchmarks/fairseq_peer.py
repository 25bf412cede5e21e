"""fairseq's own HuBERT, criterion and checkpoint files, for benchmarks and oracles.

It may be absent: `make peers` installs it beside the environment.
"""

import contextlib
import importlib.util
import logging
import sys
import tempfile
import warnings
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from harness_bench.models.config import FAIRSEQ_SPECIAL_SYMBOLS, HubertConfig
from harness_bench.models.hubert import Hubert
from harness_bench.models.types.fairseq import read_fairseq
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.data.batches import NO_LABEL, MaskedBatch
from harness_bench.pretrain.objectives.hubert import HubertObjective

PEERS = Path(__file__).parent.parent / "build" / "peers"
HOW = "fairseq is not installed; run `make peers`"
PAD = 1  # of fairseq's dictionaries
SAME_NAME = (
    "encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads",
    "conv_bias", "extractor_mode", "layer_norm_first", "conv_pos", "conv_pos_groups", "dropout",
    "attention_dropout", "activation_dropout", "dropout_input", "encoder_layerdrop",
)  # fmt: skip


def fairseq_available() -> bool:
    """Whether `import fairseq` works; puts build/peers behind everything else that is imported."""
    if PEERS.is_dir() and str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))
    return importlib.util.find_spec("fairseq") is not None


def without_fairseq(*rows: str) -> bool:
    """Tell whether fairseq is absent, and say then which rows are left out."""
    absent = not fairseq_available()
    for row in rows if absent else ():
        print(f"{row} is left out: {HOW}.", file=sys.stderr)
    return absent


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep fairseq's warnings and its set-up of all logging from what runs beside it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


class FairseqPeer:
    """fairseq's HubertModel and HubertCriterion of a shape of ours, with random weights."""

    def __init__(self, config: HubertConfig, clusters: int, pretrain: PretrainConfig) -> None:
        fairseq_available()
        self.clusters, self.pretrain = clusters, pretrain
        with quiet():
            self._build(config, pretrain)

    def _build(self, config: HubertConfig, pretrain: PretrainConfig) -> None:
        from fairseq.criterions.hubert_criterion import HubertCriterion  # noqa: PLC0415
        from fairseq.data import Dictionary  # noqa: PLC0415
        from fairseq.models.hubert import hubert  # noqa: PLC0415
        from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig  # noqa: PLC0415

        layers = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
        self.model_cfg = hubert.HubertConfig(
            **{name: getattr(config, name) for name in SAME_NAME},
            label_rate=50.0,
            conv_feature_layers=str(list(layers)),
            final_dim=pretrain.final_dim,
            logit_temp=pretrain.logit_temp,
            feature_grad_mult=pretrain.feature_grad_mult,
            skip_nomask=pretrain.pred_nomask_weight == 0,
        )
        self.task_cfg = HubertPretrainingConfig(
            data="none", labels=["km"], label_rate=50.0, normalize=config.normalize
        )
        self.dictionary = Dictionary()
        for label in range(self.clusters):
            self.dictionary.add_symbol(str(label))
        self.model: Any = hubert.HubertModel(self.model_cfg, self.task_cfg, [self.dictionary])
        self.criterion: Any = HubertCriterion(
            None, pretrain.pred_masked_weight, pretrain.pred_nomask_weight,
            loss_weights=[pretrain.features_pen_weight],
        )  # fmt: skip

    def loss(self, batch: MaskedBatch, waveforms: torch.Tensor) -> torch.Tensor:
        """Return the loss a frame, under the batch's mask in place of one that fairseq draws.

        Args:
            batch: labels (B, F) without special symbols, mask (B, F).
            waveforms: (B, T), normalised already where the model wants it (fairseq's data set
                does that).
        """
        model = self.model

        def apply_mask(
            x: torch.Tensor, _padding: torch.Tensor, _targets: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            x[batch.mask] = model.mask_emb.to(x.dtype)
            return x, batch.mask

        model.apply_mask = apply_mask
        known = batch.labels != NO_LABEL
        targets = torch.where(known, batch.labels + FAIRSEQ_SPECIAL_SYMBOLS, PAD)
        padding = torch.arange(waveforms.shape[1]) >= batch.lengths[:, None]
        sample = {
            "id": torch.arange(len(batch.ids)),
            "net_input": {"source": waveforms, "padding_mask": padding},
            "target_list": [targets],
        }
        loss, frames, _ = self.criterion(model, sample)
        return loss / frames  # type: ignore[no-any-return]

    @torch.inference_mode()
    def hidden_states(
        self, waveforms: torch.Tensor, lengths: torch.Tensor, layer: int, *, together: bool
    ) -> list[torch.Tensor]:
        """Return (F_i, D) of every utterance behind block `layer`, in one padded batch or alone."""
        model = self.model.eval()
        if not together:
            rows = [wave[None, :n] for wave, n in zip(waveforms, lengths.tolist(), strict=True)]
            return [model.extract_features(row, output_layer=layer)[0][0] for row in rows]
        padding = torch.arange(waveforms.shape[1]) >= lengths[:, None]
        states, behind = model.extract_features(waveforms, padding, output_layer=layer)
        return [row[~silent] for row, silent in zip(states, behind, strict=True)]

    def save(self, path: Path, *, form: str = "cfg") -> None:
        """Write a checkpoint with the keys of fairseq's trainer.

        `form` says how the settings stand in it: "cfg" (dictionaries, as it writes today),
        "omegaconf" (as it wrote in HuBERT's year) or "args" (a Namespace, as before hydra).
        """
        model, task = {**asdict(self.model_cfg), "_name": "hubert"}, asdict(self.task_cfg)
        settings: Any = {"model": model, "task": {**task, "_name": "hubert_pretraining"}}
        args = None
        if form == "omegaconf":
            from omegaconf import OmegaConf  # noqa: PLC0415

            settings = OmegaConf.create(settings)
        elif form == "args":
            settings, args = None, Namespace(**{**model, **task, "arch": "hubert"})
        state = {
            "args": args,
            "cfg": settings,
            "model": self.model.state_dict(),
            "criterion": None,
            "optimizer_history": [{"criterion_name": "HubertCriterion", "num_updates": 1}],
            "task_state": {"dictionaries": [self.dictionary]},
            "extra_state": {"metrics": {}, "previous_training_time": 0.0},
        }
        torch.save(state, path)

    def ours(self) -> HubertObjective:
        """Return our model with the same weights, by way of a checkpoint file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fairseq.pt"
            self.save(path)
            found = read_fairseq(path)
        model = HubertObjective(Hubert(found.config), self.clusters, self.pretrain)
        model.hubert.load_state_dict(found.tensors)
        model.head.load_state_dict(found.head or {})
        return model
