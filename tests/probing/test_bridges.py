"""Each bridge does its work and is still needed; where `needed` fails, delete that bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from harness_bench.probing.s3prl import bridges

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.s3prl
# Every step fails without its bridge; prints the names of those that failed.
STEPS = """
import argparse, builtins, collections, io, json, sys, types
import numpy, soundfile, torch, torchaudio
wave = io.BytesIO()
soundfile.write(wave, numpy.zeros((160, 2), "float32"), 16000, format="WAV")
stored = io.BytesIO()
torch.save({"Args": argparse.Namespace(a=1)}, stored)

def hub_names():
    import s3prl.run_downstream

def checkpoint_arguments():
    stored.seek(0)
    torch.load(stored)

def audio_by_soundfile():
    wave.seek(0)
    samples, rate = torchaudio.load(wave)
    assert (samples.shape, samples.dtype, rate) == ((2, 160), torch.float32, 16000)

def plain_isinstance():
    import s3prl.utility.helper
    s3prl.utility.helper.hack_isinstance()
    assert isinstance(collections.defaultdict(list), dict)

def no_gpu_to_choose():
    torch.cuda.set_device(0)

def plain_ddp():
    from harness_bench.probing.s3prl import bridges
    bridges.hub_names()  # another bridge's matter
    from s3prl.downstream.runner import Runner
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    runner = types.SimpleNamespace(
        args=argparse.Namespace(local_rank=0), _load_weight=lambda *given: None
    )
    model = Runner._init_model(runner, torch.nn.BatchNorm1d(2), "Head", True).model
    assert not model.will_sync_module_buffers()

failed = []
for step in (hub_names, checkpoint_arguments, audio_by_soundfile, plain_isinstance,
             no_gpu_to_choose, plain_ddp):
    try:
        step()
    except Exception as error:
        failed.append(step.__name__)
print(json.dumps(failed))
"""
NAMES = [
    "hub_names", "checkpoint_arguments", "audio_by_soundfile", "plain_isinstance",
    "no_gpu_to_choose", "plain_ddp",
]  # fmt: skip


@pytest.fixture(scope="module")
def failed_without(printed_json: Callable[[str], Any]) -> list[str]:
    """Return the steps that fail when no bridge is there."""
    return list(printed_json(STEPS))


@pytest.mark.parametrize("name", NAMES)
def test_needed(name: str, failed_without: list[str]) -> None:
    """A library that came back to what s3prl expects makes its bridge dead code."""
    if name == "no_gpu_to_choose" and torch.cuda.is_available():
        pytest.skip("there is a GPU here to choose")
    assert name in failed_without


def test_every_bridge_has_its_step() -> None:
    """A bridge without one would stay for ever."""
    functions = {
        name
        for name, value in vars(bridges).items()
        if getattr(value, "__module__", "") == bridges.__name__ and callable(value)
    }
    found = {name for name in functions if name[0] != "_" and not name.startswith("apply")}
    assert found == {*NAMES, "light_optimizers"}  # the last saves time: test_light_start.py


def test_with_all_bridges_every_step_works(printed_json: Callable[[str], Any]) -> None:
    """The same steps, bridged, with the light hub."""
    imports = "from harness_bench.probing.s3prl import bridges, hook"
    assert printed_json(f"{imports}\nhook.activate()\nbridges.apply()\n{STEPS}") == []
