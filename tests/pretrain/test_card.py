"""A model to give away: what its card says is what its run and its data say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import yaml

from harness_bench.core.files import read_json
from harness_bench.cuts.store import read_cuts
from harness_bench.models.frozen import load_model
from harness_bench.models.hub import FILES
from harness_bench.pretrain.family import export, train_family
from harness_bench.pretrain.monitor import read_log
from tests.pretrain.conftest import written
from tests.tiny import DEFAULTS, TEACHERS

if TYPE_CHECKING:
    from pathlib import Path

CARD = """
family = "family.toml"
summary = "A small model of tones."
licence = "CC-BY-4.0"
notice = "Give credit."
languages = ["ar"]
limits = ["It has heard no speech."]
[data.tones]
licence = "CC0-1.0"
origin = "Made by a test."
[[figures]]
task = "tones, accuracy (%)"
small = 81.5
FBANK = "56.5 (50 to 63)"
[[figures]]
task = "noise, accuracy (%)"
random = 33
"""


@pytest.fixture(scope="module")
def family(tone_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a family of two, with its TOML in it."""
    folder = tmp_path_factory.mktemp("family")
    data = f'[data]\n[[data.sources]]\nfolder = "{tone_corpus}"\nname = "tones"\n'
    config = written(folder, DEFAULTS + data + TEACHERS)
    train_family(config, None, folder / "out", accelerator="cpu")
    return folder


def test_the_card_is_filled_from_what_there_is(
    family: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    """Hours by the cuts, CPU seconds and loss by the logs; the model opens as any other."""
    (family / "card.toml").write_text(CARD)
    run, out = family / "out" / "second" / "run", tmp_path / "small"
    export(run, out, dtype="float16", card=family / "card.toml")
    logs = ["first.train.jsonl", "second.train.jsonl"]
    added = ["README.md", "LICENSE.md", "family.toml", "curves.png", *logs]
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, *added])
    assert load_model(out).shape.num_layers == 2
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "family.toml").read_text() == (family / "family.toml").read_text()
    assert read_json(out / "harness.json")["dtype"] == "float16"
    text = (out / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert (head["license"], head["language"]) == ("cc-by-4.0", ["ar"])
    hours = sum(cut.duration for cut in read_cuts(tone_corpus, "train")) / 3600
    assert f"| tones | {hours:.3g} | CC0-1.0 |" in text
    rows = read_log(run / "train.jsonl")
    seconds = sum(row["cpu_seconds"] for row in rows)
    assert 0 < seconds < 60 * (os.cpu_count() or 1)
    assert f"{rows[-1]['loss_masked']:.3g} | {seconds:.3g} |" in text
    assert "| hidden, layer 1, 10 clusters | first | 3 |" in text
    assert "| task | small | FBANK | random |" in text
    assert "| noise, accuracy (%) | - | - | 33 |" in text
    assert "- It has heard no speech." in text
    licence = (out / "LICENSE.md").read_text()
    assert "CC-BY-4.0. Give credit." in licence
    assert "- tones: CC0-1.0. Made by a test." in licence


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("[data.tones]", "[data.others]", r"data\.tones"),
        ('"family.toml"', '"other.toml"', r"model\.encoder_ffn_embed_dim"),
        ('"family.toml"', '"student.toml"', "'second'; it has first"),
        ("licence = ", "license = ", "did you mean licence"),
    ],
)
def test_a_card_that_says_too_little_or_of_another_model_is_refused(
    family: Path, tmp_path: Path, old: str, new: str, what: str
) -> None:
    """Weights given away without a licence of their data, or with figures of other weights."""
    text = (family / "family.toml").read_text()
    (family / "other.toml").write_text(text.replace("ffn_embed_dim = 48", "ffn_embed_dim = 64"))
    (family / "student.toml").write_text(text.partition('[[iterations]]\nname = "second"')[0])
    (family / "card.toml").write_text(CARD.replace(old, new))
    with pytest.raises(ValueError, match=what):
        export(family / "out" / "second" / "run", tmp_path / "x", card=family / "card.toml")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_alone_has_no_card(family: Path, tmp_path: Path) -> None:
    (family / "card.toml").write_text(CARD)
    checkpoint = family / "out" / "second" / "run" / "checkpoint"
    with pytest.raises(ValueError, match=r"no finished run of a family"):
        export(checkpoint, tmp_path / "x", card=family / "card.toml")
