"""The command line of s3prl's `run_downstream`, checked and completed.

Its flags are read from the source of the installed s3prl without importing it: s3prl's own parser
comes after 15 seconds of imports and lists 200 upstreams in one paragraph. Nothing heavy is
imported before the check, so a typing error costs a fraction of a second.
"""

import argparse
import ast
import difflib
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any

from harness_bench.core.files import check_writable
from harness_bench.core.log import say
from harness_bench.core.registry import package_folder, packages_in
from harness_bench.probing.s3prl import checkpoints, hub

TASKS = "harness_bench.downstream"
COMMAND_FILE, PARSER_FUNCTION = "run_downstream.py", "get_downstream_args"
TYPES = {"int": int, "float": float, "str": str}


def tasks() -> list[str]:
    """List this project's classification tasks: the folders under `downstream/`."""
    return packages_in(TASKS)


def stock_tasks() -> list[str]:
    """List the tasks that s3prl itself brings."""
    found = (hub.s3prl_folder() / "downstream").glob("*/expert.py")
    return sorted(path.parent.name for path in found)


def packaged_config(task: str) -> Path:
    """Return the config file that comes with a task of ours."""
    return package_folder(TASKS) / task / "config.yaml"


def complete_command() -> None:
    """Complete the arguments of this process; end it for `--help` and for mistakes.

    Errors of this project that s3prl meets later are then told in one sentence, too.
    """
    sys.excepthook = tell
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print(help_text())  # noqa: T201 - what was asked for
        sys.exit()
    try:
        sys.argv[1:] = complete(sys.argv[1:])
    except ValueError as error:
        sys.exit(f"error: {error}")


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what ends the process: a ValueError of ours in a sentence, all else as Python does."""
    *_, raised = ("", *(frame.f_globals.get("__name__", "") for frame, _ in walk_tb(trace)))
    if issubclass(kind, ValueError) and raised.startswith("harness_bench."):
        sys.stderr.write(f"error: {error}\n")
    else:
        sys.__excepthook__(kind, error, trace)


def complete(argv: Sequence[str]) -> list[str]:
    """Check the arguments of `run_downstream` and add what s3prl would miss.

    Adds the packaged config where `-c` is absent, the CPU (and gloo) where there is no GPU, the
    local rank that torchrun puts into the environment, and the newest whole checkpoint for `-e
    FOLDER` and `-a`; accepts `--local-rank` for `--local_rank`.

    Raises:
        ValueError: an unknown upstream or task, a missing or broken file, an override s3prl cannot
            parse, the Hugging Face Hub, a checkpoint of other settings or of another upstream.
        SystemExit: an unknown flag (argparse says which), or nothing to do for this rank.
    """
    parser = make_parser()
    known = parser.parse_args([re.sub("^--local-rank", "--local_rank", word) for word in argv])
    check(known)
    if known.expdir is not None:
        check_writable(Path(known.expdir), "-p")
    if (known.override or "").lower() == "none":
        known.override = None
    _take_up(known, parser)
    if known.config is None and known.past_exp is None and known.downstream in tasks():
        known.config = str(packaged_config(known.downstream))
    _choose_rank(known)
    _choose_device(known)
    words: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse lists its flags nowhere else
        value = getattr(known, action.dest, None)
        if value is not None and value != action.default:
            name = action.option_strings[-1]
            # One word with its value: the value may begin with a dash (`-l -1`).
            words.append(name if action.nargs == 0 else f"{name}={value}")
    return words


def check(known: argparse.Namespace) -> None:
    """Raise `ValueError` for the first argument that cannot work."""
    if known.hub == "huggingface" or known.push_to_hf_hub:
        raise ValueError(
            "--hub huggingface and --push_to_hf_hub need an interface that huggingface_hub has "
            "dropped. Take a model of the Hub by -u hf_hubert_custom -k REPOSITORY, and upload the "
            "experiment folder with `hf upload`."
        )
    if known.downstream is not None:
        _check_name("task (-d)", known.downstream, [*tasks(), *stock_tasks()])
    if known.upstream is not None:
        _check_name("upstream (-u)", known.upstream, hub.options())
    if known.upstream is not None and known.past_exp is None:
        found = hub.checkpoint_of(known.upstream, known.upstream_ckpt)
        if known.upstream in hub.own_names() and known.upstream_ckpt is not None:
            known.upstream_ckpt = str(found)
    read = {"-c": known.config, "-e": known.past_exp, "-i": known.init_ckpt}
    read |= {"-t": known.evaluate_split} if known.mode == "inference" else {}
    for flag, path in read.items():
        if path is not None and not Path(path).exists():
            raise ValueError(f"{flag} {path}: there is no such file or folder.")
    for option in (known.override or "").split(",,"):
        if option and option.lower() != "none" and option.count("=") != 1:
            raise ValueError(
                f"-o {option!r}: s3prl takes exactly one '=' in each override, as in "
                "config.optimizer.lr=1e-3, and ',,' between them. Put a value that holds '=' "
                "into a config file and give that with -c."
            )


def _take_up(known: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Choose and check the checkpoint that `-a`, `-e` or `-i` means."""
    given = {name: value for name, value in vars(known).items()
             if value is not None and value != parser.get_default(name)}  # fmt: skip
    auto = known.auto_resume
    _choose_checkpoint(known)
    if known.past_exp is None and (known.init_ckpt is None or known.mode == "train"):
        return
    from harness_bench.probing.s3prl import past  # noqa: PLC0415 - imports torch

    if known.past_exp is not None:
        packaged = packaged_config(known.downstream) if known.downstream in tasks() else None
        past.take_up(known, given, auto=auto, packaged=packaged)
    else:
        past.check_weights(known)


