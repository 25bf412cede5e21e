"""How `--help` looks: verbs and options in groups, first lines uncut, examples last.

Plain text, because importing and drawing rich's panels triples the time of `--help`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, override

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    Record = tuple[str, str]

MANY_OPTIONS = 10  # a verb with more shows them in groups
# The first column of an option with choices: `--to <onnx|torchscript>`.
_CHOICES = re.compile(r"(?P<option>--[\w-]+).* .(?P<values>[^ ]*\|[^ ]*).")
_EXAMPLES = re.compile(r"^Examples?:$", re.MULTILINE)


class Verb(TyperCommand):
    """A verb whose docstring may end with "Examples:", which help shows below the options."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        text = inspect.cleandoc(self.help or "")
        if found := _EXAMPLES.search(text):
            self.help = text[: found.start()].rstrip()
            self.epilog = "\n".join(_joined(text[found.start() :].splitlines()))

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = [word for each in args for word in each.split("=", 1)]
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # "No such option", which typer does not export: --format onnx is --to onnx.
            if hasattr(error, "possibilities"):
                name: str = getattr(error, "option_name", "")
                value = words[words.index(name) + 1 :][:1] if name in words else []
                found = self._with_value(ctx, {name.lstrip("-"), *value})
                error.possibilities = found or error.possibilities
            raise

    def _with_value(self, ctx: Any, values: set[str]) -> list[str]:
        """Return options that take one of some values, with it."""
        shown = (parameter_record(each, ctx) for each in self.get_params(ctx))
        choices = (_CHOICES.fullmatch(each[0]) for each in shown if each)
        return [
            f"{found['option']} {value}"
            for found in choices if found for value in found["values"].split("|") if value in values
        ]  # fmt: skip

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self.get_params(ctx), ctx, formatter)

    @override
    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if self.epilog:  # written as it is: click would wrap the examples like prose
            formatter.write(f"\n{self.epilog}\n")


class VerbGroup(TyperGroup):
    """A group of verbs, listed under the panels that they name."""

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        _write_parameters(self.get_params(ctx), ctx, formatter)

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        names = self.list_commands(ctx)
        width = max(map(len, names))
        panels: dict[str, list[Record]] = {}
        for name in names:
            verb: Any = self.commands[name]
            row = (name.ljust(width), first_line(verb))
            panels.setdefault(verb.rich_help_panel or "Commands", []).append(row)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


class Verbs(typer.Typer):
    """The verbs of one panel of `harness-bench --help`, or of a group such as `score`.

    `harness_bench.cli.app` adds each module's instance; a new verb is a decorated function.
    """

    def __init__(self, panel: str | None = None, **settings: Any) -> None:
        defaults: dict[str, Any] = {
            "cls": VerbGroup, "no_args_is_help": True, "rich_markup_mode": None,
        }  # fmt: skip
        super().__init__(**defaults | settings)
        self._panel = panel

    @override
    def command(
        self, name: str | None = None, **settings: Any
    ) -> Callable[[typer.models.CommandFunctionType], typer.models.CommandFunctionType]:
        return super().command(name, cls=Verb, rich_help_panel=self._panel, **settings)

    def group(self, name: str, verbs: typer.Typer) -> None:
        """Add a group of verbs under a name of its own."""
        self.add_typer(verbs, name=name, rich_help_panel=self._panel)


def first_line(verb: Any) -> str:
    """Return the first paragraph of a verb's help, without its full stop."""
    return " ".join((verb.help or "").split("\n\n")[0].split()).removesuffix(".")


def _joined(lines: list[str]) -> Iterable[str]:
    """Put a backslash where the next line continues a command, so that it can be copied."""
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        continued = after.startswith(" " * 4)
        yield f"{line} \\" if continued else line


def parameter_record(param: Any, ctx: Any) -> Record | None:
    """Return the two columns of a parameter; `<list[Path]>` reads `<path>`, its value each time."""
    if (found := param.get_help_record(ctx)) is None:
        return None
    name = re.sub(r"<list\[(\w+)\]>", lambda kind: f"<{kind[1].lower()}>", found[0])
    return name.replace(" range>", ">"), found[1]


def _write_parameters(params: Iterable[Any], ctx: Any, formatter: Any) -> None:
    arguments: list[Record] = []
    options: list[tuple[str, Record]] = []  # panel and record, as declared; --help has no panel
    for param in params:
        if (record := parameter_record(param, ctx)) is None:
            continue
        if param.param_type_name == "argument":
            arguments.append(record)
        else:
            options.append((getattr(param, "rich_help_panel", None) or "Options", record))
    if len(options) - 1 <= MANY_OPTIONS:
        options = [("Options", record) for _, record in options]
    panels: dict[str, list[Record]] = {"Arguments": arguments}
    for panel, record in sorted(options, key=lambda option: option[0] == "Options"):
        panels.setdefault(panel, []).append(record)
    for title, rows in panels.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
