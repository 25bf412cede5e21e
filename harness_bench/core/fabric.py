"""Where a run computes: Lightning Fabric set up for CPU, one GPU, torchrun or SLURM."""

from __future__ import annotations

import logging
import os
import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from harness_bench.core.process import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning.fabric import Fabric


PATIENCE = timedelta(days=2)  # how long a rank waits for the others


class Layout(NamedTuple):
    """Ranks on each machine, and machines."""

    devices: int
    nodes: int


def launched(environment: Mapping[str, str]) -> Layout | None:
    """Read from the environment how torchrun or SLURM started us; None where neither did.

    SLURM tasks of unequal number per node are a ValueError.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        local = int(environment["LOCAL_WORLD_SIZE"])
        return Layout(local, int(environment["WORLD_SIZE"]) // local)
    # An interactive shell on a cluster has SLURM_NTASKS too, but is not a task of srun.
    if "SLURM_NTASKS" in environment and "SLURM_PROCID" in environment:
        tasks, nodes = int(environment["SLURM_NTASKS"]), int(environment["SLURM_NNODES"])
        if tasks % nodes:
            raise ValueError(
                f"SLURM started {tasks} tasks on {nodes} nodes; ask for the same number on each "
                "(--ntasks-per-node), one per GPU."
            )
        return Layout(tasks // nodes, nodes)
    return None


def check_device(device: str, said: str = "") -> None:
    """Refuse a device that torch does not know or that is not here; `said` is what asked for it."""
    import torch  # noqa: PLC0415 - seconds to import

    said = said or f"--device {device}"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{said}: expected cpu, cuda or cuda:NUMBER.") from error
    count = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= count:
        raise ValueError(
            f"{said}: torch sees {count or 'no'} GPU{'s' * (count > 1)} here; "
            "`harness-bench doctor` tells more."
        )


def make_fabric(
    *,
    precision: str = "32-true",
    accelerator: str = "auto",
    devices: int | None = None,
    unused_parameters: bool = False,
) -> Fabric:
    """Launch Fabric; `devices` that contradict the launcher are a ValueError.

    Args:
        precision: "32-true" or "bf16-mixed".
        accelerator: "auto" takes GPUs where there are any, else the CPU; or "cpu", "cuda".
        devices: ranks on this machine; None: the launcher's, or all GPUs, or one rank on CPU.
        unused_parameters: some updates leave parameters without gradients (layer drop).
    """
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    from lightning.fabric import Fabric  # noqa: PLC0415 - seconds to import
    from lightning.fabric.accelerators import CUDAAccelerator  # noqa: PLC0415
    from lightning.fabric.strategies import DDPStrategy  # noqa: PLC0415

    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not CUDAAccelerator.is_available())
    layout = launched(os.environ)
    if accelerator == "cuda":
        last = devices - 1 if devices and layout is None else 0
        check_device(f"cuda:{last}", f"--accelerator cuda, --devices {devices or 'all'}")
    if layout is not None and devices not in (None, layout.devices):
        raise ValueError(
            f"--devices {devices}, but the launcher started {layout.devices} ranks on this "
            "machine; leave --devices out under torchrun and SLURM."
        )
    if layout is None:
        layout = Layout(devices or (1 if on_cpu else CUDAAccelerator.auto_device_count()), 1)
    strategy = DDPStrategy(
        # Counts and random states are summed and gathered where they are, on the CPU too.
        process_group_backend="gloo" if on_cpu else "cpu:gloo,cuda:nccl",
        # Preparing a corpus or waiting for another process's labels takes hours, not minutes.
        timeout=PATIENCE,
        find_unused_parameters=unused_parameters,
        gradient_as_bucket_view=True,  # no second copy of all gradients
    )
    # Lightning's advice where SLURM is installed and one process is wanted.
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    # Batches come with their rank's share already; Fabric need not wrap a loader.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    fabric = Fabric(
        accelerator="cpu" if on_cpu else accelerator,
        devices=layout.devices,
        num_nodes=layout.nodes,
        strategy=strategy if layout.devices * layout.nodes > 1 else "auto",
        precision=precision,
    )
    if "LOCAL_RANK" in os.environ and launched(os.environ) is None:
        die_with_parent()  # this rank was started by the first one, without which it is lost
    fabric.launch()
    return fabric
