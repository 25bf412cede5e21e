"""MkDocs hook: tables of the fields of result files, from their JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

PAGE, SCHEMA = "reference/result_schema.md", "result.schema.json"
MARK = "<!-- fields -->"  # where the tables go


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: object) -> str | None:
    """Put the tables in place of the mark."""
    if page.file.src_uri != PAGE:
        return None
    schema = json.loads((Path(config.docs_dir) / SCHEMA).read_text(encoding="utf-8"))
    return markdown.replace(MARK, "\n".join(tables(schema)))


def tables(schema: Mapping[str, Any]) -> Iterator[str]:
    """Write a table of the fields of the record, and one of each record within it."""
    for record in (schema, *schema["$defs"].values()):
        yield f"\n## {record['title']}\n\n{record['description']}\n"
        yield "| field | type | where it is left out |\n|---|---|---|"
        for name, rule in record["properties"].items():
            default = f"`{json.dumps(rule['default'])}`" if "default" in rule else ""
            absent = "refused" if name in record.get("required", ()) else default
            yield f"| `{name}` | {type_of(rule)} | {absent} |"
    yield ""


def type_of(rule: Mapping[str, Any]) -> str:
    """Say in words which values a field takes; the schema has the bounds."""
    match rule:
        case {"anyOf": choices}:
            said = " or ".join(map(type_of, choices))
        case {"$ref": target}:
            name = target.rpartition("/")[2]
            said = f"[{name}](#{name.lower()})"
        case {"enum": options}:
            said = ", ".join(f"`{json.dumps(option)}`" for option in options)
        case {"prefixItems": items}:
            said = f"list of {len(items)}: {', '.join(map(type_of, items))}"
        case {"items": item}:
            said = f"list of {type_of(item)}"
        case {"additionalProperties": {} as value}:
            said = f"object, name to {type_of(value)}"
        case {"format": "date-time"}:
            said = "date and time"
        case _:
            said = rule["type"]
    return said
