"""What an ESPnet training folder tells of a model: for results, read without ESPnet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.config import read_yaml
from harness_bench.progress import say

if TYPE_CHECKING:
    from harness_bench.scoring.to_result import Facts

CONFIG = "config.yaml"
_OURS, _FBANK = "harness", "default"  # frontends
_LONG = ("token_list",)  # thousands of lines that the folder's own token list repeats
_MAX_TEXT = 20_000  # letters that a result takes


@dataclass(frozen=True)
class Trained:
    """One training folder.

    Attributes:
        settings: its config.yaml.
        layer_weights: shares of the upstream's hidden states; empty without a learned sum.
    """

    settings: dict[str, Any]
    layer_weights: tuple[float, ...] = ()

    @property
    def seed(self) -> int | None:
        """The training's seed."""
        return self.settings.get("seed")

    @property
    def kind(self) -> str:
        """What the leaderboard calls such a row."""
        return {_OURS: "pretrained", _FBANK: "baseline"}.get(str(self._frontend), "other")

    @property
    def checkpoint(self) -> Path | None:
        """The upstream's folder; None without one."""
        path = (self.settings.get("frontend_conf") or {}).get("checkpoint")
        return Path(path) if path and self._frontend == _OURS else None

    @property
    def _frontend(self) -> str | None:
        return self.settings.get("frontend")

    def facts(self) -> dict[str, Any]:
        """Return the fields of `to_result.Facts` that the folder tells."""
        seeds = {} if self.seed is None else {"seed": self.seed, "seeds": (self.seed,)}
        return {
            **seeds,
            **self._upstream(),
            "training_config": config_text(self.settings),
            "layer_weights": self.layer_weights,
        }

    def _upstream(self) -> dict[str, Any]:
        """Return size and digest of the upstream."""
        if self.kind == "baseline":
            return {"parameters": 0, "pretraining_data": "none"}
        if (folder := self.checkpoint) is None:
            return {}
        if not folder.exists():
            say(f"checkpoint {folder} is not there: the result tells neither its digest nor size")
            return {}
        from harness_bench.models.checkpoint import (  # noqa: PLC0415 - loads torch
            checkpoint_digest,
            parameter_count,
        )

        return {
            "parameters": parameter_count(folder),
            "checkpoint_digest": checkpoint_digest(folder),
        }


def read_trained(asr: Path, model: str | None = None, inference: Path | None = None) -> Trained:
    """Read a training folder.

    Args:
        asr: the folder with ESPnet's config.yaml.
        model: file of the model in it that was decoded with, for its layer weights.
        inference: config of decoding, added to the settings as `inference`.

    Raises:
        ValueError: a file is not there, or is no YAML of names and values.
    """
    settings = read_yaml(asr / CONFIG)
    if inference is not None:
        settings["inference"] = read_yaml(inference)
    return Trained(settings, layer_weights(asr / model) if model else ())


def layer_weights(model: Path) -> tuple[float, ...]:
    """Read the shares of the hidden states from a model's file; empty without a learned sum.

    Raises:
        ValueError: there is no such file.
    """
    if not model.is_file():
        raise ValueError(f"There is no model {model}. Name the file that was decoded with.")
    import torch  # noqa: PLC0415 - heavy

    weights = torch.load(model, map_location="cpu", weights_only=True).get("frontend.layer_weights")
    return () if weights is None else tuple(weights.softmax(0).tolist())


def config_text(settings: dict[str, Any]) -> str:
    """Write settings as YAML, without what is empty and without long lists of tokens."""
    import yaml  # noqa: PLC0415 - with ESPnet alone

    told = {
        name: value
        for name, value in settings.items()
        if name not in _LONG and value not in (None, [], {})
    }
    text = str(yaml.safe_dump(told, allow_unicode=True, sort_keys=False))
    if len(text) > _MAX_TEXT:
        raise ValueError(
            f"The training config has {len(text)} letters without its tokens, a result takes "
            f"{_MAX_TEXT}. Take out of {CONFIG} what is no setting."
        )
    return text


def facts_of(trained: Trained | None, **known: Any) -> Facts:
    """Put what a training folder tells together with what is known of the run, which wins."""
    from harness_bench.scoring.to_result import Facts  # noqa: PLC0415 - only results need it

    told = trained.facts() if trained else {}
    kind = trained.kind if trained else "other"
    given = {name: value for name, value in known.items() if value is not None}
    return Facts(**{"model_kind": kind, "task": "asr", **told, **given})
