"""Trainings for test_resume.py, many in one process: `python resume_runs.py CUTS CHECKPOINT OUT`.

Each scenario trains without a break, and again with a break and a resume; prints as JSON what
differs. Run as a program, because s3prl patches and is patched; under torchrun it trains in several
processes.
"""

import argparse
import json
import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, override

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from harness_bench import run_downstream
from harness_bench.probing.head.data import LabelledUtterance, collate
from harness_bench.probing.head.expert import ClassifierExpert
from harness_bench.probing.s3prl import resume

LAST, CUT = 16, 10  # cut while step 10 is logged: the checkpoint before is that of step 8
SETTINGS = [
    f"config.runner.total_steps={LAST}", "config.runner.eval_step=3", "config.runner.log_step=5",
    "config.runner.save_step=4", "config.runner.max_keep=1",
]  # fmt: skip
DATA = "config.downstream_expert.datarc"
SCHEDULE = "config.scheduler={'name': 'linear_schedule_with_warmup', 'num_warmup_steps': 4}"
FBANK = ["-u", "fbank_cached"]
NO_DROPOUT = "config.downstream_expert.modelrc.dropout=0.0"
LOGGED = {"metrics.jsonl", "predictions.dev.jsonl", "classes.json"}


class Cut(Exception):  # noqa: N818 - stands for a power cut
    """The training ends here."""


class Noisy(Dataset[LabelledUtterance]):
    """A data set as s3prl's own: each item draws from all three random generators."""

    def __init__(self, clean: Dataset[LabelledUtterance]) -> None:
        self.clean = clean

    def __len__(self) -> int:
        return len(self.clean)  # type: ignore[arg-type]

    @override
    def __getitem__(self, index: int) -> LabelledUtterance:
        item = self.clean[index]
        level = random.random() + np.random.rand()  # noqa: NPY002 - what s3prl's tasks use
        noise = level * torch.randn(len(item.waveform))
        return item._replace(waveform=item.waveform + 0.1 * noise)


def foreign_loader(self: Any, split: str) -> DataLoader[Any]:
    """Stand in for the `get_dataloader` of a task of s3prl's: no epoch, nothing to skip by."""
    data = OWN_LOADER(self, split).dataset
    if split != "train":
        return DataLoader(data, batch_size=4, collate_fn=collate)
    workers = self.data.num_workers
    return DataLoader(
        Noisy(data), batch_size=4, shuffle=True, num_workers=workers, collate_fn=collate
    )


def cut_records(self: Any, split: str, **given: Any) -> list[str]:
    """Stand in for `log_records` of a run that is cut off."""
    if given["global_step"] == CUT:
        raise Cut
    return OWN_RECORDS(self, split, **given)


OWN_LOADER, OWN_RECORDS = ClassifierExpert.get_dataloader, ClassifierExpert.log_records


def train(out: Path, flags: Iterable[str], settings: Iterable[str]) -> None:
    """Run one command."""
    words = ["-m", "train", "-d", "keyword", "-p", str(out), "-a", *flags]
    sys.argv[1:] = [*words, "-o", ",,".join(settings)]
    run_downstream.main()


def train_with_a_break(out: Path, flags: Iterable[str], settings: Iterable[str]) -> None:
    """Run a command that is cut off, and the same command once more."""
    ClassifierExpert.log_records = cut_records  # type: ignore[assignment, method-assign]
    try:
        train(out, flags, settings)
    except Cut:
        pass
    finally:
        ClassifierExpert.log_records = OWN_RECORDS  # type: ignore[method-assign]
    assert [path.name for path in out.glob("states-*")] == ["states-8.ckpt"]
    train(out, flags, settings)


def differences(one: Path, other: Path) -> list[str]:
    """Name what differs between two experiment folders."""
    left, right = (load(folder / f"states-{LAST}.ckpt") for folder in (one, other))
    found = [key for key in left if key != "Args" and not equal(left[key], right.get(key))]
    return found + [
        name for name in sorted(LOGGED) if (one / name).read_bytes() != (other / name).read_bytes()
    ]


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint."""
    torch.serialization.add_safe_globals([argparse.Namespace])
    return dict(torch.load(path, weights_only=True))


def equal(left: Any, right: Any) -> bool:
    """Compare to the last bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def scenarios(harness: list[str]) -> dict[str, tuple[list[str], list[str]]]:
    """Return name -> (flags, settings)."""
    return {
        "scheduled": (harness, [SCHEDULE]),
        "workers, middle of an accumulated epoch": (
            FBANK,
            [f"{DATA}.num_workers=2", "config.runner.gradient_accumulate_steps=2"],
        ),
        "end of an epoch": (FBANK, ["config.runner.gradient_accumulate_steps=3"]),
        "fine-tuned, last layer, normed": (
            [*harness, "-f", "-s", "last_hidden_state"],
            ["config.downstream_expert.modelrc.input_norm=batch"],
        ),
        "foreign": (FBANK, []),
        "foreign, workers": (FBANK, [f"{DATA}.num_workers=2"]),
        "stock": (FBANK, []),
        "stock checkpoint": (FBANK, []),
    }


def main(cuts: Path, checkpoint: Path, out: Path) -> dict[str, Any]:
    """Run all scenarios in this process; return what differs, and what was said."""
    from s3prl.downstream.runner import Runner  # noqa: PLC0415 - after the hook

    exact, found = Runner.train, {}
    said: list[str] = []
    vars(resume)["say"] = said.append
    for name, (flags, settings) in scenarios(
        ["-u", "harness_local", "-k", str(checkpoint)]
    ).items():
        settings = [f"{DATA}.cuts={cuts}", *SETTINGS, *settings]  # noqa: PLW2901
        if name.startswith("foreign"):
            ClassifierExpert.get_dataloader = foreign_loader  # type: ignore[assignment, method-assign]
        if name.startswith("stock"):
            Runner.train = exact.__wrapped__
        one, other = out / name / "one", out / name / "other"
        if name == "stock checkpoint":
            train(one, flags, [*settings, "config.runner.total_steps=4"])
            Runner.train = exact
            train(one, flags, settings)
        else:
            train(one, flags, settings)
            train_with_a_break(other, flags, settings)
            found[name] = differences(one, other)
        ClassifierExpert.get_dataloader = OWN_LOADER  # type: ignore[method-assign]
        Runner.train = exact
    train(out / "alone", FBANK, [f"{DATA}.cuts={cuts}", *SETTINGS, NO_DROPOUT])
    return {"found": found, "said": said}


def main_of_rank(cuts: Path, out: Path) -> dict[str, Any]:
    """Run as one of two processes; the first returns what differs."""
    settings = [f"{DATA}.cuts={cuts}", *SETTINGS, f"{DATA}.train_batch_size=2"]
    for folder, more in (
        ("shared", [NO_DROPOUT]),
        ("one", []),
        ("other", ["config.runner.total_steps=8"]),
        ("other", []),
    ):
        train(out / folder, FBANK, [*settings, *more])
        torch.distributed.barrier()  # the first one still evaluates and saves
        # One group for all trainings: torch cannot make a second one safely.
        torch.distributed.init_process_group = lambda *_: None
    torch.distributed.destroy_process_group()
    sys.argv[1:] = ["-m", "evaluate", "-t", "test", "-e", str(out / "shared")]
    run_downstream.main()  # ends all processes but the first
    return {"found": differences(out / "one", out / "other")}


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = [Path(word) for word in sys.argv[1:]]
    answer = main_of_rank(*given) if "LOCAL_RANK" in os.environ else main(*given)
    print(json.dumps(answer))  # noqa: T201 - what the test reads
