"""Where a run computes: Lightning Fabric set up for CPU, one GPU, torchrun or SLURM."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.fabric import Fabric


def make_fabric(
    *, precision: str = "32-true", accelerator: str = "auto", devices: int | None = None
) -> Fabric:
    """Launch Fabric.

    Args:
        precision: "32-true" or "bf16-mixed".
        accelerator: "auto" takes GPUs where there are any, else the CPU; or "cpu", "cuda".
        devices: ranks on this machine; None takes all GPUs, one rank on CPU. Under torchrun or
            SLURM the launcher's ranks are used.
    """
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    from lightning.fabric import Fabric  # noqa: PLC0415 - seconds to import
    from lightning.fabric.accelerators import CUDAAccelerator  # noqa: PLC0415

    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not CUDAAccelerator.is_available())
    fabric = Fabric(
        accelerator="cpu" if on_cpu else accelerator,
        devices=devices if devices is not None else (1 if on_cpu else "auto"),
        precision=precision,
    )
    # Batches come with their rank's share already; Fabric need not wrap a loader.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    fabric.launch()
    return fabric
