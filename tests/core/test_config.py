"""A typing error in a config must never run for days under a default nobody chose."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build, load, read_toml, read_yaml, resolved, typed
from harness_bench.models.config import HubertConfig
from harness_bench.pretrain.config import FamilyConfig, IterationConfig, LabelConfig, PretrainConfig

MODEL = {"encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64}
MODEL["encoder_attention_heads"] = 4
WHOLE: dict[str, Any] = {
    "name": "it1",
    "model": MODEL,
    "labels": {"source": "mfcc"},
    "pretrain": {"max_update": 10},
}
# dotted key, its value, what the message must say
WRONG: list[tuple[str, Any, list[str]]] = [
    ("pretrain.max_updates", 1, ["'pretrain.max_updates'", "did you mean max_update"]),
    ("labels.zzz", 1, ["'labels.zzz'", "known keys: source"]),
    ("modle", {}, ["'modle'", "did you mean model?"]),
    ("pretrain.lr", "1e-3", ["'1e-3'", "number"]),
    ("pretrain.max_update", 10.0, ["10.0", "integer"]),
    ("pretrain.seed", True, ["True", "integer"]),
    ("labels.seed", date(2024, 1, 1), ["2024-01-01", "integer"]),
    ("pretrain.mask_prob", 1.5, ["1.5", "> 0 and <= 1"]),
    ("labels.clusters", 1, ["= 1", ">= 2 and <= 65535"]),
    ("labels.layer", 97, ["= 97", ">= 0 and <= 96"]),
    ("pretrain.lr", float("nan"), ["nan", "finite"]),
    ("labels.fit_hours", float("inf"), ["inf", "finite"]),
    ("labels.source", "mel", ["'mel'", "'mfcc', 'hidden'"]),
    ("pretrain.adam_betas", [0.9], ["is missing"]),
    ("pretrain.adam_betas", [0.9, 1.0], ["pretrain.adam_betas.1 = 1.0", "less than 1"]),
    ("model", {**MODEL, "conv_stride": [5, 0, 2]}, ["conv_stride.1 = 0", "equal to 1"]),
    ("pretrain", 3, ["= 3", "object"]),
    ("pretrain", {}, ["pretrain.max_update", "is missing"]),
    ("model", {**MODEL, "encoder_attention_heads": 5}, ["= 32", "not a multiple", "= 5"]),
]


@pytest.mark.parametrize(("key", "value", "expected"), WRONG)
def test_message_names_key_value_and_what_is_allowed(
    key: str, value: object, expected: list[str]
) -> None:
    table, _, name = key.rpartition(".")
    change = {table: {**WHOLE[table], name: value}} if table else {name: value}
    with pytest.raises(ValueError, match=r"^my\.toml: ") as caught:
        build(IterationConfig, {**WHOLE, **change}, source="my.toml")
    for part in [key, *expected]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values", "told", "lines"),
    [
        # Nobody wants to start a job once per typing error.
        (PretrainConfig, {"max_update": 0, "max_second": 1.0, "lr": -1.0},
         "(?s)max_update.*lr.*max_second", 3),
        # A family has many iterations: in which one is the key wrong? It is pages long, too.
        (FamilyConfig, {"name": "f", "iterations": [WHOLE, {**WHOLE, "model": {**MODEL, "x": 3}}]},
         r"'iterations\.1\.model\.x'; known keys", 1),
        (FamilyConfig, {"name": "f", "iterations": [WHOLE, WHOLE]}, r"x: iteration 'it1' is th", 1),
    ],
)  # fmt: skip
def test_all_faults_are_told_with_their_place_alone(
    kind: Any, values: dict[str, Any], told: str, lines: int
) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        build(kind, values, source="x")
    assert len(str(caught.value).splitlines()) == lines
    assert len(str(caught.value)) < 600


numbers = st.floats(min_value=1e-9, max_value=1e9, allow_nan=False)
pretrain_values = st.fixed_dictionaries(
    {"max_update": st.integers(1, 10**9)},
    optional={
        "max_seconds": numbers,
        "mask_prob": st.floats(0, 1, exclude_min=True),
        "adam_betas": st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=2),
        "warmup_updates": st.none() | st.integers(0, 10**9),
        "init": st.sampled_from(["random", "block_average", "copy_extractor"]),
        "lr": numbers,
    },
)
label_values = st.fixed_dictionaries(
    {"source": st.just("hidden"), "layer": st.integers(0, 96)},
    optional={"clusters": st.integers(2, 65535), "fit_hours": numbers},
)
model_values = st.builds(
    lambda heads, width, layers: {
        **MODEL,
        "encoder_attention_heads": heads,
        "encoder_embed_dim": heads * width,
        "encoder_layers": layers,
        "conv_pos_groups": heads,
    },
    st.integers(1, 16),
    st.integers(8, 64),
    st.integers(1, 96),
)


@given(model_values, label_values, pretrain_values)
def test_resolved_builds_the_same_config_again(
    model: dict[str, Any], labels: dict[str, Any], pretrain: dict[str, Any]
) -> None:
    """The config in a run's provenance must be enough to repeat the run."""
    values = {"name": "x", "model": model, "labels": labels, "pretrain": pretrain, "teacher": "t"}
    config = build(IterationConfig, values, source="first")
    assert build(IterationConfig, resolved(config), source="again") == config
    assert resolved(config.pretrain) | pretrain == resolved(config.pretrain)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(HubertConfig, "model"), (LabelConfig, "labels"), (PretrainConfig, "pretrain")],
)
def test_resolved_writes_every_default(kind: Any, name: str) -> None:
    """A default that changes in a later version must not change what an old run is said to be."""
    config = build(kind, WHOLE[name], source="x")
    assert set(resolved(config)) == set(kind.__pydantic_fields__)


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text("max_update = 3\nlr = 0.5\n")
    assert load(PretrainConfig, path).lr == 0.5
    path.write_text("max_update = 0\n")
    with pytest.raises(ValueError, match=r"model\.toml: max_update = 0"):
        load(PretrainConfig, path)


@pytest.mark.parametrize(
    ("read", "content", "told"),
    [
        *((read_toml, text, "is not valid TOML")
          for text in (b"a = \n", b"a = 1\na = 2\n", b"\xff\xfe", b"[table\n")),
        (read_yaml, b"a: [", "is not valid YAML"),
        (read_yaml, b"\xff\xfe\x00", "is not valid YAML"),
        (read_yaml, b"!!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        (read_yaml, b"- a\n", ": expected names and values, found list"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(
    tmp_path: Path, read: Callable[[Path], object], content: bytes, told: str
) -> None:
    """Nothing in it is run, either: packs of models come from anywhere."""
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} ?{told}"):
        read(path)


@pytest.mark.parametrize(
    ("read", "name"), [(read_toml, "none"), (read_toml, "."), (read_yaml, ".")]
)
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}(: there is no such file| is a folder)"):
        read(tmp_path / name)


@dataclass(frozen=True, config=STRICT)
class Options:
    """One field of each kind that a command line may set."""

    rates: tuple[float, ...]
    names: tuple[str, ...]
    on: bool
    count: int
    word: str


def test_text_of_a_command_line_takes_the_types_of_the_config() -> None:
    """All is text there; what cannot be turned is left for the strict check to explain."""
    given = {"rates": "0.9, 1.1", "names": "1 b", "on": "true", "count": "x", "word": "1"}
    turned = {"rates": [0.9, 1.1], "names": ["1", "b"], "on": True, "count": "x", "word": "1"}
    assert typed(Options, given) == turned
