"""Tell which corpora there are, what each expects on disk and which options it has."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_bench import corpora
from harness_bench.core.config import build, resolved

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 96
_EXPECTS, _FIELDS = "Expects ", " Fields: "


@dataclass(frozen=True)
class Entry:
    """One corpus."""

    name: str
    description: str
    expects: str  # the tree, in words and patterns
    fields: str  # of its cuts; empty where the description does not tell
    options: dict[str, str]  # name -> default, as --option takes it
    about_options: str  # what each means
    named: dict[str, str]  # what may be named in place of a folder, and what it is


def catalogue(names: Sequence[str] = ()) -> list[Entry]:
    """Describe corpora from their own docstrings, all by name where none are named."""
    return [_entry(name) for name in names or corpora.available()]


def render(entries: Sequence[Entry], *, full: bool) -> str:
    """Return one line for each corpus and below it its tree; `full` adds fields and options."""
    width = max(len(entry.name) for entry in entries) + 2
    wrap = textwrap.TextWrapper(_WIDTH - width, break_on_hyphens=False, break_long_words=False).wrap
    lines: list[str] = []
    for entry in entries:
        about = wrap(entry.expects)
        if full:
            pairs = (f"--option {name}={value}" for name, value in entry.options.items())
            about += [*wrap(entry.fields), *wrap("  ".join(pairs))]
            about += entry.about_options.splitlines()
            about += [line for pair in entry.named.items() for line in wrap(": ".join(pair))]
        elif entry.named:
            about += wrap(f"Known by name: {', '.join(entry.named)}.")
        lines.append(f"{entry.name:<{width}}{entry.description}")
        lines += textwrap.indent("\n".join(about), " " * width).splitlines()
    return "\n".join(lines)


def _entry(name: str) -> Entry:
    kind = corpora.get(name)
    description, _, rest = (inspect.getdoc(kind) or "").partition("\n")
    body, _, attributes = rest.partition("Attributes:\n")
    paragraphs = (" ".join(part.split()).replace("`", "") for part in body.split("\n\n"))
    tree = next((part for part in paragraphs if part.startswith(_EXPECTS)), "")
    expects, found, fields = tree.partition(_FIELDS)
    defaults = resolved(build(kind, {}, source=f"corpus {name}"))
    return Entry(
        name=name,
        description=description.strip(),
        expects=re.sub(r", (?=[^{}]*})", ",", expects),  # a pattern that the docstring wraps
        fields=f"{found.strip()} {fields}" if found else "",
        options={key: _as_option(value) for key, value in defaults.items()},
        about_options=textwrap.dedent(attributes).rstrip(),
        named=getattr(kind, "named", dict[str, str])(),
    )


def _as_option(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
