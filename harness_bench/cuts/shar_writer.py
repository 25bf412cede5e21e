"""Write lhotse Shar, and find out whether what lies there already is whole."""

from __future__ import annotations

import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.audio.io import without_shell
from harness_bench.core.files import digest_strings, write_json
from harness_bench.core.log import bar, say
from harness_bench.cuts.fields import digest_of
from harness_bench.cuts.shar import (
    AUDIO,
    CUTS,
    INDEX,
    SHARD_CUTS,
    SHARD_PATTERN,
    describe_shard,
    open_shards,
    read_metadata,
)
from harness_bench.cuts.store import UNFINISHED, cuts_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut

    from harness_bench.cuts.shar import Shard

_MEMBERS = 2  # of an archive for each cut: its audio and what is said of it


def write_shards(
    cuts: Sequence[Cut], out: Path, *, shard_cuts: int = SHARD_CUTS, seed: int = 0
) -> list[Shard]:
    """Write cuts and their audio (16 kHz FLAC as they are) as shards, in random order.

    A folder that is whole and holds the same cuts is left alone; a torn one is written anew.

    Args:
        cuts: the utterances.
        out: the sharded folder.
        shard_cuts: utterances per shard; make at least as many shards as there will be ranks.
        seed: of the order, so that every shard holds a mixture.
    """
    by_id = sorted(cuts, key=lambda cut: str(cut.id))
    order = np.random.default_rng(seed).permutation(len(by_id))
    chosen = [by_id[index] for index in order]
    if (out / INDEX).is_file() and not (out / UNFINISHED).exists():
        try:
            if _holds(shards := open_shards(out), chosen, shard_cuts):
                return shards
        except (ValueError, OSError, tarfile.TarError) as error:
            say(f"{out} is broken and is written anew: {error}")
    with writing_shards(out, shard_cuts) as write:
        for cut in bar(chosen, title=f"sharding into {out.name}", unit="utt"):
            write(cut)
    return open_shards(out)


def _holds(shards: Sequence[Shard], chosen: Sequence[Cut], shard_cuts: int) -> bool:
    """Tell whether shards hold these cuts in this order and size, their audio whole in number.

    Raises:
        ValueError, OSError, tarfile.TarError: a file that is torn.
    """
    sizes = [min(shard_cuts, len(chosen) - at) for at in range(0, len(chosen), shard_cuts)]
    if [shard.utterances for shard in shards] != sizes:
        return False
    known = digest_strings(map(_content, read_metadata(shards)))
    return digest_strings(map(_content, chosen)) == known and all(map(_has_audio, shards))


def _has_audio(shard: Shard) -> bool:
    """Count what an archive holds; the audio is passed over, not read."""
    with tarfile.open(shard.field(AUDIO), "r:") as tar:
        return sum(1 for _ in tar) == _MEMBERS * shard.utterances


@contextmanager
def writing_shards(out: Path, shard_cuts: int = SHARD_CUTS) -> Iterator[Callable[[Cut], None]]:
    """Yield what writes cuts with their audio into shards; till the end `open_shards` refuses.

    Raises:
        ValueError: the folder holds prepared cuts.
    """
    if prepared := sorted({*cuts_files(out)} - {*out.glob(SHARD_PATTERN)}):
        raise ValueError(
            f"{out} holds {prepared[0].name}; write shards into a folder of their own."
        )
    from lhotse.shar.writers.shar import SharWriter  # noqa: PLC0415 - slow to import

    without_shell()
    out.mkdir(parents=True, exist_ok=True)
    (out / UNFINISHED).touch()
    remove_shards(out)
    with SharWriter(out, {AUDIO: "flac"}, shard_size=shard_cuts, warn_unused_fields=False) as shar:
        yield shar.write
    count = len(list(out.glob(SHARD_PATTERN)))
    write_json(out / INDEX, [describe_shard(out, number) for number in range(count)])
    (out / UNFINISHED).unlink()


def remove_shards(out: Path) -> None:
    """Remove the shards of a folder and its index, and nothing else."""
    archives = SHARD_PATTERN.replace(CUTS, AUDIO).replace("jsonl.gz", "tar")
    for old in (out / INDEX, *out.glob(SHARD_PATTERN), *out.glob(archives)):
        old.unlink(missing_ok=True)


def _content(cut: Cut) -> str:
    """Return what a cut holds, wherever in its recording that stands."""
    return f"{cut.id} {cut.duration:.4f} {digest_of(cut) or ''}"
