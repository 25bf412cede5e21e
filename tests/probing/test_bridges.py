"""Each bridge does its work and is still needed; where `needed` fails, delete that bridge."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from harness_bench.probing.s3prl import bridges
from tests.probing.conftest import Python

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

def audio_without_torchcodec():
    wave.seek(0)
    samples, rate = torchaudio.load(wave)
    assert (samples.shape, samples.dtype, rate) == ((2, 160), torch.float32, 16000)

def no_audio_backend_to_choose():
    torchaudio.set_audio_backend("sox_io")  # as the original s3prl's command does

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
for step in [value for value in vars().values() if isinstance(value, types.FunctionType)]:
    try:
        step()
    except Exception:
        failed.append(step.__name__)
print(json.dumps(failed))
"""
NAMES = re.findall(r"^def (\w+)", STEPS, re.MULTILINE)
OPTIMIZERS = """
import json, sys
import torch
if sys.argv[1] == "light":
    from harness_bench.probing.s3prl.bridges import light_optimizers
    light_optimizers()
    light_optimizers()
found = {}
for name, options in {
    "Adam": {"fused": True}, "AdamW": {"weight_decay": 0.1}, "SGD": {"momentum": 0.9},
    "LBFGS": {"max_iter": 3}, "RMSprop": {}, "Adagrad": {},
}.items():
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 3)
    steps = []
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, **options)
    optimizer.register_step_post_hook(lambda *_: steps.append(torch.is_grad_enabled()))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    x = torch.randn(4, 5)
    def closure():
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        return loss
    for _ in range(4):
        if name == "LBFGS":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        schedule.step()
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    values = [parameter.tolist() for parameter in model.parameters()]
    found[name] = [values, repr(state), steps, torch.is_grad_enabled()]
found["compiler"] = "torch._dynamo" in sys.modules
print(json.dumps(found))
"""


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
    assert found == {*NAMES, "light_optimizers"}  # the last saves time, see below


def test_with_all_bridges_every_step_works(printed_json: Callable[[str], Any]) -> None:
    """The same steps, bridged, with the light hub."""
    imports = "from harness_bench.probing.s3prl import bridges, hook"
    assert printed_json(f"{imports}\nhook.activate()\nbridges.apply()\n{STEPS}") == []


def test_optimizers_do_the_same_without_the_compiler(python: Python) -> None:
    """Steps, states and hooks to the bit. Delete the bridge when torch itself is as light."""
    light, stock = (json.loads(python("-c", OPTIMIZERS, name)) for name in ("light", "stock"))
    assert (light.pop("compiler"), stock.pop("compiler")) == (False, True)
    assert light == stock
