"""The label pass: audio to one cluster a frame, against the two scripts that come with fairseq.

Those (examples/hubert/simple_kmeans) run one utterance at a time, write its features to disk, read
them back and find the nearest centroid in numpy, utterance by utterance. On two cores it is
compared with one process that reads, computes and labels by turns, as ours did.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.compliance import kaldi
from torchaudio.functional import compute_deltas

from benchmarks.bench_pretrain_step import SETTINGS, shape
from benchmarks.fairseq_peer import FairseqPeer, without_fairseq
from benchmarks.measure import (
    Row,
    Rows,
    in_turn,
    lower_is_better,
    matmul_peak,
    speech_lengths,
    versus,
    write_cuts,
)
from harness_bench.audio.batching import by_duration, collate
from harness_bench.models.checkpoint import load_config, save_checkpoint, save_random
from harness_bench.models.config import forward_per_second
from harness_bench.models.frozen import load_backbone
from harness_bench.pretrain.config import LabelConfig
from harness_bench.pretrain.labels.kmeans import Labeler, load_labeler
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.quality import LabelCounts
from harness_bench.pretrain.labels.store import REPORT_FILE, SHARD_PATTERN, open_labels, write_shard

AGREE = 0.98  # of labels; near the border of two clusters rounding decides
CORES = 2  # and as many workers, `PretrainConfig.num_workers` by default
BF16_AGREES = 0.8  # the centroids of an untrained teacher lie close


class FairseqScripts:
    """What dump_hubert_feature.py and dump_km_label.py do, on the CPU."""

    def __init__(self, peer: FairseqPeer, layer: int, folder: Path, *, normalize: bool) -> None:
        self.model: Any = peer.model.eval()
        self.layer, self.normalize = layer, normalize
        self.features, self.labels = folder / "features.npy", folder / "labels.km"
        self.lengths: list[int] = []

    @torch.no_grad()
    def dump_features(self, paths: list[Path]) -> None:
        """Write the layer's output of all utterances as one array of float32."""
        self.lengths = []
        with self.features.open("wb") as out:
            for path in paths:
                wave = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
                if self.normalize:
                    wave = F.layer_norm(wave, wave.shape)
                found, _ = self.model.extract_features(
                    source=wave[None], padding_mask=None, mask=False, output_layer=self.layer
                )
                out.write(found[0].numpy().tobytes())
                self.lengths.append(found.shape[1])

    def dump_labels(self, centroids: NDArray[np.float32]) -> None:
        """Read the features back; write a line of labels for every utterance."""
        transposed = centroids.T
        norms = (transposed**2).sum(0, keepdims=True)
        features = np.memmap(self.features, np.float32, "r").reshape(-1, centroids.shape[1])
        begin = 0
        with self.labels.open("w", encoding="utf-8") as out:
            for length in self.lengths:
                x = features[begin : begin + length]
                distances = (x**2).sum(1, keepdims=True) - 2 * np.matmul(x, transposed) + norms
                out.write(" ".join(map(str, np.argmin(distances, axis=1).tolist())) + "\n")
                begin += length

    def read_labels(self) -> list[int]:
        """Return what was written, of all utterances."""
        return [int(label) for label in self.labels.read_text(encoding="utf-8").split()]


