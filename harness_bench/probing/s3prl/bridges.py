"""What today's libraries took from under s3prl's runner, put back one small function each.

A test per bridge fails once s3prl works without it; then delete both.
"""

import argparse
import functools
import importlib.util
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from harness_bench.audio.base import AudioFault, Fault
from harness_bench.audio.io import open_audio


def apply() -> None:
    """Apply every bridge that s3prl's modules need before they are imported; safe to call twice."""
    hub_names()
    checkpoint_arguments()
    plain_isinstance()
    no_audio_backend_to_choose()
    audio_without_torchcodec()
    no_gpu_to_choose()
    light_optimizers()


def hub_names() -> None:
    """huggingface_hub 1.0 dropped two names that s3prl imports and uses only when pushing."""
    import huggingface_hub  # noqa: PLC0415 - heavy

    for name in ("HfFolder", "Repository"):
        if not hasattr(huggingface_hub, name):
            setattr(huggingface_hub, name, type(name, (_Gone,), {}))


class _Gone:
    """Stand-in for a class that a library dropped: says so when it is used."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.get_token()

    @classmethod
    def get_token(cls, *_: Any) -> NoReturn:
        raise ValueError(
            f"huggingface_hub.{cls.__name__} no longer exists, so s3prl cannot push to or log in "
            "to the Hugging Face Hub. Leave out --push_to_hf_hub and --hub huggingface, and upload "
            "the experiment folder with `hf upload`."
        )

    save_token = get_token


def checkpoint_arguments() -> None:
    """Torch reads weights only since 2.6; s3prl's checkpoints also hold the parsed arguments."""
    torch.serialization.add_safe_globals([argparse.Namespace])


def plain_isinstance() -> None:
    """s3prl replaces `isinstance` for torch < 1.8, which corrupts pandas frames: do not."""
    import s3prl.utility.helper  # noqa: PLC0415 - heavy

    s3prl.utility.helper.hack_isinstance = _do_nothing


def no_audio_backend_to_choose() -> None:
    """The original s3prl chooses torchaudio's backend; since 2.9 torchaudio has none to choose."""
    import torchaudio  # noqa: PLC0415 - heavy

    if not hasattr(torchaudio, "set_audio_backend"):
        torchaudio.set_audio_backend = _do_nothing


def audio_without_torchcodec() -> None:
    """Since 2.9 torchaudio reads audio by torchcodec alone: without that, by our reader."""
    if importlib.util.find_spec("torchcodec") is None:
        import torchaudio  # noqa: PLC0415 - heavy

        torchaudio.load = _load


def _load(source: Any, **_: Any) -> tuple[torch.Tensor, int]:
    """Read a file as `torchaudio.load` does: (channels, samples) float32 and the rate in Hz."""
    with open_audio(source) as recording:
        if recording.header.lacking:
            raise AudioFault(Fault.CUT_OFF, recording.header.lacking, source)
        return torch.from_numpy(recording.read().T.copy()), recording.header.sampling_rate


def no_gpu_to_choose() -> None:
    """s3prl chooses a GPU for each of several processes, also where there is none."""
    if not torch.cuda.is_available():
        torch.cuda.set_device = _do_nothing  # type: ignore[assignment]


def _do_nothing(*_: Any) -> None:
    """Stand in for a function that must not do its work."""


def plain_ddp(runner_module: Any) -> None:
    """s3prl wraps models for several processes so that today's torch refuses or gets stuck.

    With `device_ids` torch refuses models on the CPU, and on a GPU it copies the records that the
    loss is gathered in, so that they stay empty. With buffers broadcast, the first rank, which
    alone evaluates, waits for the others after their last step.
    """
    from torch.nn.parallel import DistributedDataParallel  # noqa: PLC0415 - heavy

    def wrap(model: Any, **options: Any) -> DistributedDataParallel:
        return DistributedDataParallel(
            model, find_unused_parameters=options["find_unused_parameters"], broadcast_buffers=False
        )

    runner_module.DDP = wrap


def light_optimizers() -> None:
    """Torch's optimizers import its compiler, a third of a short run, to say that there is none.

    Where torch is built in another way than this expects, it stays as it is.
    """
    # Where torch remembers what to call in place of a function that the compiler must not see.
    remembered = "__dynamo_disable"
    found = (kind for kind in vars(torch.optim).values() if isinstance(kind, type))
    for kind in {kind for kind in found if issubclass(kind, torch.optim.Optimizer)}:
        for name, member in [*vars(kind).items()]:
            plain = getattr(member, "__wrapped__", None)
            # Once an optimizer was made, its class's step is another wrapper: too late then.
            if plain is None or hasattr(member, "hooked"):
                continue
            if name == "step":
                kind.step = _without_gradients(member, plain)  # type: ignore[method-assign]
            elif not hasattr(plain, remembered):
                setattr(plain, remembered, plain)


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
