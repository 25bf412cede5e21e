"""Libraries that are optional, what each serves, and the command that installs it.

This is the only place that says so: `require` stands before the first use of an optional library,
early enough that nothing has been written or computed; `doctor` lists the extras. Importing this
module imports none of them.
"""

import importlib
import importlib.metadata
import importlib.util
import re
from typing import Any, NamedTuple

PACKAGE = "harness-ssl-bench"


class Optional(NamedTuple):
    """An optional library."""

    distribution: str
    serves: str
    install: str  # what pip is asked for

    @property
    def command(self) -> str:
        """The command that installs it."""
        return f"pip install '{self.install}'"

    @property
    def extra(self) -> str | None:
        """The extra of this package that brings it, None where it is one's own choice."""
        found = re.fullmatch(rf"{PACKAGE}\[(.+)\]", self.install)
        return found[1] if found else None


OPTIONAL = {
    "s3prl": Optional("espnet-s3prl", "SER and DID heads", f"{PACKAGE}[s3prl]"),
    "espnet2": Optional("espnet", "ASR recipes and transcribing", f"{PACKAGE}[espnet]"),
    "espeakng_loader": Optional(
        "espeakng-loader", "the synthetic demo corpus (GPL, a program of its own)",
        f"{PACKAGE}[demo]",
    ),
    "onnx": Optional("onnx", "exporting models as graphs", f"{PACKAGE}[onnx]"),
    "onnxruntime": Optional("onnxruntime", "running exported models", f"{PACKAGE}[onnx]"),
    "wandb": Optional("wandb", "the board of Weights & Biases", "wandb>=0.31"),
    "bokeh": Optional("bokeh", "Dask's dashboard", "bokeh>=3.1"),
}  # fmt: skip
# Modules of the core whose distribution has another name.
_RENAMED = {"sklearn": "scikit-learn", "dask": "distributed", "yaml": "pyyaml"}


class MissingLibraryError(ModuleNotFoundError, ValueError):
    """A library that is not installed; the message says what needs it and how to install it."""


def is_installed(module: str) -> bool:
    """Whether a top-level module can be imported; nothing is imported."""
    return importlib.util.find_spec(module) is not None


def require(module: str, use: str = "") -> None:
    """Raise `MissingLibraryError`, a `ValueError`, unless an optional library is installed.

    Args:
        module: a key of `OPTIONAL`.
        use: what it is needed for; default: what it serves.
    """
    if not is_installed(module):
        raise MissingLibraryError(_sentence(module, use), name=module)


def load(module: str, use: str = "") -> Any:
    """Import an optional library; see `require`."""
    require(module, use)
    return importlib.import_module(module)


def explain(error: ModuleNotFoundError) -> str | None:
    """Return how to get the library that an import did not find, None if it is none of ours."""
    module = (error.name or "").partition(".")[0]
    if module in OPTIONAL:
        return _sentence(module)
    distribution = _name(_RENAMED.get(module, module))
    if distribution not in _required():
        return None
    return (
        f"This needs {distribution}, which is not installed. {PACKAGE} was installed without its "
        f"dependencies; `pip install {PACKAGE}` brings them. Scores, results and leaderboards "
        "need fewer (docs/install.md)."
    )


def _required() -> set[str]:
    """Return the distributions that the core asks for; none where only its source is there."""
    try:
        lines = importlib.metadata.requires(PACKAGE) or ()
    except importlib.metadata.PackageNotFoundError:
        return set()
    return {_name(line) for line in lines if "extra ==" not in line}


def _sentence(module: str, use: str = "") -> str:
    library = OPTIONAL[module]
    return (
        f"{library.distribution} is needed for {use or library.serves}, and is not installed: "
        f"`{library.command}`"
    )


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""
