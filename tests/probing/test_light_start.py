"""Optimizers without the compiler: lighter, and the same to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.probing.conftest import Python

CODE = """
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
def found(python: Python) -> dict[str, Any]:
    """Run the same steps with and without, each in a process of its own."""
    import json  # noqa: PLC0415 - here alone

    return {name: json.loads(python("-c", CODE, name)) for name in ("light", "stock")}


def test_the_compiler_is_not_imported(found: dict[str, Any]) -> None:
    """Delete the module when torch itself no longer imports it."""
    assert not found["light"].pop("compiler")
    assert found["stock"].pop("compiler"), "torch no longer needs this: delete light_start"


def test_steps_states_and_hooks_are_the_same(found: dict[str, Any]) -> None:
    for name in ("Adam", "AdamW", "SGD", "LBFGS", "RMSprop", "Adagrad"):
        assert found["light"][name] == found["stock"][name], name
