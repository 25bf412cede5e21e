"""Which checkpoint a run is taken up from: never a broken one, and never silently another."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness_bench.core.config import read_yaml
from harness_bench.probing.s3prl.arguments import make_parser, packaged_config
from harness_bench.probing.s3prl.checkpoints import (
    choose,
    is_whole,
    load_states,
    newest_whole,
    prune,
    states,
)

RUN = ["-m", "train", "-u", "fbank", "-d", "ser"]


def make_checkpoint(folder: Path, step: int, *words: str, **more: Any) -> Path:
    """Write a checkpoint as s3prl names it, of the command `RUN` with more words."""
    path = folder / f"states-{step}.ckpt"
    given = make_parser().parse_args([*RUN, "-p", str(folder), *words])
    config = read_yaml(packaged_config("ser"))
    state = {"Step": step, "weights": torch.arange(1000), "Args": given, "Config": config}
    torch.save(state | more, path)
    return path


def test_order_is_by_step(tmp_path: Path) -> None:
    """As text, 10 stands before 9."""
    made = [make_checkpoint(tmp_path, step) for step in (9, 10, 100)]
    assert states(tmp_path) == made
    assert newest_whole(tmp_path) == choose(tmp_path) == made[-1]


@pytest.mark.parametrize("kept", [0, 1, 100, 4000, -1])
def test_truncated_files_are_broken(kept: int, tmp_path: Path) -> None:
    """A killed write without our rename leaves a file of any length."""
    path = make_checkpoint(tmp_path, 5)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert not is_whole(path)


def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    """A power cut can leave a block of zeros inside a file of the right length."""
    path = make_checkpoint(tmp_path, 5)
    data = bytearray(path.read_bytes())
    place = data.index(torch.arange(1000).numpy().tobytes()[64:128])
    data[place : place + 64] = bytes(64)
    path.write_bytes(data)
    assert not is_whole(path)


def test_old_format_passes(tmp_path: Path) -> None:
    """Heads that s3prl's users trained years ago have no checksums; torch reads them."""
    path = tmp_path / "states-1.ckpt"
    torch.save({"Step": 1}, path, _use_new_zipfile_serialization=False)
    assert choose(path) == path


def test_a_broken_file_is_refused_and_a_whole_one_named(tmp_path: Path) -> None:
    """Who names a file wants that file: the nearest is offered, not taken."""
    with pytest.raises(ValueError, match="no whole checkpoint"):
        choose(tmp_path)
    make_checkpoint(tmp_path, 5)
    broken = make_checkpoint(tmp_path, 6)
    broken.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"states-6.ckpt is broken.*states-5.ckpt is whole"):
        choose(broken)


def test_prune_keeps_the_newest_and_sweeps_up(tmp_path: Path) -> None:
    """One is always kept, whatever the number."""
    made = [make_checkpoint(tmp_path, step) for step in (8, 9, 10)]
    (tmp_path / ".partial-abc.ckpt").touch()
    (tmp_path / "dev-best.ckpt").touch()
    prune(tmp_path, 2)
    assert states(tmp_path) == made[1:]
    prune(tmp_path, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"states-10.ckpt", "dev-best.ckpt"}


def test_arguments_are_read_and_no_other_object(tmp_path: Path) -> None:
    """s3prl keeps its parsed arguments beside the weights; a stranger's file may name anything."""
    torch.save({"Args": Namespace(upstream="fbank")}, tmp_path / "states-1.ckpt")
    assert load_states(tmp_path / "states-1.ckpt")["Args"].upstream == "fbank"
    torch.save({"Args": Path("fbank")}, tmp_path / "states-2.ckpt")
    with pytest.raises(Exception, match="Unsupported global"):
        load_states(tmp_path / "states-2.ckpt")
