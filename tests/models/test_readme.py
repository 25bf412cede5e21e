"""The README of a folder: what it says of other toolkits is what they do."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from transformers import AutoModel

from harness_bench.models.checkpoint import halve, save_checkpoint, save_random
from harness_bench.models.frozen import parameter_count
from harness_bench.models.hubert import Hubert
from harness_bench.models.readme import (
    README,
    head_of,
    published_facts,
    update_readme,
    with_head,
    with_section,
    write_readme,
)
from tests.models.conftest import MEL, small_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("kind", "shape"), [("hubert", {}), ("wav2vec2", {}), ("harness_mel", MEL)]
)
def test_it_says_whether_transformers_opens_the_folder(
    tmp_path: Path, kind: str, shape: dict[str, Any]
) -> None:
    """From the file of the model's type alone; a type that is added brings its own words."""
    save_random(tmp_path, small_config(**shape), seed=3)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"hubert"', f'"{kind}"'))
    write_readme(tmp_path, "mine")
    text = (tmp_path / README).read_text()
    opened = None
    with suppress(ValueError):
        opened = AutoModel.from_pretrained(tmp_path)
    assert (opened is None) == ("transformers: **cannot open it.**" in text)
    assert opened is None or f"`{type(opened).__name__}.from_pretrained" in text
    head, _, rest = text.removeprefix("---\n").partition("---\n")
    assert kind in yaml.safe_load(head)["tags"]
    assert rest.startswith("\n# mine\n")
    assert f"{parameter_count(tmp_path):,} parameters in float32" in text
    assert "random weights of seed 3" in text


def test_it_says_what_made_the_model(tmp_path: Path) -> None:
    facts = {"name": "x", "update": 4000, "hours": 2.3456}
    save_checkpoint(tmp_path, Hubert(small_config()), facts=facts)
    halve(tmp_path)
    write_readme(tmp_path, "mine", upstream="harness_mini", more="## Licence")
    text = (tmp_path / README).read_text()
    assert "4,000 updates on 2.35 h" in text
    assert "parameters in float16" in text
    assert 'hb.hidden_states("harness_mini"' in text
    assert "`-u harness_mini`" in text
    assert text.endswith("## Licence\n")


def test_another_ones_card_goes_with_the_copy(tmp_path: Path) -> None:
    """Its licence binds whoever gets the copy; ours is written anew under the copy's name."""
    save_random(tmp_path, small_config(), seed=3)
    theirs = "---\nlicense: cc-by-nc-4.0\n---\n\n# Theirs\n\nNot for sale.\n"
    (tmp_path / README).write_text(theirs)
    update_readme(tmp_path, "mine", tmp_path)
    text = (tmp_path / README).read_text()
    assert text.startswith(theirs)
    assert "## Opening it" in text
    write_readme(tmp_path, "first")
    update_readme(tmp_path, "second", tmp_path)
    assert "\n# second\n" in (tmp_path / README).read_text()


CARDS = {
    "": {},
    "no head": {},
    "---\nlicense: apache-2.0\ntags: [speech, 'arxiv:2106.07447']\n---\n": {
        "licence": "apache-2.0", "paper_url": "https://arxiv.org/abs/2106.07447",
    },
    "---\nlicense: other\nlicense_name: our-terms\ntags: arxiv\n---\n": {"licence": "our-terms"},
    "---\nlicense: [mit, cc0-1.0]\n---\n": {"licence": "mit, cc0-1.0"},
    "---\nlicense: other\ntags: ['arxiv:../x', 7]\n---\n": {},
    "---\nlicense: [\n---\n": {},
}  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_a_card_tells_results_its_licence_and_paper(card: str, tmp_path: Path) -> None:
    """Whoever reads the board asks for them; a broken card must not stop a measurement."""
    assert published_facts(tmp_path) == {}
    (tmp_path / README).write_text(card)
    assert published_facts(tmp_path) == CARDS[card]


def test_a_card_of_ours_goes_with_the_copy_too(tmp_path: Path) -> None:
    """With its licence and limits; only what the copy changed is another."""
    save_random(tmp_path / "a", small_config(), seed=3)
    write_readme(tmp_path / "a", "mine", licence="MIT", upstream="mine", more="## Limits\n\nMany.")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    halve(tmp_path / "b")
    update_readme(tmp_path / "b", "copy", tmp_path / "a")
    text = (tmp_path / "b" / README).read_text()
    assert head_of(text)["license"] == "mit"
    assert "## Limits\n\nMany." in text
    assert "parameters in float16" in text
    assert "float32" not in text
    assert "-u harness_local -k FOLDER" in text


def test_what_a_person_wrote_into_a_card_stays() -> None:
    """Sections are replaced where they stand and added behind; settings of a head, one by one."""
    card = "---\nlicense: mit\nmine: [1, 2]\n---\n\n# x\n\nMy words.\n\n## B\n\nold\n\n## C\n\nc\n"
    changed = with_section(with_section(card, "B", "new"), "D", "d")
    assert changed == card.replace("old", "new") + "\n## D\n\nd\n"
    assert with_section(changed, "B", "new") == changed
    again = with_head(changed, {"license": "", "language": ["ar"]})
    assert head_of(again) == {"license": "mit", "mine": [1, 2], "language": ["ar"]}
    assert again.endswith(changed.partition("# x")[2])
    assert head_of(with_head("# plain\n", {"license": "mit"})) == {"license": "mit"}
    assert head_of("# plain\n") == {}
    for broken in ("license: [", "- a list", "license: mit\nlicense"):
        with pytest.raises(ValueError, match=r"README\.md.*no YAML"):
            head_of(f"---\n{broken}\n---\n\n# x\n")
