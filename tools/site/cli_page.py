"""MkDocs hook: lists all verbs on their page, from the options that the command itself reads."""

from __future__ import annotations

import re
from html import escape
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import typer

from harness_bench.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.structure.pages import Page

PAGE = "reference/cli.md"


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str | None:
    """Add the verbs to the page of the command line."""
    return f"{markdown}\n{verbs()}" if page.file.src_uri == PAGE else None


def verbs() -> str:
    """Write the options that stand before a verb, then every verb, in Markdown."""
    command: Any = typer.main.get_command(app)
    context = typer.Context(command, info_name="harness-bench")
    return "\n".join([*_options(command, context), *_verbs(command, context)])


def _verbs(group: Any, context: typer.Context, level: int = 2) -> Iterator[str]:
    """Write the commands of a group, and those of its groups one level deeper."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = typer.Context(command, info_name=name, parent=context)
        yield f"\n{'#' * level} {inner.command_path.partition(' ')[2]}\n"
        yield from _help(command.help or "", command.epilog or "")
        yield f"```text\n{command.get_usage(inner).removeprefix('Usage: ')}\n```\n"
        yield from _options(command, inner)
        if hasattr(command, "list_commands"):
            yield from _verbs(command, inner, level + 1)


def _help(text: str, examples: str) -> Iterator[str]:
    """Write the paragraphs of a help, and its examples as code."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield f"{_plain(paragraph)}\n"
    if examples:
        title, _, lines = examples.partition("\n")
        yield f"{title}\n\n```bash\n{dedent(lines)}\n```\n"


def _options(command: Any, context: typer.Context) -> Iterator[str]:
    """Write a table of the arguments and options, as help words them."""
    records = [param.get_help_record(context) for param in command.get_params(context)]
    rows = [(names, text) for names, text in filter(None, records) if "--help" not in names]
    if rows:
        yield "| argument or option | meaning |\n|---|---|"
        yield from (f"| `{names}` | {_plain(text)} |" for names, text in rows)
        yield ""


def _plain(text: str) -> str:
    """Guard what Markdown reads as markup or as the end of a cell; backticks keep their meaning."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"([\\*_\[|])", r"\\\1", escape(parts[place], quote=False))
    return "".join(parts)
