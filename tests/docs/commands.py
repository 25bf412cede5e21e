"""What a page tells to type, read without running it: each verb and option must exist."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import typer

from harness_bench.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEREDOC = re.compile(r"<<-? *(['\"]?)(\w+)\1.*?^\2$", re.MULTILINE | re.DOTALL)
_OPERATOR = re.compile(r"[();<>|&]+")
_OPTIONAL = re.compile(r"\[(-[^\]]*)\](?:\.\.\.)?")  # of a synopsis


def commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every `harness-bench` in a text for bash."""
    text = _HEREDOC.sub("", text).replace("\\\n", " ")
    for told in _lines(_OPTIONAL.sub(r"\1 ...", text)):
        words = list[str]()
        for word in [*told, ";"]:
            if not _OPERATOR.fullmatch(word):
                words.append(word)
                continue
            for name in {"harness-bench", "harness_bench.cli"} & {*words}:
                yield words[words.index(name) + 1 :]
            words = []


def _lines(text: str) -> Iterator[list[str]]:
    """Yield the words of each line; a quotation may go on over several."""
    begun = ""
    for line in text.splitlines():
        begun += line
        lexer = shlex.shlex(begun, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        try:
            words = [*lexer]
        except ValueError:  # no closing quotation yet
            begun += "\n"
            continue
        yield words
        begun = ""
    if begun:
        raise ValueError(f"A quotation does not end: {begun!r}")


def check(words: list[str]) -> None:
    """Raise what typer says of a command line that cannot be; no path needs to exist.

    `...` stands for arguments that are left out.
    """
    command: Any = typer.main.get_command(app.app)
    context = command.context_class(command, info_name="harness-bench")
    while hasattr(command, "commands"):
        if words and words[0] in ("-h", "--help", "--version"):
            return
        command.parse_args(context, list(words))
        rest: list[str] = context._protected_args + context.args
        name, words = rest[0], rest[1:]
        found = command.get_command(context, name)
        if found is None:
            raise ValueError(f"There is no verb {name!r}; there are {', '.join(command.commands)}.")
        command, context = found, found.context_class(found, info_name=name, parent=context)
    whole = "..." not in words
    words = [word for word in words if word != "..."]
    given, left, _ = command.make_parser(context).parse_args(args=list(words))
    if left:
        raise ValueError(f"{context.info_name} does not take {left}.")
    for param in command.params:
        if whole and param.required and given.get(param.name) in (None, ()):
            raise ValueError(f"{context.info_name} needs {param.name}.")
        if (value := given.get(param.name)) not in (None, True, False):
            try:
                param.get_runtime_param().coerce(value, param=param, ctx=context)
            except typer.BadParameter as error:
                if "does not exist" not in str(error):
                    raise