def measure(*, tiny: bool = False) -> Rows:
    """Yield seconds of passes on two cores, CPU seconds of one and its assignment on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(CORES)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _two_cores(Path(folder), tiny=tiny)
    finally:
        torch.set_num_threads(threads)
    if without_fairseq("label_pass_vs_fairseq", "label_assignment_vs_fairseq"):
        return
    with tempfile.TemporaryDirectory() as folder:
        yield from _measure(Path(folder), tiny=tiny)


def _two_cores(folder: Path, *, tiny: bool) -> Rows:
    """Compare passes by the clock: MFCC, a teacher in float32, the teacher in bf16."""
    clusters, config = 10 if tiny else 500, shape("hst", tiny=tiny)
    save_random(folder / "teacher", config, seed=0)
    mfcc = LabelConfig(source="mfcc", clusters=clusters, kmeans_iterations=1, fit_hours=0.1)
    hidden = replace(mfcc, source="hidden", layer=config.encoder_layers, batch_seconds=16.0)
    rng = np.random.default_rng(0)
    cuts: list[Cut] = []
    lengths = speech_lengths(4 if tiny else 500, rng)
    cuts += write_cuts(folder, [0.1 * rng.standard_normal(length) for length in lengths])
    yield _against_one_process(folder, cuts, mfcc, "mfcc", "32-true", tiny=tiny)
    few = cuts[:2] if tiny else cuts[:30]  # so many that the start counts for little
    for name, precision in (("hidden", "32-true"), ("hidden_bf16", "bf16-mixed")):
        yield _against_one_process(folder, few, hidden, name, precision, tiny=tiny)


def _against_one_process(
    folder: Path, cuts: list[Cut], config: LabelConfig, name: str, precision: str, *, tiny: bool
) -> Row:
    made, teacher = folder / name, folder / "teacher"
    found: dict[str, Tensor] = {}

    def ours() -> None:
        torch.set_num_threads(1 if config.source == "mfcc" else CORES)  # the workers are as many
        _forget(made)
        make_labels(cuts, made, config, teacher=teacher, num_workers=CORES, precision=precision)

    ours()
    labeler, model = load_labeler(made), load_backbone(teacher)

    @torch.inference_mode()
    def peer() -> None:
        torch.set_num_threads(CORES)
        for batch in by_duration(cuts, config.batch_seconds):
            waves = collate(batch)
            if config.source == "mfcc":
                pairs = zip(waves.samples, waves.lengths.tolist(), strict=True)
                frames = [_torchaudio_mfcc(wave[:length]) for wave, length in pairs]
            else:
                states, counts = model(waves.samples, waves.lengths, max_layer=config.layer)
                pairs = zip(states[config.layer or 0], counts.tolist(), strict=True)
                frames = [rows[:count] for rows, count in pairs]
            found.update(zip(waves.ids, map(labeler, frames), strict=True))
        write_shard(folder / "peer.safetensors", found)
        tally = LabelCounts(config.clusters)
        for row in found.values():
            tally.add(row)

    repeats = 3 if config.source == "mfcc" and not tiny else 1
    times = in_turn(ours, peer, repeats=repeats, clock=time.perf_counter)
    labels = open_labels(made)
    equal = torch.cat([labels.of(cut) == found[cut.id] for cut in cuts]).double().mean()
    if equal < (BF16_AGREES if precision == "bf16-mixed" else AGREE):
        raise ValueError(f"{name}: only {equal:.1%} of the labels agree; no times compared.")
    seconds = sum(cut.duration for cut in cuts)
    note = (
        f"{len(cuts)} utterances, {seconds:.0f} s, {config.clusters} clusters, {CORES} cores, "
        f"{equal:.2%} of the labels equal; the peer reads, computes and labels by turns in one "
        "process, in float32"
    )
    limit = None
    if config.source == "hidden":
        kind = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
        peak = CORES * matmul_peak(kind, tiny=tiny)  # by CPU seconds, so of one core
        limit = seconds * forward_per_second(load_config(teacher)) / peak / times[0]
    row = f"label_pass_{name}_two_cores"
    return lower_is_better(row, *times, "s", note=versus(note, "harness-ssl-bench"), limit=limit)


def _torchaudio_mfcc(wave: Tensor) -> Tensor:
    static = kaldi.mfcc(wave[None], num_ceps=13, use_energy=False, dither=0.0)
    delta = compute_deltas(static.T)
    return torch.cat([static.T, delta, compute_deltas(delta)]).T[::2]


def _forget(made: Path) -> None:
    """Delete labels but not the labeler: a pass that was killed goes on from it."""
    for shard in made.glob(SHARD_PATTERN):
        shard.unlink()
    (made / REPORT_FILE).unlink(missing_ok=True)


def _measure(folder: Path, *, tiny: bool) -> Rows:
    config, clusters = shape("hst", tiny=tiny), 10 if tiny else 1000
    torch.manual_seed(0)
    peer = FairseqPeer(config, clusters, SETTINGS)
    layer = config.encoder_layers  # as the paper labels with the last
    save_checkpoint(folder / "teacher", peer.ours().hubert)
    rng = np.random.default_rng(0)
    lengths = speech_lengths(2 if tiny else 7, rng)
    cuts = write_cuts(folder, [0.1 * rng.standard_normal(length) for length in lengths])
    paths = [Path(cut.recording.sources[0].source) for cut in cuts]
    scripts = FairseqScripts(peer, layer, folder, normalize=config.normalize)
    made, settings = folder / "labels", LabelConfig(
        source="hidden", layer=layer, clusters=clusters, kmeans_iterations=1, batch_seconds=16.0
    )  # fmt: skip

    def ours() -> None:
        _forget(made)
        make_labels(cuts, made, settings, teacher=folder / "teacher")

    ours()
    labeler = load_labeler(made)
    centroids = labeler.centroids.numpy()

    def theirs() -> None:
        scripts.dump_features(paths)
        scripts.dump_labels(centroids)

    peak = matmul_peak(torch.float32, tiny=tiny)
    times = in_turn(ours, theirs, repeats=1 if tiny else 2)
    own = np.concatenate([open_labels(made).of(cut).tolist() for cut in cuts])
    if (equal := np.mean(own == scripts.read_labels())) < AGREE:
        raise ValueError(f"Only {equal:.1%} of the labels agree; no times can be compared.")
    seconds = sum(cut.duration for cut in cuts)
    written = scripts.features.stat().st_size
    least = seconds * forward_per_second(config) / peak
    note = (
        f"{len(cuts)} utterances, {seconds:.0f} s, layer {layer} of HArnESS-ST, {clusters} "
        f"clusters; features on disk: ours 0 bytes, the peer's {written} bytes; the model's "
        f"products alone take {least:.1f} s at {peak / 1e9:.3g} GFLOP/s"
    )
    name, note = "label_pass_vs_fairseq", versus(note, "fairseq-fixed")
    yield lower_is_better(name, *times, "CPU s", note=note, limit=least / times[0])
    yield _assignment(folder, scripts, labeler, tiny=tiny)


def _assignment(folder: Path, scripts: FairseqScripts, labeler: Labeler, *, tiny: bool) -> Row:
    """Compare what follows the model: features to labels on disk."""
    features = np.fromfile(scripts.features, np.float32).reshape(-1, labeler.centroids.shape[1])
    rows = torch.split(torch.from_numpy(features), scripts.lengths)

    def ours() -> None:
        labels = {str(number): labeler(frames) for number, frames in enumerate(rows)}
        write_shard(folder / "assigned.safetensors", labels)

    centroids = labeler.centroids.numpy()
    times = in_turn(ours, lambda: scripts.dump_labels(centroids), repeats=1 if tiny else 5)
    note = f"{len(features)} frames in memory to labels on disk; the peer reads them from disk"
    return lower_is_better(
        "label_assignment_vs_fairseq", *times, "CPU s", note=versus(note, "fairseq-fixed")
    )