def _choose_checkpoint(known: argparse.Namespace) -> None:
    """Name the file that `-e FOLDER` and `-a` mean: s3prl takes the newest, broken or not."""
    # As s3prl names it, whose -a comes before -e.
    folder = Path(known.expdir or f"result/downstream/{known.expname}")
    if known.auto_resume and checkpoints.states(folder):
        known.auto_resume = False
        if (found := checkpoints.newest_whole(folder)) is not None:
            known.past_exp = str(found)
        else:
            say(f"{folder} has no whole checkpoint: starting from the beginning.")
    elif known.past_exp is not None:
        known.past_exp = str(checkpoints.choose(Path(known.past_exp)))


def _choose_rank(known: argparse.Namespace) -> None:
    """Take the local rank of torchrun's environment; only training is shared among processes."""
    if known.local_rank is None and "LOCAL_RANK" in os.environ:
        known.local_rank = int(os.environ["LOCAL_RANK"])
    if known.local_rank is None or known.mode == "train":
        return
    # Every process would test all utterances and write the same files.
    if int(os.environ.get("RANK", known.local_rank)) > 0:
        sys.exit()
    say(f"-m {known.mode} is not shared among processes: the first one does it.")
    known.local_rank = None


def _choose_device(known: argparse.Namespace) -> None:
    if not known.device.startswith("cuda") or _has_gpu():
        return
    say("No CUDA device here: running on the CPU.")
    known.device = "cpu"
    if known.local_rank is not None:
        known.backend = "gloo"


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - heavy; needed only once the arguments are right

    return torch.cuda.is_available()


def _check_name(what: str, name: str, known: Iterable[str]) -> None:
    names = sorted(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or names
        raise ValueError(f"There is no {what} {name!r}; did you mean {', '.join(near)}?")


def make_parser() -> argparse.ArgumentParser:
    """Build a parser of the flags that the installed s3prl takes."""
    parser = argparse.ArgumentParser(
        prog="run_downstream",
        description="Train and test a head on an upstream: s3prl's command line and flags, with "
        "this project's upstreams and tasks.",
    )
    for names, options in _flags():
        parser.add_argument(*names, **options)
    return parser


def help_text() -> str:
    """Return what `--help` prints: the flags, then every upstream and task."""
    own = {name: about for name, (_, about) in hub.own_upstreams().items()}
    experts = {name: hub.parse(package_folder(TASKS) / name / "expert.py") for name in tasks()}
    about_tasks = {
        name: (ast.get_docstring(tree) or "").partition("\n")[0] for name, tree in experts.items()
    }
    # s3prl's hub also exposes two classes that it imports.
    stock = [name for name in hub.options() if name[0].islower() and name not in own]
    parts = [
        make_parser().format_help(),
        _list("upstreams (-u) of this project", own),
        _list("tasks (-d) of this project", about_tasks),
        _wrapped("upstreams that s3prl brings", stock),
        _wrapped("tasks that s3prl brings", stock_tasks()),
    ]
    return "\n".join(parts)


def _flags() -> Iterator[tuple[list[str], dict[str, Any]]]:
    found = [
        node
        for node in hub.parse(hub.s3prl_folder() / COMMAND_FILE).body
        if isinstance(node, ast.FunctionDef) and node.name == PARSER_FUNCTION
    ]
    if not found:
        raise ValueError(
            f"s3prl's {COMMAND_FILE} has no {PARSER_FUNCTION}, from which its flags are read. This "
            "version is not supported; install the one of requirements.lock."
        )
    for node in ast.walk(found[0]):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".add_argument"):
            names = [ast.literal_eval(word) for word in node.args]
            yield names, {word.arg: _value(word) for word in node.keywords if word.arg}


def _value(word: ast.keyword) -> Any:
    """Evaluate an option of `add_argument`: a type's name, a text with gaps, or a literal."""
    if word.arg == "type" and isinstance(word.value, ast.Name):
        return TYPES[word.value.id]
    if isinstance(word.value, ast.JoinedStr):
        # The gaps hold s3prl's list of upstreams, which is ours to give.
        parts = (
            str(part.value) if isinstance(part, ast.Constant) else "listed below"
            for part in word.value.values
        )
        return " ".join("".join(parts).split())
    return ast.literal_eval(word.value)


def _list(title: str, lines: Mapping[str, str]) -> str:
    width = max(map(len, lines), default=0)
    rows = (f"  {name:<{width}}  {line}" for name, line in sorted(lines.items()))
    return "\n".join([f"{title}:", *rows, ""])


def _wrapped(title: str, names: Iterable[str]) -> str:
    text = textwrap.fill(
        " ".join(sorted(names)), width=98, initial_indent="  ", subsequent_indent="  ",
        break_on_hyphens=False,
    )  # fmt: skip
    return f"{title}:\n{text}\n"
