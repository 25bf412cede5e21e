"""Write THIRD_PARTY.md: what the package and its extras bring, under which licence, and what for.

`python tools/third_party.py` in an environment with all extras (`make setup`). Licences are those
of the installed metadata, `DECLARED` where it has none; compiled libraries inside wheels are found
by their files. A dependency without a line in `USES`, and a copyleft library in a wheel without one
in `COPYLEFT`, is an error: both are written by hand, after a look.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "THIRD_PARTY.md"
CORE = "core"
USES = {
    "av": "decoding of what libsndfile does not read (MP3 exactly, AAC, video), by FFmpeg",
    "dask-jobqueue": "studies on SLURM, PBS, LSF, SGE and HTCondor",
    "distributed": "studies: jobs and workers",
    "espeakng-loader": "the synthetic speech of the demo, by eSpeak NG as a program of its own",
    "espnet": "ASR recipes, transcribing",
    "espnet-s3prl": "SER and DID heads by s3prl's run_downstream",
    "filelock": "locks of folders that several processes fill",
    "huggingface-hub": "datasets and checkpoints of the Hugging Face Hub",
    "jinja2": "HTML pages",
    "jiwer": "alignment of words and characters",
    "lhotse": "cuts, recordings, shards of audio",
    "lightning": "Fabric: devices, precision and ranks of pretraining",
    "matplotlib": "plots",
    "numpy": "arrays",
    "onnx": "int8 graphs of exported models",
    "onnxruntime": "running exported models",
    "pandas": "confusion matrices, the table of Figure 2",
    "pyarrow": "datasets of the Hugging Face Hub: parquet and Arrow",
    "pydantic": "configs and result files, checked",
    "pyyaml": "configs of s3prl and ESPnet, dataset cards",
    "rich": "terminal tables",
    "safetensors": "weights, labels and features on disk",
    "scikit-learn": "k-means, PCA and linear probes",
    "scipy": "statistics, peaks of spectrograms",
    "sentencepiece": "subword tokens of ASR",
    "soundfile": "reading and writing audio, by libsndfile",
    "soxr": "resampling",
    "tensorboardx": "curves of trainings",
    "threadpoolctl": "threads of linear algebra",
    "torch": "models and training",
    "torchaudio": "filter banks, forced alignment, effects",
    "tqdm": "progress bars",
    "transformers": "checkpoints of other architectures, Whisper's text normaliser",
    "typer": "the command line",
    "urllib3": "lhotse's downloads, which lhotse does not ask for",
    "xxhash": "keys of cached features",
}
# Looked up where the metadata names no licence.
DECLARED = {
    "ctc-segmentation": "Apache-2.0",
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",
    "espeakng-loader": "MIT; eSpeak NG in it: GPL-3.0-or-later",
    "sentencepiece": "Apache-2.0",
    "torchaudio": "BSD-2-Clause",
}
# Distribution -> what of it is under a licence of the GPL family, and what follows.
COPYLEFT = {
    "av": (
        "The wheel holds FFmpeg, which says of itself LGPL-3.0-or-later, and beside it the "
        "encoders libx264 and libx265, GPL-2.0-or-later; GnuTLS, Nettle, GMP, libunistring and "
        "ALSA in it are LGPL. `pip install --no-binary av av` builds it against the FFmpeg of the "
        "system instead."
    ),
    "espeakng-loader": (
        "eSpeak NG, GPL-3.0-or-later. Only the extra `demo` brings it; it runs as a program of its "
        "own that gets text and gives samples, and no other part loads it."
    ),
    "numpy": "OpenBLAS in the wheel holds GCC's libgfortran: GPL-3.0 with the runtime exception.",
    "scikit-learn": (
        "The wheel holds GCC's libgomp: GPL-3.0 with the runtime exception, which lets any program "
        "use it."
    ),
    "scipy": (
        "The wheel holds GCC's libgfortran, GPL-3.0 with the runtime exception, and libquadmath, "
        "LGPL-2.1-or-later."
    ),
    "soundfile": (
        "The wheel holds libsndfile, LGPL-2.1-or-later, with LAME and mpg123 (both LGPL) inside, "
        "as a shared library that can be exchanged."
    ),
    "soxr": "libsoxr, LGPL-2.1-or-later.",
    "torch": "The wheel holds GCC's libgomp: GPL-3.0 with the runtime exception.",
}
NVIDIA = (
    "torch's CUDA builds bring NVIDIA's libraries (`nvidia-*`, `cuda-toolkit`) under NVIDIA's own "
    "terms; torch's CPU build brings none ([Installation](docs/install.md))."
)
_LIBRARIES = re.compile(
    r"/(lib(?:x26[45]|gomp|gfortran|quadmath|sndfile|espeak|gnutls|nettle|hogweed|gmp|unistring"
    r"|asound|mp3lame|fftw))",
)
_SHORT = 60  # characters of a licence's name; longer is its text
HEAD = """\
# Third-party licences

