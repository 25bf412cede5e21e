"""A study in miniature, and a way to run jobs that needs no engine: one after the other, here."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.config import resolved
from harness_bench.demo.plan import TINY
from harness_bench.study.job import Ended, StudyJob, keys, run_job
from tests.tiny import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FAMILY = f"""{DEFAULTS}
[[iterations]]
name = "it1"
labels = {{ source = "mfcc" }}
[[iterations]]
name = "student"
teacher = "it1"
model = {{ encoder_layers = 1 }}
labels = {{ source = "hidden", layer = 2, pca_dim = 8 }}
"""
STUDY = """
name = "chain"
title = "Chain"
synthetic = true
seed = 3
[corpora]
ssl = { synthesis = "ssl" }
did = { synthesis = "did" }
asr = { synthesis = "asr" }
[family]
corpora = ["ssl", "did"]
[[models]]
upstream = "fbank_cached"
[[models]]
name = "random"
random = "it1"
[[models]]
iteration = "it1"
[[models]]
iteration = "student"
[[tasks]]
type = "did"
corpus = "did"
label_field = "dialect"
[[tasks]]
type = "asr"
corpus = "asr"
models = ["fbank", "best student"]
[asr]
max_epoch = 1
[heads]
kinds = ["cnn", "linear"]
[heads.probe]
total_steps = 6
eval_step = 3
batch_size = 8
eval_batch_size = 8
input_norm = "batch"
test_in_training = true
[synthesis]
"""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """Write the study and its family; return its file."""
    sizes = (f"{k} = {json.dumps(v).replace(':', ' =')}\n" for k, v in resolved(TINY).items())
    (folder / "family.toml").write_text(FAMILY)
    path = folder / "chain.toml"
    path.write_text(text + "".join(sizes))
    return path


def run_here(out: Path, jobs: Mapping[str, StudyJob]) -> dict[str, Ended]:
    """Run jobs in their order in this process; return what became of each."""
    found, ended = keys(jobs), dict[str, Ended]()
    for name, job in jobs.items():
        before = {each: ended[each] for each in (*job.after, *job.wants)}
        ended[name] = run_job(out, job, found[name], before)
    return ended


def tiny_speech(root: Path) -> None:
    """Write what gpu.toml reads, as noise: words, languages, sentences, speech without labels."""
    rng = np.random.default_rng(0)
    names = {"asc40": "manifest", "cv_lid10": "manifest", "asc_sentences": "manifest",
             "cv_ar": "manifest", "cv_ar/": "asr"}  # fmt: skip
    for number, (name, manifest) in enumerate(names.items()):
        (folder := root / name).mkdir(parents=True, exist_ok=True)
        lines = ["path\tspeaker\tlabel\ttranscript\tsplit"]
        for split, index in itertools.product(("train", "dev", "test"), range(6)):
            path = folder / f"{number}_{split}{index}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(24_000), SAMPLE_RATE)
            label, text = "ab"[index % 2], ("كتاب جديد", "بيت كبير")[index % 2]
            lines.append(f"{path.name}\t{split}{index % 3}\t{label}\t{text}\t{split}")
        (folder / f"{manifest}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
