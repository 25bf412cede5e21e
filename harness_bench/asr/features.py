"""Write a frozen checkpoint's features of data folders, once for all epochs.

`python -m harness_bench.asr.features --checkpoint DIR --layers mean --data DUMP --out DIR
--splits train dev` reads DUMP/<split>/wav.scp and writes DIR/<split>/feats.scp beside large shards
of 16-bit numbers. ESPnet reads it as `DIR/<split>/feats.scp,speech,harness_features`, with the same
frontend config as from audio. What cannot be heard is left out, DIR/<split>/skipped.tsv says why,
and the exit status is 1.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.asr.kaldi import (
    SAMPLES,
    SKIPPED,
    read_skipped,
    read_table,
    write_skipped,
    write_table,
)
from harness_bench.audio.base import AudioFault, Fault
from harness_bench.audio.io import read_header
from harness_bench.core.config import STRICT, build, read_toml, read_yaml, resolved
from harness_bench.core.distributed import barrier, world
from harness_bench.core.fabric import launched, make_fabric
from harness_bench.core.files import check_writable, read_json, write_json
from harness_bench.core.log import bar, cpu_seconds, say
from harness_bench.core.process import bound
from harness_bench.core.workdir import WorkDir, write_provenance
from harness_bench.models.features.shards import (
    FACTS,
    LEFT_OUT,
    SHAPES,
    TABLE,
    AudioUtterance,
    FeatureShard,
    batches_of,
    check_room,
    divide,
    estimate,
    is_fresh,
    read_ahead,
    record_path,
    write_shard,
)
from harness_bench.models.features.store import identity_of
from harness_bench.models.frozen import FixedFeatures, ModelShape, load_backbone, shape_of
from harness_bench.models.hub import locate
from harness_bench.models.layers import fixed_layers, parse_layers

# Raise this when rows change for a reason outside the model's own source files.
VERSION = 2


@dataclass(frozen=True, config=STRICT)
class FeatureConfig:
    """How the pass over the audio runs; what it writes comes from the command line.

    300 h with 512 numbers per frame take 55 GB. HArnESS-ST (4 layers of 512) does about 7 s of
    audio per second of one CPU core.
    """

    batch_seconds: Annotated[float, Field(gt=0)] = 60.0  # padded audio; decides the last bits
    shard_mb: Annotated[float, Field(gt=0)] = 256.0  # MiB a file; what a kill loses at most
    readers: Annotated[int, Field(ge=1)] = 2  # threads that read audio
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Annotated[int, Field(ge=1)] | None = None  # processes here; None: one, or each GPU


def read_config(path: Path) -> FeatureConfig:
    """Read a TOML or YAML file; errors as `core.config.build`."""
    read = read_yaml if path.suffix in (".yaml", ".yml") else read_toml
    return build(FeatureConfig, read(path), source=str(path))


class Job(NamedTuple):
    """A checkpoint's fixed features, ready to compute."""

    model: FixedFeatures
    facts: dict[str, Any]  # all that decides the features beside the audio
    config: FeatureConfig
    device: torch.device


def open_job(
    checkpoint: Path, layers: str | int, config: FeatureConfig, device: torch.device
) -> Job:
    """Load a checkpoint; errors as `shape_of` and `fixed_layers`."""
    chosen = fixed_layers(layers, shape_of(checkpoint).num_layers)
    backbone = load_backbone(checkpoint)
    model = FixedFeatures(backbone, chosen).to(device).eval()
    facts = model.facts(checkpoint) | {
        "dim": backbone.shape.hidden_size, "version": VERSION,
        "batch_seconds": config.batch_seconds, "shard_mb": config.shard_mb,
    }  # fmt: skip
    return Job(model, facts, config, device)


