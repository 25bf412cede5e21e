"""What a linear probe costs: hidden states and classifiers on asc40, a log-mel model beside FBANK.

CPU seconds a model on one thread: 40 Arabic words of 30 speakers, 2,400 clips, 40 minutes.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.measure import TINY_MODEL, Rows, lower_is_better, timed, versus, write_cuts
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.log import say
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import store
from harness_bench.models.checkpoint import save_random
from harness_bench.pretrain.config import load_preset
from harness_bench.probing.head.config import DataConfig, LinearConfig
from harness_bench.probing.head.data import learn_classes, read_split
from harness_bench.probing.linear import Pooled, fit, open_encoder, pool_split

ASC40 = Path(__file__).parents[2] / "shared" / "data" / "asc40"
PRESET = "harness_st_mel"
FIELD = "label"
_OWN = "harness-ssl-bench"  # both are ours


class Cost(NamedTuple):
    """CPU seconds of one model."""

    features: float  # opening it, reading and pooling train, dev and test
    fit: float


def measure(*, tiny: bool = False) -> Rows:
    """Yield a row of the features and one of fitting; both parts are what a user waits for."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if tiny:
            _write_noise(folder / "cuts")
        elif ASC40.is_dir():
            prepare("tsv", ASC40, folder / "cuts")
        else:
            say(f"linear_probe_seconds is left out: {ASC40} is not there")
            return
        config = LinearConfig(segments=1, c=(1.0,)) if tiny else LinearConfig()
        save_random(folder / "mel", TINY_MODEL if tiny else load_preset(PRESET).model, seed=0)
        fbank = cost("fbank_cached", None, folder / "cuts", config)
        mel = cost("harness_local", folder / "mel", folder / "cuts", config)
    what = f"linear probe on asc40, {PRESET} beside FBANK"
    for part, ours, peer in zip(Cost._fields, mel, fbank, strict=True):
        note = versus(f"{what}, {part}", _OWN)
        yield lower_is_better(f"linear_probe_seconds_{part}", ours, peer, "CPU s", note=note)


def cost(upstream: str, checkpoint: Path | None, cuts: Path, config: LinearConfig) -> Cost:
    """Measure one model as `run_linear` works, all but its files."""

    def pooled() -> Iterator[Pooled]:
        encode, classes = open_encoder(upstream, checkpoint), learn_classes(cuts, FIELD)
        data = DataConfig(cuts=cuts, label_field=FIELD, waveform_cache_mb=0)
        for split in ("train", "dev", "test"):
            labelled = read_split(split, config=data, classes=classes, report_in=cuts)
            yield pool_split(labelled, encode, config.segments)

    (train, dev, _), features = timed(lambda: [*pooled()])
    return Cost(features, timed(lambda: fit(train, dev, config))[1])


def _write_noise(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "dev", "test"):
        waves = [rng.normal(0, 0.1, SAMPLE_RATE // 2) for _ in range(6)]
        (folder / split).mkdir(parents=True)
        cuts = write_cuts(folder / split, waves)
        for number, cut in enumerate(cuts):
            cut.supervisions[0].custom = {FIELD: "ab"[number % 2]}
        store.write_cuts(folder, split, cuts)
