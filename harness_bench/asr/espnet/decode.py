"""Stage 12: decode one set by several processes; what is finished is not decoded again.

`python -m harness_bench.asr.espnet.run -m harness_bench.asr.espnet.decode --jobs 4
--keys dump/raw/test/wav.scp --output_dir DIR -- ARGUMENTS` runs `espnet2.bin.asr_inference
ARGUMENTS` on four parts of the keys and joins what they wrote in DIR/1best_recog.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path
from subprocess import STDOUT, Popen
from typing import TYPE_CHECKING

from harness_bench.asr.data.kaldi import read_table, write_table
from harness_bench.core.files import digest_file, digest_strings, stamp, write_text
from harness_bench.core.log import say
from harness_bench.core.process import log_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

BEST, JOINED = "1best_recog", ("text", "token", "token_int", "score")
_PROGRAM = "espnet2.bin.asr_inference"
_FILES = ("--config", "--asr_train_config", "--asr_model_file", "--lm_train_config", "--lm_file")
_DONE = "done"
_POLL = 0.1  # seconds between looks at the processes


def decode(keys: Path, out: Path, jobs: int, arguments: Sequence[str]) -> int:
    """Decode all keys and join the parts; return how many parts had to be decoded.

    Args:
        keys: a table with the utterances in its first column.
        out: gets 1best_recog/{text,...}, and logs and parts below logdir.
        jobs: processes; 1 decodes in this one.
        arguments: of espnet2.bin.asr_inference, without --output_dir and --key_file.

    Raises:
        ValueError: a process failed; shows the end of its log.
    """
    mark = _mark(keys, arguments)
    parts = _parts(keys, out / "logdir", jobs)
    for part in parts:
        if _is_done(part, mark):
            continue
        shutil.rmtree(part, ignore_errors=True)
    todo = [part for part in parts if not part.exists()]
    lines = {part: _command(part, arguments) for part in todo}
    if len(parts) == 1:
        for line in lines.values():
            _run_here(line)
            _finish(parts[0], mark)
    else:
        _run_beside(lines, mark)
    for name in JOINED:
        tables = [part / BEST / name for part in parts]
        (out / BEST / name).unlink(missing_ok=True)
        if all(table.is_file() for table in tables):
            rows = {key: row for table in tables for key, row in read_table(table).items()}
            write_table(out / BEST / name, rows)
    return len(todo)


def _mark(keys: Path, arguments: Sequence[str]) -> str:
    """Return the digest of all that decides what is decoded."""
    files = [Path(value) for word, value in pairwise(arguments) if word in _FILES]
    audio = map(_stamp, read_table(keys).values())
    return digest_strings([*arguments, *map(digest_file, [keys, *files]), *audio])


def _stamp(place: str) -> str:
    """Return size and time of change of an audio file: stage 3 writes other cuts to one name."""
    path = Path(place)
    return " ".join(map(str, stamp(path))) if path.is_file() else ""


def _finish(part: Path, mark: str) -> None:
    """Note that a part is whole."""
    write_text(part / _DONE, mark + "\n")


def _parts(keys: Path, folder: Path, jobs: int) -> list[Path]:
    """Write the keys of each process, neighbours together; return the processes' folders."""
    rows = list(read_table(keys).items())
    jobs = max(1, min(jobs, len(rows)))
    bounds = [len(rows) * number // jobs for number in range(jobs + 1)]
    for number, (start, end) in enumerate(pairwise(bounds), start=1):
        write_table(folder / f"keys.{number}.scp", dict(rows[start:end]))
    return [folder / f"output.{number}of{jobs}" for number in range(1, jobs + 1)]


def _is_done(part: Path, mark: str) -> bool:
    done = part / _DONE
    return done.is_file() and done.read_text(encoding="utf-8").strip() == mark


def _command(part: Path, arguments: Sequence[str]) -> list[str]:
    number = part.name.removeprefix("output.").partition("of")[0]
    keys = part.parent / f"keys.{number}.scp"
    return ["--output_dir", str(part), "--key_file", str(keys), *arguments]


def _run_here(line: Sequence[str]) -> None:
    from espnet2.bin import asr_inference  # noqa: PLC0415 - ten seconds

    from harness_bench.asr.espnet.register import register  # noqa: PLC0415

    register()
    asr_inference.main(list(line))


def _run_beside(lines: dict[Path, list[str]], mark: str) -> None:
    """Run one process per part, all at once, each with a log of its own."""
    running: dict[Path, Popen[bytes]] = {}
    for part, line in lines.items():
        command = [sys.executable, "-m", "harness_bench.asr.espnet.run", "-m", _PROGRAM, *line]
        with _log(part).open("wb") as stream:
            running[part] = Popen(command, stdout=stream, stderr=STDOUT)
    failed: list[Path] = []
    try:
        while running:  # Each is noted as it ends: whatever befalls the others, it is kept.
            ended = [part for part, process in running.items() if process.poll() is not None]
            for part in ended:
                if running.pop(part).returncode:
                    failed.append(_log(part))
                else:
                    _finish(part, mark)
            time.sleep(0 if ended else _POLL)
    finally:
        for process in running.values():  # Of a run that is broken off: none goes on alone.
            process.terminate()
    if failed:
        end = "\n".join(log_lines(failed[0])[-25:])
        raise ValueError(
            f"Decoding failed in {len(failed)} processes. The end of {failed[0]}:\n{end}"
        )


def _log(part: Path) -> Path:
    return part.with_name(f"asr_inference.{part.name.removeprefix('output.')}.log")


def main(arguments: Sequence[str] | None = None) -> None:
    """Decode as the command line says; bad input ends it with one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    here = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(words[:here])
    try:
        count = decode(options.keys, options.output_dir, options.jobs, words[here + 1 :])
    except ValueError as error:
        sys.exit(f"error: {error}")
    say(f"{count} parts decoded, results in {options.output_dir / BEST}")


if __name__ == "__main__":
    main()
