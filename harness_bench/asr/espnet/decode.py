"""Stage 12: decode one set by several processes; what is finished is not decoded again."""

import shutil
import sys
import time
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from subprocess import STDOUT, Popen

from harness_bench.asr.espnet.run import run
from harness_bench.asr.kaldi import read_skipped, read_table, write_table
from harness_bench.core.files import digest_file, digest_strings, stamp
from harness_bench.core.log import say
from harness_bench.core.process import bound, end_of
from harness_bench.core.workdir import OldNote, WorkDir

BEST, JOINED = "1best_recog", ("text", "token", "token_int", "score")
_PROGRAM = "espnet2.bin.asr_inference"
_FILES = ("--config", "--asr_train_config", "--asr_model_file", "--lm_train_config", "--lm_file")
_POLL = 0.1  # seconds between looks at the processes


def decode(
    keys: Path, out: Path, jobs: int, arguments: Sequence[str], *, unheard: Path | None = None
) -> int:
    """Decode all keys and join the parts; return how many parts had to be decoded.

    Args:
        keys: a table with the utterances in its first column.
        out: gets 1best_recog/{text,...}, and logs and parts below logdir.
        jobs: processes; 1 decodes in this one.
        arguments: of espnet2.bin.asr_inference, without --output_dir and --key_file.
        unheard: a folder whose skipped.tsv lists utterances that get an empty hypothesis.

    Raises:
        ValueError: a process failed; shows the end of its log.
    """
    work = _work(out, keys, arguments)
    parts = [replace(work, folder=part) for part in _parts(keys, out / "logdir", jobs)]
    todo = [part for part in parts if not part.finished]
    for part in todo:
        shutil.rmtree(part.folder, ignore_errors=True)
        part.begin()
    if len(parts) > 1:
        _run_beside(todo, arguments)
    elif todo:
        run(_PROGRAM, _command(todo[0].folder, arguments))
        todo[0].finish()
    for name in JOINED:
        tables = [part.folder / BEST / name for part in parts]
        (out / BEST / name).unlink(missing_ok=True)
        if all(table.is_file() for table in tables):
            write_table(out / BEST / name, ChainMap(*map(read_table, tables)))
    if unheard is not None and (silent := read_skipped(unheard)):
        text = out / BEST / JOINED[0]
        write_table(text, read_table(text) | dict.fromkeys(silent, ""))
        say(f"{len(silent)} unusable utterances have an empty hypothesis")
    say(f"{len(todo)} parts decoded, results in {out / BEST}")
    return len(todo)


def _parts(keys: Path, folder: Path, jobs: int) -> list[Path]:
    """Write the keys of each process, neighbours together; return the processes' folders."""
    rows = list(read_table(keys).items())
    jobs = max(1, min(jobs, len(rows)))
    bounds = [len(rows) * number // jobs for number in range(jobs + 1)]
    for number, (start, end) in enumerate(pairwise(bounds), start=1):
        write_table(folder / f"keys.{number}.scp", dict(rows[start:end]))
    return [folder / f"output.{number}of{jobs}" for number in range(1, jobs + 1)]


def _work(out: Path, keys: Path, arguments: Sequence[str]) -> WorkDir:
    """Return a folder with all that decides what is decoded there.

    Of audio files their size and time of change: stage 3 writes other cuts to one name.
    """
    files = [keys, *(Path(value) for word, value in pairwise(arguments) if word in _FILES)]
    digests = [digest_file(path) for path in files]
    audio = [
        " ".join(map(str, stamp(Path(place)))) if Path(place).is_file() else ""
        for place in read_table(keys).values()
    ]
    inputs = {
        "arguments": list(arguments), "audio": digest_strings(audio),
        "files": dict(zip(map(str, files), digests, strict=True)),
    }  # fmt: skip
    key = digest_strings([*arguments, *digests, *audio])
    return WorkDir(out, inputs, key=key, older=(OldNote("done"),))


def _command(part: Path, arguments: Sequence[str]) -> list[str]:
    number = part.name.removeprefix("output.").partition("of")[0]
    keys = part.parent / f"keys.{number}.scp"
    return ["--output_dir", str(part), "--key_file", str(keys), *arguments]


def _run_beside(parts: Sequence[WorkDir], arguments: Sequence[str]) -> None:
    """Run one process per part, all at once, each with a log of its own."""
    running: list[tuple[WorkDir, Popen[bytes]]] = []
    for part in parts:
        words = _command(part.folder, arguments)
        command = [sys.executable, "-m", "harness_bench.asr.espnet.run", "-m", _PROGRAM, *words]
        with _log(part.folder).open("wb") as stream:
            running.append((part, Popen([*bound(), *command], stdout=stream, stderr=STDOUT)))
    failed: list[Path] = []
    try:
        while running:  # Each is noted as it ends: whatever befalls the others, it is kept.
            time.sleep(_POLL)
            ended = [pair for pair in running if pair[1].poll() is not None]
            running = [pair for pair in running if pair not in ended]
            for part, process in ended:
                if process.returncode:
                    failed.append(_log(part.folder))
                else:
                    part.finish()
    finally:
        for _, process in running:  # Of a run that is broken off: none goes on alone.
            process.terminate()
    if failed:
        raise ValueError(f"Decoding failed in {len(failed)} processes. {end_of(failed[0])}")


def _log(part: Path) -> Path:
    return part.with_name(f"asr_inference.{part.name.removeprefix('output.')}.log")
