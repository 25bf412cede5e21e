"""Small made-up speech-like data that several test folders share."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import warm

# ms that a browser's page, and what is expected of it, may take on a busy machine; a site's search
# indexes all of it first.
BROWSER_PATIENCE = 60_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")  # names of its program

# Before torch is imported. Tiny models on few cores take ten times the CPU time with more threads;
# `make test` says the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a developer's shell sets for their own work must not change what is tested.
for _name in [each for each in os.environ if each.startswith("HARNESS_")]:
    if _name != warm.PLACE:
        del os.environ[_name]
if _root := os.environ.pop("ESPNET_ROOT", ""):  # for egs/test_official.py, also in xdist's workers
    os.environ["HB_ESPNET_ROOT"] = _root


def pytest_configure(config: pytest.Config) -> None:
    """Start the server of warm processes, one for all of xdist's workers."""
    if not hasattr(config, "workerinput"):
        config.add_cleanup(warm.start_server())


def pytest_collection_finish() -> None:
    """Keep what has been imported out of each later collection of garbage, half a second each."""
    gc.freeze()


TONES = {"high": 1100.0, "low": 220.0, "middle": 500.0}  # class -> Hz
SPLITS = {"train": 24, "dev": 12, "test": 12}


def write_tones(folder: Path) -> Path:
    """Write a prepared folder: three classes of noisy tones, 0.5 to 0.8 s, all label fields.

    The classes alternate; each split has four speakers of its own.
    """
    import soundfile as sf  # noqa: PLC0415 - keeps collection light

    from tests import cut_files  # noqa: PLC0415 - as above

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, count in SPLITS.items():
        rows = []
        for number in range(count):
            name, label = f"{split}-{number:02d}", [*TONES][number % 3]
            seconds = np.arange(int(16000 * rng.uniform(0.5, 0.8))) / 16000
            tone = 0.3 * np.sin(2 * np.pi * TONES[label] * rng.uniform(0.9, 1.1) * seconds)
            path = folder / f"{name}.wav"
            sf.write(path, tone + 0.05 * rng.standard_normal(len(seconds)), 16000)
            facts: Any = dict.fromkeys(("label", "emotion", "dialect", "language"), label)
            facts |= {"text": "x", "speaker": f"{split}-speaker-{number % 4}"}
            rows.append(cut_files.row(name, len(seconds) / 16000, str(path), **facts))
        cut_files.write(folder, split, rows)
    return folder


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of `write_tones`."""
    return write_tones(tmp_path_factory.mktemp("tones"))


def write_checkpoint(folder: Path) -> Path:
    """Write a checkpoint folder: a random HuBERT of 2 blocks, 32 dimensions."""
    import torch  # noqa: PLC0415 - keeps collection light

    from harness_bench.models.checkpoint import save_checkpoint  # noqa: PLC0415
    from harness_bench.models.hubert import Hubert, HubertConfig  # noqa: PLC0415

    config = HubertConfig(
        encoder_layers=2, encoder_embed_dim=32, encoder_ffn_embed_dim=64,
        encoder_attention_heads=4, conv_dim=(32,) * 7, conv_pos=16, conv_pos_groups=4,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_checkpoint(folder, Hubert(config))
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of `write_checkpoint`."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def mel_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random model on log-mel bins of the tiny checkpoint's size, in float16."""
    from harness_bench.models.checkpoint import halve, save_random  # noqa: PLC0415 - as above
    from tests.models.conftest import MEL, small_config  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("mel") / "checkpoint"
    save_random(folder, small_config(encoder_layers=2, **MEL), seed=0)
    halve(folder)
    return folder


@pytest.fixture(scope="module")
def free_port() -> int:
    """Return a free port of the loopback address, for processes of one test to meet on."""
    import socket  # noqa: PLC0415 - one test in a hundred needs it

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def warm_python() -> Iterator[str]:
    """Let what a test starts, and what that starts, run in forks with all libraries imported."""
    from harness_bench.probing import probe  # noqa: PLC0415 - names its command when imported

    path = warm.python("espnet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", path)
        patch.setattr(probe, "_ALONE", (path, *probe._ALONE[1:]))
        yield path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start the system's Chromium, or that of HB_CHROMIUM; without it, or playwright, skip.

    One for all tests: playwright refuses a second event loop in a process.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("HB_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip(
            f"no Chromium: install one ({', '.join(CHROMIUM)}), or name its program in HB_CHROMIUM"
        )
    # Chromium's own sandbox cannot start as root; the pages opened here are files of the tests.
    switches = ["--disable-gpu", *(["--no-sandbox"] * (os.geteuid() == 0))]
    sync_api.expect.set_options(timeout=BROWSER_PATIENCE)
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=switches)
        yield started
        started.close()
