"""Where a training's figures are shown while it runs: TensorBoard, and Weights & Biases."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol

from harness_bench.core.config import resolved
from harness_bench.core.extras import require
from harness_bench.core.files import read_json, write_json
from harness_bench.core.log import say
from harness_bench.pretrain.state import WANDB_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.state import Run

TENSORBOARD = "tensorboard"  # folder of its events, within the run's
# Seconds that Weights & Biases may take at the end: a cluster grants some 120 after its SIGTERM.
_FINISH = 60.0


class FigureBoard(Protocol):
    """What shows figures."""

    def add(self, figures: Mapping[str, float], update: int) -> None:
        """Show figures by name, of the updates up to this one."""

    def close(self) -> None:
        """Write out what is still held."""


class TensorBoard:
    """TensorBoard's event files; those behind the last update done are hidden."""

    def __init__(self, run: Run) -> None:
        from tensorboardX import SummaryWriter  # noqa: PLC0415 - slow to import

        folder = str(run.out / TENSORBOARD)
        self.writer: Any = SummaryWriter(folder, purge_step=run.progress.update + 1)

    def add(self, figures: Mapping[str, float], update: int) -> None:
        """Show figures by name."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, update)

    def close(self) -> None:
        """Write out what is still held."""
        try:
            self.writer.close()
        except OSError as error:  # a full disk, which another message names
            say(f"TensorBoard lacks its last figures: {error}")


class WeightsAndBiases:
    """A run of Weights & Biases, the same one for a training that is resumed.

    A training goes on without it where it fails: a SIGTERM to the whole job ends its process too.

    Raises:
        ValueError: the first start of a training fails, such as for want of a login.
    """

    def __init__(self, run: Run, project: str) -> None:
        import wandb  # noqa: PLC0415 - slow to import

        note = run.out / WANDB_FILE
        known = read_json(note) if note.is_file() else {}
        resumed = known.get("project") == project
        name = known["id"] if resumed else secrets.token_hex(4)
        config = {**resolved(run.step), "ranks": run.fabric.world_size, "hours": run.hours}
        self.run: Any = None
        try:
            settings = wandb.Settings(console="off", silent=True, finish_timeout=_FINISH)
            self.run = wandb.init(
                project=project, id=name, name=run.step.name, dir=run.out, resume="allow",
                config=config, settings=settings,
            )  # fmt: skip
            # Updates that are done again after a resume stand beside the first, at their place.
            self.run.define_metric("*", step_metric="update")
        except Exception as error:
            if not resumed:
                raise ValueError(
                    f"wandb_project = {project!r}: Weights & Biases does not start ({error}). Run "
                    "`wandb login`, or set WANDB_MODE=offline and `wandb sync` later."
                ) from error
            self._leave(error)
            return
        write_json(note, {"project": project, "id": name})
        say(f"Weights & Biases: {self.run.dir if self.run.offline else self.run.url}")

    def add(self, figures: Mapping[str, float], update: int) -> None:
        """Show figures by name."""
        try:
            if self.run is not None:
                self.run.log({**figures, "update": update})
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._leave(error)

    def close(self) -> None:
        """Send what is still held."""
        try:
            if self.run is not None:
                self.run.finish()
        except Exception as error:  # noqa: BLE001 - as above
            self._leave(error)

    def _leave(self, error: Exception) -> None:
        say(f"Weights & Biases fails and is left out until a resume ({error!r})")
        self.run = None


def check_boards(config: PretrainConfig) -> None:
    """Refuse a board whose package is missing: a `ValueError` that says how to install it."""
    if config.wandb_project is not None:
        require("wandb", f"wandb_project = {config.wandb_project!r}")


def open_boards(run: Run) -> list[FigureBoard]:
    """Open the boards that a training asks for; ranks but the first have none."""
    check_boards(run.config)
    if run.fabric.global_rank:
        return []
    boards: list[FigureBoard] = [TensorBoard(run)] if run.config.tensorboard else []
    project = run.config.wandb_project
    return boards if project is None else [*boards, WeightsAndBiases(run, project)]
