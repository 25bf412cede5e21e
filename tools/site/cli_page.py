"""MkDocs hook: lists all verbs on their page, from the options that the command itself reads."""

from __future__ import annotations

import re
from html import escape
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import typer

from harness_bench.cli.app import app
from harness_bench.cli.help import parameter_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    """Write the commands of a group under their panels, and those of its groups a level deeper."""
    commands = [group.get_command(context, name) for name in group.list_commands(context)]
    for panel, members in _by_panel(commands):
        if panel:
            yield f"\n{'#' * level} {panel} {{ #group-{panel.lower().replace(' ', '-')} }}\n"
        for command in members:
            inner = typer.Context(command, info_name=command.name, parent=context)
            below = level + bool(panel)
            yield f"\n{'#' * below} {inner.command_path.partition(' ')[2]}\n"
            yield from _help(command.help or "")
            yield f"```text\n{command.get_usage(inner).removeprefix('Usage: ')}\n```\n"
            yield from _options(command, inner)
            yield from _examples(command.epilog or "")
            if hasattr(command, "list_commands"):
                yield from _verbs(command, inner, below + 1)


def _by_panel(members: Iterable[Any]) -> list[tuple[str, list[Any]]]:
    """Sort commands or options under the panels of `--help`, in the order of their first member."""
    panels: dict[str, list[Any]] = {}
    for member in members:
        panel = getattr(member, "rich_help_panel", None)  # typer's placeholder where none is set
        panels.setdefault(panel if isinstance(panel, str) else "", []).append(member)
    return list(panels.items())


def _help(text: str) -> Iterator[str]:
    """Write the paragraphs of a help."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield f"{_plain(paragraph)}\n"


def _examples(text: str) -> Iterator[str]:
    """Write the examples behind a help as code."""
    if text:
        title, _, lines = text.partition("\n")
        yield f"{title}\n\n```bash\n{dedent(lines)}\n```\n"


def _options(command: Any, context: typer.Context) -> Iterator[str]:
    """Write a table of the arguments and options of each panel, as help words them."""
    shown = [one for one in command.get_params(context) if one.name != "help"]
    for panel, members in _by_panel(shown):
        rows = list(filter(None, (parameter_record(one, context) for one in members)))
        if rows:
            yield f"| {panel or 'argument or option'} | meaning |\n|---|---|"
            yield from (f"| `{names}` | {_plain(text)} |" for names, text in rows)
            yield ""


def _plain(text: str) -> str:
    """Guard what Markdown reads as markup or as the end of a cell; backticks keep their meaning."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"([\\*_\[|])", r"\\\1", escape(parts[place], quote=False))
    return "".join(parts)
