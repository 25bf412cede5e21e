"""Install the package into empty environments as a user would, and try it there.

`python tools/check_install.py --dist dist` makes, for each Python, an environment outside the
repository for the wheel alone, the sdist alone, the wheel with each extra alone, and what
docs/install.md says for scores alone; measures it, and runs commands that must work there or end
with the sentence that names the missing extra. Prints a table; any surprise ends it with status 1.
uv is needed, and a network unless its cache holds all packages.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "install.md"
PACKAGE = "harness-ssl-bench"
EXTRAS = ("s3prl", "espnet", "demo", "onnx")
KINDS = ("wheel", "sdist", "scores", *EXTRAS)
# What counts as torch: everything else is beside it.
TORCH = re.compile(r"torch|torchaudio|torchgen|functorch|triton|nvidia.*|cuda.*")
RATE, SECONDS = 16_000, 0.5

_SYNTHESISE = """
from pathlib import Path
from harness_bench.demo.plan import TINY
from harness_bench.demo.synth import make_demo_task
make_demo_task(Path("spoken"), "did", TINY)
assert len(list(Path("spoken").rglob("*.flac")) + list(Path("spoken").rglob("*.wav"))) == 20
"""
PROBE = (
    "harness-bench probe -u fbank_cached -d did --cuts cuts --label-field label --out probe "
    "--steps 2 --kind baseline"
)
TRAIN = "python -m harness_bench.asr.espnet.run -m espnet2.bin.asr_train --help"
SPEAK = ["python", "-c", _SYNTHESISE]
EXPORT = "harness-bench export harness_mini exported --to onnx"
# What each extra adds; without it the sentence with its command comes instead.
NEED = {"s3prl": PROBE.split(), "espnet": TRAIN.split(), "demo": SPEAK, "onnx": EXPORT.split()}
SCORING = (
    "harness-bench --help",
    "harness-bench models",
    "harness-bench score asr --hyp hyp --ref ref --profile all",
    "harness-bench score cls --tsv classes.tsv",
    "harness-bench results list results",
    "harness-bench leaderboard build results board --no-reported",
)
CORE = (*SCORING, "harness-bench doctor", "harness-bench prepare tsv corpus cuts")
BESIDE = ("harness-bench doctor", "harness-bench prepare tsv corpus cuts")  # of an extra


@dataclass
class Tried:
    """One environment."""

    python: str
    kind: str
    seconds: float = 0.0  # of the installation
    megabytes: int = 0  # MB of site-packages beside torch's own
    torch_megabytes: int = 0
    distributions: int = 0
    largest: dict[str, int] = field(default_factory=dict)  # MB
    wrong: list[str] = field(default_factory=list)


@cache
def scoring_list() -> list[str]:
    """Return the libraries that docs/install.md names for scores alone."""
    found = re.search(
        r"^pip install ((?:[\w-]+ ?)+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    if found is None:
        raise ValueError(f"{PAGE} has no line `pip install LIBRARIES` for scores alone.")
    return found[1].split()


class Environment:
    """A virtual environment and an empty folder to work in, both deleted afterwards."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.work = folder / "venv", folder / "work"
        self.work.mkdir()
        self.variables = {
            name: value for name, value in os.environ.items()
            if name not in {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"}
        } | {"PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
        uv("venv", "--quiet", "--python", python, str(self.folder))

    def install(self, *words: str) -> None:
        """Install with uv."""
        uv("pip", "install", "--quiet", "--python", str(self.folder / "bin/python"), *words)

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in the working folder."""
        words = [str(self.folder / "bin" / words[0]), *words[1:]]
        return subprocess.run(
            words, cwd=self.work, env=self.variables, capture_output=True, text=True, check=False
        )

    def measure(self, tried: Tried) -> None:
        """Note sizes; files that uv links from its cache count as if they were copied."""
        (packages,) = self.folder.glob("lib/python3*/site-packages")
        sizes: dict[str, int] = {}
        for each in packages.iterdir():
            name = re.sub(r"(-[\d.]+.*)?(\.dist-info|\.libs|\.py)$", "", each.name)
            files = [each] if each.is_file() else [one for one in each.rglob("*") if one.is_file()]
            sizes[name] = sizes.get(name, 0) + sum(one.stat().st_size for one in files)
        torch = {name for name in sizes if TORCH.fullmatch(name)}
        tried.torch_megabytes = sum(sizes[name] for name in torch) // 10**6
        tried.megabytes = sum(sizes[name] for name in sizes.keys() - torch) // 10**6
        largest = sorted(sizes.keys() - torch, key=lambda name: -sizes[name])[:8]
        tried.largest = {name: sizes[name] // 10**6 for name in largest}
        tried.distributions = sum(1 for _ in packages.glob("*.dist-info"))


def run_uv(*words: str) -> subprocess.CompletedProcess[str]:
    """Run uv, that of the path or of this environment."""
    name = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    return subprocess.run([name, *words], capture_output=True, text=True, check=False)


def uv(*words: str) -> None:
    """Run uv; what fails ends the whole check with its message."""
    done = run_uv(*words)
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(words)}\n{done.stderr}")


def write_inputs(folder: Path) -> None:
    """Write a corpus of tones, two texts, classes and a result."""
    lines = ["path\tsplit\tlabel\ttranscript\tspeaker"]
    (folder / "corpus").mkdir()
    for number, split in enumerate(["train"] * 4 + ["dev"] * 4 + ["test"] * 4):
        period = 40 if number % 2 else 80  # samples of a square wave
        wave_of = bytes([0, 32] * period + [0, 224] * period)
        samples = (wave_of * RATE)[: int(RATE * SECONDS) * 2]
        with wave.open(str(folder / "corpus" / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(samples)
        label = "high" if number % 2 else "low"
        lines.append(f"{number}.wav\t{split}\t{label}\tالصوت {number}\ts{number}")
    (folder / "corpus" / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "ref").write_text("u1 قال الرجل كلاما\nu2 نعم\n", encoding="utf-8")
    (folder / "hyp").write_text("u1 قال الرجل\nu2 نعم\n", encoding="utf-8")
    (folder / "classes.tsv").write_text("id\ttruth\tprediction\nu1\ta\ta\nu2\tb\ta\n")
    (folder / "results").mkdir()
    for path in sorted((ROOT / "leaderboard/results/paper").glob("*.json"))[:3]:
        shutil.copy(path, folder / "results")


def requirements(kind: str, dist: Path, backend: str) -> list[list[str]]:
    """Return the arguments of each installation that an environment needs."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    torch = ["--torch-backend", backend] if backend else []
    if kind == "scores":
        return [scoring_list(), ["--no-deps", str(wheel)]]
    if kind == "sdist":
        return [[*torch, str(sdist)]]
    return [[*torch, f"{PACKAGE}[{kind}] @ {wheel.as_uri()}" if kind in EXTRAS else str(wheel)]]


def try_out(kind: str, python: str, dist: Path, backend: str) -> Tried:
    """Make one environment, measure it, run what must work in it."""
    tried = Tried(python, kind)
    with tempfile.TemporaryDirectory(prefix="harness-install-") as name:
        environment = Environment(Path(name), python)
        begun = time.monotonic()
        for words in requirements(kind, dist, backend):
            environment.install(*words)
        tried.seconds = time.monotonic() - begun
        environment.measure(tried)
        write_inputs(environment.work)
        commands = {"scores": SCORING, "wheel": CORE, "sdist": CORE}.get(kind, BESIDE)
        tried.wrong = [*filter(None, (works(environment, each.split()) for each in commands))]
        if kind in EXTRAS:
            tried.wrong += filter(None, [works(environment, NEED[kind])])
        elif kind == "wheel":
            told = (is_told(environment, NEED[each], f"{PACKAGE}[{each}]") for each in EXTRAS)
            tried.wrong += filter(None, told)
        elif kind == "scores":
            words = ["harness-bench", "export", "harness_mini", "exported"]
            tried.wrong += filter(None, [is_told(environment, words, f"pip install {PACKAGE}`")])
    return tried


def works(environment: Environment, words: list[str]) -> str:
    """Return what is wrong with a command that must end well."""
    done = environment.run(words)
    return "" if not done.returncode else f"{' '.join(words)[:80]}: {(done.stderr)[-1500:]}"


def is_told(environment: Environment, words: list[str], command: str) -> str:
    """Return what is wrong with a command that must say what is missing and how to get it."""
    done = environment.run(words)
    told = command in done.stderr and done.returncode
    return "" if told else f"{' '.join(words)[:80]} does not name {command}: {done.stderr[-1500:]}"


def row(tried: Tried) -> str:
    """Return a line of the table."""
    what = {"wheel": "core, wheel", "sdist": "core, sdist", "scores": "scores alone"}
    largest = ", ".join(f"{name} {size}" for name, size in tried.largest.items())
    return (
        f"| {tried.python} | {what.get(tried.kind, f'`[{tried.kind}]`')} | {tried.seconds:.0f} s | "
        f"{tried.megabytes} MB | {tried.torch_megabytes} MB | {tried.distributions} | {largest} |"
    )


def main() -> None:
    """Try what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, required=True, help="folder of one wheel, one sdist")
    parser.add_argument("--python", nargs="+", default=["3.12", "3.13"])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--backend", default="", help="uv's --torch-backend: cpu, cu130, ...")
    parser.add_argument("--json", type=Path, help="write what was measured")
    given: Any = parser.parse_args()
    for python in given.python:
        if run_uv("python", "find", "--no-python-downloads", python).returncode:
            parser.error(f"no Python {python} is found; install it, or give its path to --python")
    print("| Python | installed | time | beside torch | torch | packages | largest, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    found = []
    for python in given.python:
        for kind in given.kinds:
            tried = try_out(kind, python, given.dist.resolve(), given.backend)
            print(row(tried), *tried.wrong, sep="\n", flush=True)
            found.append(tried)
    if given.json:
        given.json.write_text(json.dumps([vars(each) for each in found], indent=2) + "\n")
    sys.exit(any(each.wrong for each in found))


if __name__ == "__main__":
    main()