def make_features(job: Job, data: Path, out: Path) -> int:
    """Write the features of one data folder; return how many shards were computed.

    Shards that an earlier, interrupted or finished, pass made from the same inputs are kept; any
    others are replaced. Every rank of a run must call it.

    Shards, and not the store of s3prl's tasks with a file per utterance: every epoch would decode
    the audio for its digest and open 150,000 small files.

    Args:
        job: what to compute.
        data: a data folder with wav.scp.
        out: gets the shards, feats.scp, speech_shape ("frames,dim"), features.json, skipped.tsv
            and provenance.json; all but the last are of one pass, and complete once feats.scp is
            there.

    Raises:
        ValueError: bad tables, no audio that can be heard, or a disk with too little room.
    """
    utterances, unheard = read_utterances(data, job.model.backbone.shape)
    if not utterances:
        raise ValueError(f"{data}: no audio can be opened, such as {next(iter(unheard.items()))}")
    shards = divide(utterances, int(job.facts["dim"]), job.config.shard_mb)
    identity = identity_of(job.facts)
    rank, ranks = world()
    # Another run on the folder would take this one's unfinished files for those of a killed one.
    with WorkDir(out, job.facts).lock():
        if rank == 0:
            out.mkdir(exist_ok=True)
            _clear(out, shards, identity, job)
        barrier()
        todo = [shard for shard in shards if not record_path(out, shard).is_file()]
        barrier()  # Every rank has looked before any of them writes.
        _write(job, out, todo[rank::ranks], identity)
        barrier()
        if rank == 0 and (todo or not (out / TABLE).is_file()):
            _write_tables(job, out, shards, unheard)
        barrier()
    return len(todo)


def _clear(out: Path, shards: Sequence[FeatureShard], identity: str, job: Job) -> None:
    """Keep what was made from the same inputs, say what is to do, delete the rest."""
    fresh = {shard.name for shard in shards if is_fresh(out, shard, identity)}
    missing = [shard for shard in shards if shard.name not in fresh]
    say(f"Features for {out}: {estimate(shards)}; {len(fresh)} of {len(shards)} shards are there.")
    old = [path for path in out.glob("feats-*.npy") if path.name not in fresh]
    partial = list(out.glob(".partial-*"))
    check_room(out, missing, sum(path.stat().st_size for path in (*old, *partial)))
    if not (missing or old):
        return
    if old and (out / FACTS).is_file():
        before = read_json(out / FACTS)
        changed = [key for key, value in job.facts.items() if before.get(key) != value]
        say(f"Computed again, for changed {', '.join(changed) or 'audio'}: {len(old)} shards.")
    for path in (out / TABLE, out / SHAPES, out / FACTS, out / SKIPPED, *partial):
        path.unlink(missing_ok=True)
    kept = {record_path(out, shard) for shard in shards if shard.name in fresh}
    for path in (*(set(out.glob("feats-*.json")) - kept), *old):
        path.unlink()


def _write(job: Job, out: Path, shards: Sequence[FeatureShard], identity: str) -> None:
    """Compute this rank's shards, with one progress bar and the next shard's audio read ahead."""
    if not shards:
        return
    start, cpu = time.perf_counter(), cpu_seconds()
    batches = [batches_of(shard, job.config.batch_seconds) for shard in shards]
    flat = [batch for group in batches for batch in group]
    ahead = read_ahead(flat, job.config.readers)
    audio = iter(bar(ahead, title=out.name, total=len(flat), unit="batch"))
    for shard, group in zip(shards, batches, strict=True):
        write_shard(out, shard, job.model, identity, islice(audio, len(group)), job.device)
    seconds = sum(each.duration for batch in flat for each in batch)
    wall, used = time.perf_counter() - start, cpu_seconds() - cpu
    say(
        f"{out.name}: {seconds:.0f} s of audio in {wall:.1f} s, {used:.1f} CPU-s "
        f"({seconds / max(used, 1e-9):.1f} s of audio per CPU-s)"
    )


def _write_tables(
    job: Job, out: Path, shards: Sequence[FeatureShard], unheard: dict[str, str]
) -> None:
    """Write what ESPnet reads, once all shards are there; feats.scp last."""
    dim = int(job.facts["dim"])
    for shard in shards:
        unheard = unheard | read_json(record_path(out, shard)).get(LEFT_OUT, {})
    write_skipped(out, unheard)
    places = [
        (each, shard.name, row)
        for shard in shards
        for each, row in shard.firsts()
        if each.id not in unheard
    ]
    if not places:
        first = "; ".join(map(": ".join, list(unheard.items())[:1]))
        raise ValueError(f"{out}: none of {len(unheard)} utterances is usable. {first}")
    inputs = {name: str(value) for name, value in job.facts.items()}
    write_provenance(out, config=resolved(job.config), seed=None, inputs=inputs)
    write_json(out / FACTS, job.facts)
    write_table(out / SHAPES, {each.id: f"{each.rows},{dim}" for each, _, _ in places})
    write_table(out / TABLE, {each.id: f"{name} {row} {each.rows}" for each, name, row in places})


