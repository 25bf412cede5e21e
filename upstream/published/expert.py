"""A published model from a local copy, or by s3prl."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from harness_bench.upstream.harness.expert import UpstreamExpert

from harness_bench.core.log import say


def open_published(
    name: str, ckpt: str | None, kwargs: dict[str, Any], *, shape: tuple[int, int]
) -> Any:
    """Open a local copy where there is one, else s3prl's own upstream of the name.

    Args:
        name: s3prl's name.
        ckpt: a folder of transformers, a HuBERT file of fairseq, or None.
        kwargs: s3prl's own.
        shape: blocks and dimensions of the published model; a warning names another one, since its
            figures would stand under a wrong name.

    Raises:
        ValueError: `ckpt` is no checkpoint. s3prl would ignore it and fetch the published one.
    """
    if ckpt is None:
        family = "hubert" if name.startswith("hubert") else "wav2vec2"
        stock = importlib.import_module(f"s3prl.upstream.{family}.hubconf")
        return getattr(stock, name)(**kwargs)
    if not Path(ckpt).exists():
        raise ValueError(
            f"-u {name} -k {ckpt}: there is no such folder or file. Give a folder of transformers, "
            "or leave -k out: s3prl then fetches its own copy."
        )
    upstream = UpstreamExpert(ckpt, **kwargs)
    found = (upstream.backbone.shape.num_layers, upstream.backbone.shape.hidden_size)
    if found != shape:
        say(
            f"-u {name} -k {ckpt}: this model has {found[0]} blocks of {found[1]} dimensions, the "
            f"published {name} has {shape[0]} of {shape[1]}. Use -u harness_local for other models."
        )
    return upstream
