"""The README of an exported folder: what the model is, and which toolkits open it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.files import write_text
from harness_bench.models.checkpoint import read_facts
from harness_bench.models.frozen import shape_of, type_of, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

README = "README.md"


def write_readme(
    folder: Path,
    title: str,
    *,
    head: str = "",
    summary: str = "",
    upstream: str = "",
    more: str = "",
) -> None:
    """Write README.md of a checkpoint folder, from its files and its type's own words.

    Args:
        folder: a whole checkpoint folder.
        title: the model's name.
        head: what stands above all else, such as a card's settings.
        summary: what the model is for.
        upstream: what `-u` takes for this model; "": its folder.
        more: sections of a card.
    """
    parts = [head, f"# {title}", summary, _about(folder), _opened(folder, upstream), more]
    write_text(folder / README, "\n\n".join(part.strip() for part in parts if part) + "\n")


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


def _opened(folder: Path, upstream: str) -> str:
    layers, dim = shape_of(folder).num_layers, shape_of(folder).hidden_size
    name = upstream or "FOLDER"
    taken = f"-u {upstream}" if upstream else "-u harness_local -k FOLDER"
    return f"""## Opening it

```python
import harness_bench as hb

states = hb.hidden_states("{name}", "speech.wav")  # ({layers + 1}, frames, {dim})
```

- s3prl: `{taken}`, for `harness-bench probe` and `python -m harness_bench.run_downstream`
- ESPnet: `--upstream {name}` of the recipes, or the frontend `harness`
- {type_of(folder).elsewhere}"""