`tools/third_party.py` writes this page from the metadata of the installed packages, and a test
compares the two. The wheel of this project contains none of these packages: pip installs them. If
you distribute an environment or a container image, you distribute them too, under their licences.

The code of this project is under Apache-2.0; the weights of the models in the package are under
CC-BY-4.0 (`harness_bench/models/box/NAME/LICENSE.md`).
"""


def licence(found: Distribution) -> str:
    """Return the licence by the metadata: its expression, a short name, or its classifiers."""
    named = DECLARED.get(canonicalize_name(found.name))
    if named:
        return named
    text = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    if text and text != "UNKNOWN" and "\n" not in text.strip() and len(text) <= _SHORT:
        return text.strip()
    kinds = found.metadata.get_all("Classifier") or []
    names = [kind.rpartition(" :: ")[2] for kind in kinds if kind.startswith("License ::")]
    if not names:
        raise ValueError(f"{found.name} names no licence: look it up and add it to DECLARED.")
    return " or ".join(names)


def direct() -> dict[str, list[Requirement]]:
    """Return the requirements of the core and of each extra, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {CORE: project["dependencies"], **project["optional-dependencies"]}
    return {group: [Requirement(line) for line in lines] for group, lines in groups.items()}


def closure(wanted: list[Requirement]) -> dict[str, Distribution]:
    """Return all installed distributions that some requirements bring, by normalised name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(each.name, extra) for each in wanted for extra in ("", *each.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        try:
            one = found.setdefault(canonicalize_name(name), distribution(name))
        except PackageNotFoundError as error:
            raise ValueError(f"{name} is not installed: run `make setup`.") from error
        for line in one.requires or ():
            each = Requirement(line)
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                waiting += [(each.name, more) for more in ("", *each.extras)]
    return found


def carried(found: Distribution) -> list[str]:
    """List the compiled libraries of a wheel that are under a licence of the GPL family."""
    return sorted(set(_LIBRARIES.findall(found.read_text("RECORD") or "")))


def page() -> str:
    """Return the whole page."""
    groups = direct()
    lines = [HEAD, "## What this project uses\n", "| package | brought by | licence | used for |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for group, wanted in groups.items():
        for each in sorted(wanted, key=lambda one: one.name.lower()):
            name = canonicalize_name(each.name)
            if name not in USES:
                raise ValueError(f"{name} has no line in USES: what is it used for?")
            where = group if group == CORE else f"`[{group}]`"
            lines.append(f"| {name} | {where} | {licence(distribution(name))} | {USES[name]} |")
    everything = {group: closure(wanted) for group, wanted in groups.items()}
    own = {canonicalize_name(each.name) for wanted in groups.values() for each in wanted}
    lines += ["", "## Licences of the GPL family\n", *_copyleft(everything)]
    lines += ["", "## NVIDIA's libraries\n", NVIDIA]
    lines += ["", "## What these bring in turn\n", "| package | brought by | licence |",
              "| --- | --- | --- |"]  # fmt: skip
    for other in sorted({each for found in everything.values() for each in found} - own):
        brings = [group for group, found in everything.items() if other in found]
        where = CORE if CORE in brings else ", ".join(f"`[{group}]`" for group in brings)
        lines.append(f"| {other} | {where} | {licence(distribution(other))} |")
    return "\n".join(lines) + "\n"


def _copyleft(everything: dict[str, dict[str, Distribution]]) -> list[str]:
    """Return a paragraph for each package with copyleft; one that nobody looked at is an error."""
    lines = []
    for name in sorted({each for found in everything.values() for each in found}):
        found = distribution(name)
        named = re.search(r"GPL|GNU", licence(found))
        if (named or carried(found)) and name not in COPYLEFT:
            raise ValueError(
                f"{name} ({licence(found)}) holds {carried(found) or 'copyleft code'}: look at it, "
                "and add it to COPYLEFT."
            )
        if name in COPYLEFT:
            lines.append(f"- **{name}**: {COPYLEFT[name]}")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
