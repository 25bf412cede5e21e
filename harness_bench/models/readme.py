"""The README of a folder of weights, which is its model card: what it is, and what opens it.

Callers add sections of what they know; whoever changes a card later replaces sections, so that
what a person wrote between them stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import write_text
from harness_bench.core.sanitize import shorten
from harness_bench.core.tables import markdown_table
from harness_bench.models.checkpoint import read_facts
from harness_bench.models.frozen import config_of, shape_of, type_of, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

README = "README.md"
OPENING = "Opening it"
PLACE = "FOLDER"  # stands for the model's place until it is known
ABSENT = "-"
_PAPER = re.compile(r"arxiv:([0-9]{4}\.[0-9]{4,5})")  # a tag, as a model hub writes it
_LONGEST_LICENCE = 120  # characters


def write_readme(folder: Path, title: str, **facts: Any) -> None:
    """Write README.md of a checkpoint folder; see `readme_text`."""
    write_text(folder / README, readme_text(folder, title, **facts))


def update_readme(folder: Path, title: str, source: Path) -> None:
    """Write the README of a copy of `source`: a run's anew, a card's with how to open the copy.

    What a card says, licence and terms above all, must go where its model goes.
    """
    file = folder / README
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if not text.strip() or (has_section(text, OPENING) and not head_of(text).get("license")):
        write_readme(folder, title)
    else:
        text = text.replace(_about(source), _about(folder))  # its numbers may have other bits now
        write_text(file, with_section(text, OPENING, opening(folder)))


def readme_text(
    folder: Path,
    title: str,
    *,
    licence: str = "",
    languages: Sequence[str] = (),
    summary: str = "",
    upstream: str = "",
    more: str = "",
) -> str:
    """Make the card of a checkpoint folder, from its files and its type's own words.

    Args:
        folder: a whole checkpoint folder.
        title: the model's name.
        licence: of the weights, SPDX's name.
        languages: ISO 639-1.
        summary: what the model is for.
        upstream: what `-u` takes for this model; "": its folder.
        more: further sections.
    """
    opened = section(OPENING, opening(folder, upstream))
    parts = [f"# {title}", summary, _about(folder), opened, more]
    text = "\n\n".join(part.strip() for part in parts if part) + "\n"
    return with_head(text, _head(folder, licence, languages))


def _head(folder: Path, licence: str, languages: Sequence[str]) -> dict[str, Any]:
    """Return the settings by which a model hub lists a model."""
    tags = ["speech", "self-supervised", config_of(folder).get("model_type")]
    return {
        "license": licence.lower(), "language": [*languages],
        "tags": [str(tag) for tag in tags if tag], "pipeline_tag": "feature-extraction",
    }  # fmt: skip


def with_head(text: str, settings: Mapping[str, Any]) -> str:
    """Return a card with these settings in its YAML head; others that it has stay, empty ones too.

    A head that is no YAML is a ValueError.
    """
    given = {key: value for key, value in settings.items() if value}
    card = _card(text)
    for key, value in given.items():
        setattr(card.data, key, value)
    return str(card).rstrip("\n") + "\n"


def head_of(text: str) -> dict[str, Any]:
    """Return the settings in a card's YAML head."""
    return dict(_card(text).data.to_dict())


def published_facts(folder: Path) -> dict[str, str]:
    """Return licence and paper that the card in a folder names, as fields of a result.

    The card may be anybody's: what is not there, or cannot be read, is left out.
    """
    file = folder / README
    try:
        head = head_of(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (ValueError, OSError):
        return {}
    licence = head.get("license")
    named = head.get("license_name") if licence == "other" else licence
    tags = head.get("tags")
    papers = map(_PAPER.fullmatch, map(str, tags if isinstance(tags, list) else ()))
    found = {
        "licence": shorten(", ".join(map(str, named if isinstance(named, list) else [named or ""])),
                           _LONGEST_LICENCE),
        "paper_url": next((f"https://arxiv.org/abs/{each[1]}" for each in papers if each), ""),
    }  # fmt: skip
    return {name: text for name, text in found.items() if text}


def _card(text: str) -> Any:
    import yaml  # noqa: PLC0415 - with the next one
    from huggingface_hub import ModelCard  # noqa: PLC0415 - half a second

    try:
        return ModelCard(text if text.startswith("---") else f"---\n{{}}\n---\n\n{text}")
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(
            f"The head of {README}, between two lines of ---, is no YAML of settings "
            f"({' '.join(str(error).split())[:200]}). Repair or remove it."
        ) from error


def section(title: str, text: str) -> str:
    """Return a section of a card; nothing without a text."""
    return f"## {title}\n\n{text}" if text else ""


def has_section(text: str, title: str) -> bool:
    """Tell whether a card has a section of this title."""
    return f"\n## {title}\n" in text


def with_section(text: str, title: str, body: str) -> str:
    """Return a card whose section of this title is `body`: in its place, or at the end."""
    parts = re.split(r"(?m)^(?=## )", text)
    names = [part.partition("\n")[0].removeprefix("## ").strip() for part in parts]
    new = f"{section(title, body)}\n\n"
    if title in names:
        parts[names.index(title)] = new
    else:
        parts[-1] = parts[-1].rstrip("\n") + "\n\n"
        parts.append(new)
    return "".join(parts).rstrip("\n") + "\n"


def points(lines: Sequence[str]) -> str:
    """Return a list of points."""
    return "\n".join(f"- {line}" for line in lines)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of rows, whose keys are the columns; nothing without rows."""
    head = list(dict.fromkeys(key for row in rows for key in row))
    cells = ([str(row.get(key, ABSENT)) for key in head] for row in rows)
    return markdown_table(head, cells) if rows else ""


def _about(folder: Path) -> str:
    kind, shape, facts = type_of(folder), shape_of(folder), read_facts(folder)
    weights = f"{kind.parameters(folder):,} parameters in {facts.get('dtype', 'float32')}"
    return (
        f"{kind.title}: {shape.num_layers} blocks of {shape.hidden_size} dimensions, {weights} "
        f"({weight_bytes(folder) / 1e6:.1f} MB), a frame per {shape.downsample_rate} samples at "
        f"16 kHz. {_made(facts)}"
    )


def _made(facts: Mapping[str, Any]) -> str:
    if "update" in facts:
        trained = f"Trained for {facts['update']:,} updates on {facts['hours']:.3g} h of audio"
    elif "imported_from" in facts:
        trained = f"Imported from fairseq's {facts['imported_from']}"
    elif facts.get("name") == "random":
        trained = f"Never trained: random weights of seed {facts['seed']}"
    else:
        return ""
    return f"{trained}; harness.json says more."


def opening(folder: Path, upstream: str = "", place: str = PLACE) -> str:
    """Say how to open a model that has a name after `-u`, or lies in a folder or on the Hub."""
    layers, dim = shape_of(folder).num_layers, shape_of(folder).hidden_size
    name = upstream or place
    taken = f"-u {upstream}" if upstream else f"-u harness_local -k {place}"
    elsewhere = type_of(folder).elsewhere
    if place != PLACE:
        elsewhere = re.sub(rf"\({PLACE}\b", f'("{place}"', elsewhere)
    return f"""```python
import harness_bench as hb

states = hb.hidden_states("{name}", "speech.wav")  # ({layers + 1}, frames, {dim})
```

- s3prl: `{taken}`, for `harness-bench probe` and `python -m harness_bench.run_downstream`
- ESPnet: `--upstream {name}` of the recipes, or the frontend `harness`
- {elsewhere}"""
