"""What soxr's steep filter does beside torchaudio's default kernel: alias, pass band, cost, memory.

With a folder of real speech at 16 kHz, by how much features change: every recording is made at
other rates by `sox rate -v`, and brought back by both.

python -m benchmarks.bench_resample ../shared/data [--utterances 150]
"""

import argparse
import csv
import io
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio import functional

from benchmarks.measure import Rows, higher_is_better, in_turn, lower_is_better, versus
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import read_waveform
from harness_bench.audio.resample import resample
from harness_bench.core.tables import columns
from harness_bench.models.frozen import hidden_states, load_model
from harness_bench.models.mel import stacked_mels
from harness_bench.models.types.fbank import fbank
from harness_bench.pretrain.labels.features import mfcc39
from harness_bench.pretrain.labels.kmeans import assign, fit_kmeans

PEER = "torchaudio"
SETS = ("cv_ar", "asc_sentences")
RATES = (44_100, 48_000, 22_050, 8_000)
CLUSTERS = 100
_LEAST = 1e-3  # dB; less is rounding

type Wave = NDArray[np.float32]


def measure(*, tiny: bool = False) -> Rows:
    """Yield what passes that must not, what is lost, CPU seconds and memory."""
    ways = resample, by_torchaudio
    ours, peer = (-level(tone(8500, 44_100), 44_100, way) for way in ways)
    note = versus("a tone of 8.5 kHz at 44.1 kHz: how far down its alias at 7.5 kHz is", PEER)
    yield higher_is_better("resample_alias_vs_torchaudio", ours, peer, "dB", note=note)
    ours, peer = (max(-level(tone(7600, 44_100), 44_100, way), _LEAST) for way in ways)
    note = versus(f"a tone of 7.6 kHz at 44.1 kHz: what is lost of it, {_LEAST} at least", PEER)
    yield lower_is_better("resample_loss_vs_torchaudio", ours, peer, "dB", note=note)
    coprime = (1_601, 1_600) if tiny else (16_001, SAMPLE_RATE)
    seconds = 0.2 if tiny else 2.0
    for (rate, to), repeats in (((44_100, SAMPLE_RATE), 1 if tiny else 5), (coprime, 1)):
        signal = np.random.default_rng(0).standard_normal(int(rate * seconds)).astype(np.float32)
        calls = (partial(way, signal, rate, to) for way in ways)
        ours, peer = (1000 * each / seconds for each in in_turn(*calls, repeats=repeats))
        name, note = f"resample_{rate}_vs_torchaudio", versus(f"{seconds:g} s to {to} Hz", PEER)
        yield lower_is_better(name, ours, peer, "CPU ms / audio s", note=note)
    rate, to = coprime
    ours, peer = (peak_mebibytes(partial(way, tone(100, rate), rate, to)) for way in ways)
    note = versus(
        f"a second at {rate} Hz to {to} Hz, resident memory beyond that before, 1 at least", PEER
    )
    yield lower_is_better("resample_memory_vs_torchaudio", ours, peer, "MiB", note=note)


def by_torchaudio(samples: Wave, rate: int, to: int = SAMPLE_RATE) -> Wave:
    """Resample (samples,) with torchaudio's default kernel."""
    return np.asarray(functional.resample(torch.from_numpy(samples), rate, to).numpy())


def tone(hertz: float, rate: int, seconds: float = 1.0) -> Wave:
    """Return a tone (samples,) of amplitude 1."""
    time = np.arange(int(rate * seconds)) / rate
    return np.sin(2 * np.pi * hertz * time).astype(np.float32)


def level(samples: Wave, rate: int, way: Callable[[Wave, int], Wave]) -> float:
    """Return the level in dB of what is made of a tone at 16 kHz, its ends aside."""
    out = way(samples, rate)
    middle = out[len(out) // 4 : -len(out) // 4].astype(np.float64)
    return float(10 * np.log10(2 * np.mean(middle**2) + 1e-30))


def peak_mebibytes(call: Callable[[], object]) -> float:
    """Return the resident memory that a call needs beyond what is there before; Linux alone."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    call()
    return max(_status("VmHWM") - before, 1024) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def by_sox(samples: Wave, rate: int) -> Wave:
    """Bring (samples,) from 16 kHz to another rate by `sox rate -v`, in float32."""
    given, kind = io.BytesIO(), ("-t", "wav", "-")
    soundfile.write(given, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    command = ["sox", *kind, "-e", "floating-point", "-b", "32", *kind, "rate", "-v", str(rate)]
    done = subprocess.run(command, input=given.getvalue(), capture_output=True, check=True)
    made: Wave = soundfile.read(io.BytesIO(done.stdout), dtype="float32")[0]
    return made


def features() -> dict[str, Callable[[Wave], Tensor]]:
    """Return name -> what gives frames (F, D) of a waveform."""
    model = load_model("harness_mini")
    last = model.shape.num_layers
    return {
        "MFCC-39": lambda wave: mfcc39(torch.from_numpy(wave)),
        "log-mel": lambda wave: stacked_mels(torch.from_numpy(wave)[None])[0],
        "FBANK": lambda wave: fbank(torch.from_numpy(wave)),
        "harness_mini": lambda wave: hidden_states(model, wave, layer=last),
    }


def recordings(folder: Path, count: int) -> list[Wave]:
    """Read recordings of a set, spread over its manifest."""
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return [read_waveform(folder / row["path"]) for row in rows[:: max(len(rows) // count, 1)]]


@torch.inference_mode()
def changes(waves: list[Wave], name: str, compute: Callable[[Wave], Tensor]) -> list[list[str]]:
    """Compare soxr with torchaudio, and both with the recording; return a line for each rate."""
    plain = torch.cat([compute(wave) for wave in waves])
    fitted = fit_kmeans(plain, CLUSTERS, iterations=50, tolerance=1e-3, seed=0).centroids
    lines = []
    for rate in RATES:
        pairs = [(by_sox(wave, rate), len(wave)) for wave in waves]
        new, old = (
            torch.cat([compute(way(wave, rate)[:length]) for wave, length in pairs])
            for way in (resample, by_torchaudio)
        )
        line = [name, f"{rate}"]
        for one, other in ((new, old), (new, plain), (old, plain)):
            moved = float((assign(one, fitted)[0] != assign(other, fitted)[0]).float().mean())
            spread = (other - other.mean(0)).norm()
            line += [f"{float((one - other).norm() / spread):.2%}", f"{moved:.2%}"]
        lines.append(line)
    return lines


def main() -> None:
    """Print how features change with the resampler, on real speech."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help=f"folder with {', '.join(SETS)}")
    parser.add_argument("--utterances", type=int, default=150, help="of each set")
    options = parser.parse_args()
    heads = ("new from old", "new from original", "old from original")
    titles = ["features", "Hz", *(part for head in heads for part in (head, "labels"))]
    for name in SETS:
        waves = recordings(options.data / name, options.utterances)
        print(f"{name}: {len(waves)} recordings, {sum(map(len, waves)) / SAMPLE_RATE / 60:.1f} min")
        lines = [line for each in features().items() for line in changes(waves, *each)]
        print("\n".join(columns([titles, *lines])))


if __name__ == "__main__":
    main()
