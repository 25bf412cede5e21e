"""Run ESPnet's programs with the frontend `harness` known to them; a killed training goes on.

`python -m harness_bench.asr.espnet.run -m espnet2.bin.asr_train ARGS` is
`python -m espnet2.bin.asr_train ARGS` with our frontend. Several commands joined by `--then` run
one after the other in one process, because importing ESPnet takes 10 to 30 seconds; `--stage TEXT`
before `-m` names a command in the log. `--times FILE` before the first command keeps the times of
all commands there, over several calls, and shows them as a table at the end.

ESPnet's trainer writes `checkpoint.pth` (weights, optimizer, scheduler, scores) and then
`<N>epoch.pth` after every epoch, straight into place. A kill within these seconds leaves a torn
checkpoint, with which nothing starts again, or a checkpoint without its epoch's model, which the
average of the best epochs misses at the very end. Here files appear whole or not at all, and a
missing model is written from the checkpoint.
"""

import argparse
import functools
import importlib
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from harness_bench.asr.espnet.register import register, register_if_used
from harness_bench.core.extras import require
from harness_bench.core.files import atomic_path
from harness_bench.core.log import first_rank, say
from harness_bench.core.process import share_cores
from harness_bench.core.stage_times import StageTimes

CHECKPOINT = "checkpoint.pth"
_USAGE = (
    "[--times FILE] [--stage TEXT] -m MODULE [ARGUMENT ...] [--then [--stage TEXT] -m MODULE ...]"
)
_WATCHED = "_harness_watched"
_TRAINING = re.compile(r"espnet2\.bin\.\w+_train")
type Step = tuple[str, Callable[[], object]]  # title, what to run