def run(options: argparse.Namespace) -> None:
    """Write the features of all splits, in as many processes as asked for or one for each GPU."""
    config = read_config(options.config) if options.config else FeatureConfig()
    given = {key: getattr(options, key) for key in ("accelerator", "devices")}
    config = replace(config, **{key: value for key, value in given.items() if value is not None})
    alone = config.devices is None and launched(os.environ) is None
    gpus = torch.cuda.device_count() if alone and config.accelerator != "cpu" else 1
    if (processes := config.devices or gpus) > 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        # Fabric would start those of the program that runs, which may be the launcher with a chain.
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, "-m", *torchrun, "-m", __spec__.name, *sys.argv[1:]]
        if code := subprocess.run([*bound(), *command], check=False).returncode:
            sys.exit(code)
        _tell_unheard(options)
        return
    fabric = make_fabric(accelerator=config.accelerator, devices=1 if alone else config.devices)
    checkpoint = locate(options.checkpoint, pathless=True)
    job = open_job(checkpoint, parse_layers(options.layers), config, fabric.device)
    for split in options.splits:
        make_features(job, options.data / split, options.out / split)
    if world()[1] == 1:  # of several processes, who started them tells
        _tell_unheard(options)


def _tell_unheard(options: argparse.Namespace) -> None:
    """Name what was left out, and end with an error where anything was."""
    places = [options.out / split for split in options.splits]
    found = [f"{name}: {why}" for place in places for name, why in read_skipped(place).items()]
    for line in found:
        say(f"left out: {line}")
    if found:
        sys.exit(f"error: {len(found)} utterances left out, the others have features; see "
                 f"{SKIPPED} in {', '.join(map(str, places))}")  # fmt: skip


def main() -> None:
    """Run the program; bad input ends it with one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--config", type=Path, help="TOML or YAML: " + str(asdict(FeatureConfig())))
    add("--checkpoint", type=Path, required=True, help="checkpoint folder")
    add("--layers", default="mean", help="mean, or the number of a hidden state")
    add("--data", type=Path, required=True, help="folder of data folders")
    add("--out", type=Path, required=True, help="where the features go")
    add("--splits", nargs="+", required=True, help="names of data folders")
    add("--accelerator", choices=["auto", "cpu", "cuda"], help="of the config")
    add("--devices", type=int, help="processes on this machine, of the config")
    try:
        options = parser.parse_args()
        check_writable(options.out, "--out")
        run(options)
    except ValueError as error:
        sys.exit(f"error: {error}")


def read_utterances(folder: Path, shape: ModelShape) -> tuple[list[AudioUtterance], dict[str, str]]:
    """Return a data folder's utterances, by wav.scp, and those that cannot be opened, with reasons.

    Lengths stand in utt2num_samples, or in the files where there is no such table.

    Raises:
        ValueError: no or an empty wav.scp, a line that is no audio file, or no length of one.
    """
    unheard: dict[str, str] = {}
    paths = read_table(folder / "wav.scp")
    if not paths:
        raise ValueError(f"{folder / 'wav.scp'} has no utterances; run the earlier stages again.")
    for name, path in paths.items():
        if path.rstrip().endswith("|") or not Path(path).is_file():
            raise ValueError(
                f"{folder / 'wav.scp'}: utterance {name!r} names {path!r}, which is no audio file. "
                "Commands and archives are not read: format the audio as single WAV or FLAC files "
                "(stage 3 does; asr.sh does with --audio_format flac)."
            )
    if (folder / SAMPLES).is_file():
        samples = {name: int(count) for name, count in read_table(folder / SAMPLES).items()}
        if missing := sorted(paths.keys() - samples.keys()):
            raise ValueError(f"{folder / SAMPLES} lacks utterance {missing[0]!r}; run stage 3.")
    else:
        samples = {}
        for name, path in paths.items():
            try:
                samples[name] = _length(Path(path))
            except AudioFault as fault:
                unheard[name] = f"{path} cannot be read ({fault.detail})"
    unheard |= {name: f"{paths[name]} has no samples" for name in paths if samples.get(name) == 0}
    return [
        AudioUtterance(name, path, samples[name], shape.frames(samples[name]))
        for name, path in sorted(paths.items())
        if name not in unheard
    ], unheard


def _length(path: Path) -> int:
    """Return a file's samples; one that was cut off has fewer than it promises."""
    header = read_header(path)
    if header.lacking:
        raise AudioFault(Fault.CUT_OFF, header.lacking, path)
    return header.samples


if __name__ == "__main__":
    main()
