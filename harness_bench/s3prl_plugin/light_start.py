"""Optimizers without torch's compiler, whose import is a third of a probe's start.

Torch's optimizers import `torch._dynamo` (2 CPU-seconds) at their first call, only to tell a
compiler that is not there to leave them alone. Nothing is compiled in s3prl's processes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

# Where torch remembers what to call in place of a function that the compiler must not see.
_REMEMBERED = "__dynamo_disable"


def optimizers_without_compiler() -> None:
    """Let torch's optimizers step without importing the compiler; a second call does nothing.

    Where torch is built in another way than this expects, it stays as it is.
    """
    for kind in {torch.optim.Optimizer, *_optimizers()}:
        for name, member in [*vars(kind).items()]:
            plain = getattr(member, "__wrapped__", None)
            # Once an optimizer was made, its class's step is another wrapper: too late then.
            if plain is None or hasattr(member, "hooked"):
                continue
            if name == "step":
                kind.step = _without_gradients(member, plain)
            elif not hasattr(plain, _REMEMBERED):
                setattr(plain, _REMEMBERED, plain)


def _optimizers() -> list[Any]:
    """Return torch's own optimizers."""
    kinds = [kind for kind in vars(torch.optim).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, torch.optim.Optimizer)]


def _without_gradients(full: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step as torch's own decorator makes it, but for its word to the compiler."""

    @functools.wraps(full)
    def step(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.defaults.get("differentiable"):
            return full(self, *arguments, **options)
        with torch.no_grad():
            return plain(self, *arguments, **options)

    del step.__wrapped__
    return step