def parse(words: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Split a command line at `--then` into titles, modules and their arguments.

    Raises:
        ValueError: a command that does not start with `-m MODULE`.
    """
    end = [*words, "--then"].index("--then")
    match words[:end]:
        case ["--stage", title, "-m", module, *arguments]:
            command = title, module, arguments
        case ["-m", module, *arguments]:
            command = module, module, arguments
        case other:
            told = " ".join(other[:2])
            raise ValueError(f"Expected `-m MODULE`, got {told!r}. Usage: {_USAGE}")
    return [command, *(parse(words[end + 1 :]) if end < len(words) else ())]


def run(module: str, arguments: Sequence[str]) -> None:
    """Run one module's `main` with its arguments as the command line."""
    program = importlib.import_module(module)
    if not hasattr(program, "main"):
        raise ValueError(f"{module} is not a program: it has no `main`. Usage: {_USAGE}")
    register_if_used()
    if _TRAINING.fullmatch(module):
        watch_losses()
    if _TRAINING.fullmatch(module) and first_rank():
        save_atomically()
        try:
            check_statistics(arguments)
            mend(output_dir(arguments))
        except ValueError as error:
            sys.exit(f"error: {error}")
    sys.argv = [str(program.__file__), *arguments]
    try:
        program.main()
    except SystemExit as end:
        if end.code:  # A program that ends well by sys.exit does not end those behind it.
            raise
    except Exception as error:
        if type(error).__name__ != "ProcessExitedException":  # torch's, of a rank it spawned
            raise
        sys.exit(f"error: {module}: {error}; what that process said stands above")


def run_steps(steps: Iterable[Step], times: Path | None) -> None:
    """Run titled steps in turn; note each one's time as it ends, so that a kill loses one at most.

    The times of all calls are shown at the end; `times` None keeps none.
    """
    times = times if first_rank() else None
    taken = StageTimes(times)
    for title, step in steps:
        say(title)
        with taken.stage(title):
            step()
    if times is not None:
        say(f"Times of all stages ({times}):\n{taken.summary()}")


def main() -> None:
    """Run the commands of the command line in turn; the first error ends the run."""
    share_cores()
    words, times = sys.argv[1:], None
    if words[:1] == ["--times"]:
        times, words = Path(*words[1:2]), words[2:]
    try:
        commands = parse(words)
        if any(module.startswith("espnet") for _, module, _ in commands):
            require("espnet2")
        _ = StageTimes(times).rows  # before hours of training, not after
    except ValueError as error:
        sys.exit(f"error: {error}")
    steps = [(title, functools.partial(run, module, own)) for title, module, own in commands]
    run_steps(steps, times)


def save_atomically() -> None:
    """Let `torch.save` to a path put the whole file in place at once; repeating it is harmless."""
    import torch  # noqa: PLC0415 - heavy

    plain = torch.save
    if hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def save(obj: object, f: Any, *arguments: Any, **options: Any) -> None:
        if not isinstance(f, str | os.PathLike):
            return plain(obj, f, *arguments, **options)
        with atomic_path(Path(f)) as partial:
            return plain(obj, partial, *arguments, **options)

    torch.save = save


def watch_losses() -> None:
    """Let ESPnet's trainer end where most losses of an epoch are not finite; repeating is harmless.

    It skips such updates, stops without an error, and the recipe would decode and score the rest.
    """
    from espnet2.train.trainer import Trainer  # noqa: PLC0415 - heavy

    for name in ("train_one_epoch", "validate_one_epoch"):
        plain = vars(Trainer)[name].__func__
        if not hasattr(plain, _WATCHED):
            setattr(Trainer, name, classmethod(_watched(plain)))


def _watched[**P](epoch: Callable[P, Any]) -> Callable[P, Any]:
    @functools.wraps(epoch)
    def watched(*arguments: P.args, **options: P.kwargs) -> Any:
        # True: the gradients of all steps were infinite or NaN, whatever the losses were.
        lost: bool | None = epoch(*arguments, **options)
        report: Any = options["reporter"]
        losses = [float(each.value) for each in report.stats.get("loss", ())]
        bad = sum(not math.isfinite(loss) for loss in losses)
        if lost or 2 * bad > len(losses):
            sys.exit(
                f"error: epoch {report.epoch}: {bad} of {len(losses)} losses ({report.key}) are "
                f"not finite{', nor is any gradient' if lost else ''}, so nothing is learned. Is "
                "the learning rate too high (--asr_args '--optim_conf lr=...'), or are there "
                "values in the upstream's weights or in the audio that are no numbers?"
            )
        return lost

    setattr(watched, _WATCHED, True)
    return watched


def output_dir(arguments: Sequence[str]) -> Path | None:
    """Return the `--output_dir` that an ESPnet program is given; None without one."""
    given = _given("--output_dir", arguments)
    return Path(given[-1]) if given else None


def check_statistics(arguments: Sequence[str]) -> None:
    """Refuse a training by statistics that stage 10 did not write, as with our config.

    Raises:
        ValueError: there is no such file.
    """
    for setting in _given("--normalize_conf", arguments):
        name, _, value = setting.partition("=")
        if name == "stats_file" and not Path(value).is_file():
            raise ValueError(
                f"--normalize_conf {setting}: there is no such file. asr.sh normalises by "
                "global_mvn, whatever the config says, and extract_feats_in_collect_stats: false "
                "writes no statistics for it. Give asr.sh --feats_normalize utterance_mvn."
            )


def _given(name: str, arguments: Sequence[str]) -> list[str]:
    """Return the values of one option in a command line, in its order."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(name, dest="values", action="append", default=[])
    found: list[str] = parser.parse_known_args(arguments)[0].values
    return found


def mend(folder: Path | None) -> None:
    """Write the model of the checkpoint's epoch where a kill came between the two files.

    Args:
        folder: a training's `--output_dir`; none, or one without a checkpoint, is left as it is.

    Raises:
        ValueError: the checkpoint cannot be read.
    """
    if folder is None:
        return
    for torn in folder.glob(".partial-*.pth"):  # what a kill left of files being written
        torn.unlink()
    path = folder / CHECKPOINT
    if not path.is_file():
        return
    import torch  # noqa: PLC0415 - heavy

    try:
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        epoch, model = states["reporter"]["epoch"], states["model"]
    except (RuntimeError, ValueError, EOFError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a complete checkpoint of ESPnet ({error}). A run was killed while it "
            f"wrote it. Delete the file to train again; --init_param {folder}/<N>epoch.pth starts "
            "from the last epoch's weights."
        ) from error
    target = folder / f"{epoch}epoch.pth"
    if not target.exists():
        say(f"{target} is missing: the run was killed before it was written. Made from {path}.")
        with atomic_path(target) as partial:
            torch.save(model, partial)


def prepare_spawned() -> None:
    """Register what is ours in a process that ESPnet spawned (one per GPU).

    Such a process imports the main module as `__mp_main__` without passing through `main`.
    """
    register()
    save_atomically()
    watch_losses()


if __name__ == "__mp_main__":
    prepare_spawned()

if __name__ == "__main__":
    main()
