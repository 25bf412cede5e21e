"""Classify audio files with a trained head by s3prl's inference."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness_bench.core.extras import require
from harness_bench.core.files import check_given, read_json, write_json
from harness_bench.models.hub import locate, source_of
from harness_bench.probing.grid import GRID
from harness_bench.probing.head.config import BEST, CLASSES
from harness_bench.probing.probe import OUTCOME
from harness_bench.probing.s3prl.checkpoints import load_states
from harness_bench.probing.s3prl.hook import activate
from harness_bench.probing.s3prl.past import refuse_other_upstream


@dataclass(frozen=True)
class Answer:
    """One file's probability of each class, or why there is none."""

    file: Path
    probs: dict[str, float]  # most probable class first; empty where it could not be read
    problem: str = ""

    @property
    def label(self) -> str:
        """The most probable class."""
        return next(iter(self.probs), "")


def find_checkpoint(probe: Path) -> Path:
    """Return the head's checkpoint of a probe; none there is a ValueError.

    `probe` is the checkpoint itself, s3prl's experiment folder, or a folder of `run_probe` or of
    `run_grid`, whose best trial is taken.
    """
    check_given(probe, "Head", "file or folder")
    if probe.is_file():
        return probe
    if (probe / BEST).is_file():
        return probe / BEST
    for name in (GRID, OUTCOME):
        if (probe / name).is_file():
            found = Path(str(read_json(probe / name)["checkpoint"]))
            # A folder that was moved as a whole holds the same checkpoint at the same place in it.
            parts = found.parts
            moved = (probe.joinpath(*parts[at:]) for at in range(len(parts) - 1, 0, -1))
            if (there := next(filter(Path.is_file, (found, *moved)), None)) is not None:
                return there
    raise ValueError(
        f"{probe} holds no trained head: expected {BEST}, an experiment folder of "
        "`python -m harness_bench.run_downstream`, or the folder of `harness-bench probe` with "
        "`--head cnn`, its default. `--head linear` and knn keep their scores, not the head."
    )


def open_runner(checkpoint: Path, folder: Path, upstream_checkpoint: Path | None) -> Any:
    """Make s3prl's runner with the weights of a checkpoint, its models in eval mode."""
    require("s3prl")
    activate()
    from s3prl.downstream.runner import Runner  # noqa: PLC0415 - heavy, and only once activated

    state = load_states(checkpoint)
    classes = state["Downstream"].get("_extra_state", {}).get("classes")
    if classes is None:
        raise ValueError(f"{checkpoint} is no head of this project's tasks: it names no classes.")
    # The experiment may have moved, and its cuts may be gone: the checkpoint alone must suffice.
    write_json(folder / CLASSES, classes)
    settings = vars(state["Args"]) | {
        "mode": "inference", "expdir": str(folder), "init_ckpt": str(checkpoint),
        "device": "cpu", "local_rank": None,
    }  # fmt: skip
    if upstream_checkpoint is not None:
        settings["upstream_ckpt"] = str(upstream_checkpoint)
    kept = settings.get("upstream_ckpt")
    if kept is not None and not (Path(kept).exists() or source_of(Path(kept))):
        raise ValueError(
            f"The upstream's checkpoint {kept} of {checkpoint} was moved or deleted; give its "
            "path with --upstream-checkpoint."
        )
    arguments = argparse.Namespace(**settings)
    way_out = "Give that one with --upstream-checkpoint, or train a head on this one."
    refuse_other_upstream(state, arguments, checkpoint, way_out=way_out)
    runner = Runner(arguments, state["Config"])
    for entry in runner.all_entries:
        entry.model.eval()
    return runner


def predict(
    probe: str | Path,
    audio: str | Path | Iterable[str | Path],
    *,
    upstream_checkpoint: str | Path | None = None,
) -> Iterator[Answer]:
    """Classify audio files one by one, in order; yield an answer for each.

    Args:
        probe: folder of `probe` or its checkpoint, see `find_checkpoint`. A head of another
            project's task, or one trained on another upstream, is a ValueError.
        audio: a file, or files, of any length, sampling rate and number of channels; no folders.
            For a file that is unreadable, truncated, too short, empty or not finite, the answer
            contains the reason; the others are not affected.
        upstream_checkpoint: path of the upstream's checkpoint, if it was moved.
    """
    import torch  # noqa: PLC0415 - heavy

    with tempfile.TemporaryDirectory() as folder:
        # s3prl prints its progress on standard output, which is for answers alone.
        with redirect_stdout(sys.stderr):
            moved = None if upstream_checkpoint is None else locate(upstream_checkpoint)
            runner = open_runner(find_checkpoint(Path(probe)), Path(folder), moved)
        expert = runner.downstream.model
        for path in map(Path, [audio] if isinstance(audio, str | Path) else audio):
            try:
                wav = expert.load_audio(path).view(-1)
                with torch.inference_mode():
                    features = runner.upstream.model([wav])
                    features = runner.featurizer.model([wav], features)
                    (probs,) = expert.probabilities(features, [len(wav)])
            except (ValueError, RuntimeError) as error:  # models raise the last
                told = getattr(error, "detail", str(error))  # the file's name stands beside it
                yield Answer(path, {}, " ".join(told.split()) or type(error).__name__)
            else:
                yield Answer(path, probs)
