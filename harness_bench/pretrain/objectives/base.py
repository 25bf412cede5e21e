"""The seam of pretraining objectives: one file in this folder, named as `objective` says.

It sets `OBJECTIVE` to a subclass of `Objective`; trainer, log, states and checkpoints know nothing
else of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, override

from pydantic.dataclasses import dataclass
from torch import nn

from harness_bench.core.config import STRICT, build
from harness_bench.core.registry import attribute
from harness_bench.pretrain.config import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness_bench.models.hubert import Hubert
    from harness_bench.pretrain.config import IterationConfig, PretrainConfig
    from harness_bench.pretrain.data.batches import MaskedBatch


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoOptions:
    """The options of an objective that has none beside `PretrainConfig`."""


class Objective(nn.Module, ABC):
    """Backbone and head in one module, so that one wrapper synchronises all gradients.

    Args:
        hubert: the backbone; it is exported, the rest of the module goes beside it.
        clusters: number of label classes.
        config: settings of the training.
        options: the iteration's `objective_options`, checked against `Options`.
    """

    Options: ClassVar[type] = NoOptions  # config dataclass of `objective_options`
    needs_labels: ClassVar[bool] = True  # False: `labels.source` must be "none"

    def __init__(
        self,
        hubert: Hubert,
        clusters: int,
        config: PretrainConfig,
        options: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        self.hubert, self.clusters, self.config = hubert, clusters, config
        self.options: Any = build(self.Options, options or {}, source="objective_options")
        hubert.feature_grad_mult = config.feature_grad_mult
        if config.feature_grad_mult == 0:
            # Without gradients AdamW leaves them alone, weight decay included, and so does DDP.
            hubert.feature_extractor.requires_grad_(requires_grad=False)
        self.build_head()

    @abstractmethod
    def build_head(self) -> None:
        """Make what is trained beside the backbone; `__init__` calls it at its end."""

    @abstractmethod
    @override
    def forward(self, batch: MaskedBatch) -> dict[str, Tensor]:
        """Return sums over one batch by name: scalars, the same names for every batch."""

    def evaluate(self, batch: MaskedBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what `forward` does, and labels by name, for validation in eval mode.

        The labels, (B, F) int64 below `clusters`, are compared with known units of speech where
        dev has some: their PNMI is logged under their name. None by default.
        """
        return self(batch), {}

    def counts(self, batch: MaskedBatch) -> Tensor:
        """Return what the loss is divided by, (n,) int64: masked and unmasked labelled frames.

        They are summed over ranks and accumulated batches before the first backward pass.
        """
        return batch.counts

    @abstractmethod
    def loss(self, sums: Mapping[str, Tensor], local: Tensor, total: Tensor, ranks: int) -> Tensor:
        """Return the loss whose gradients, averaged over ranks and added over batches, are exact.

        Args:
            sums: of this batch on this rank.
            local: (n,) its `counts`.
            total: (n,) the same over all ranks and all batches of the update.
            ranks: gradients are averaged over so many ranks.
        """

    @abstractmethod
    def figures(
        self, sums: Mapping[str, float], counts: list[float], batches: float
    ) -> dict[str, float]:
        """Return what one line of the log says, `loss_masked` among it.

        Args:
            sums: over all updates since the last line and all ranks, or over all of dev where
                the module is in eval mode.
            counts: (n,) the same of `counts`.
            batches: number of batches in them.
        """

    @property
    def chance(self) -> float | None:
        """Return the `loss_masked` of guessing, for the guard against divergence; None: none."""
        return None

    def head_tensors(self) -> dict[str, Tensor]:
        """Return what is exported beside the backbone, in pretraining_head.safetensors."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("hubert.")}

    def after_update(self) -> None:
        """Do what follows an optimizer step, such as moving an averaged teacher."""


def objective_class(step: IterationConfig) -> type[Objective]:
    """Return the objective that an iteration names, its options and labels checked.

    Raises:
        ValueError: options that the objective does not have, or labels that do not fit it.
    """
    kind: type[Objective] = attribute(f"{OBJECTIVES}.{step.objective}", "OBJECTIVE")
    source = f"iteration {step.name!r}: objective_options"
    build(kind.Options, dict(step.objective_options), source=source)
    if kind.needs_labels == (step.labels.source == "none"):
        needed = 'labels: source = "mfcc" or "hidden"' if kind.needs_labels else 'source = "none"'
        raise ValueError(
            f"iteration {step.name!r}: objective {step.objective!r} needs {needed} in [labels]; "
            f"it is {step.labels.source!r}"
        )
    return kind
