"""The recipes' own stages: hypotheses and cuts are joined by utterance and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.asr.data.kaldi import by_name, write_table
from harness_bench.asr.stages import collect_predictions, training_inputs
from harness_bench.core.workdir import NOTE
from harness_bench.cuts.store import read_cuts, write_cuts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cuts(tone_corpus: Path, tmp_path: Path) -> Path:
    """Four transcribed utterances of two genres and one language."""
    rows = read_cuts(tone_corpus, "test")[:4]
    for number, cut in enumerate(rows):
        segment = cut.supervisions[0]
        segment.language, segment.custom = "ar", {"genre": "news" if number % 2 else "sports"}
    write_cuts(tmp_path / "cuts", "test", rows)
    return tmp_path / "cuts"


def test_predictions_carry_text_group_and_tags_of_their_cut(cuts: Path, tmp_path: Path) -> None:
    """One utterance's genre at another's text would falsify every figure by genre."""
    names = list(by_name(cuts, "test"))
    write_table(tmp_path / "text", {name: f"said {name}" for name in reversed(names)})
    found = {row.id: row for row in collect_predictions(cuts, "test", tmp_path / "text")}
    for cut, name in zip(read_cuts(cuts, "test"), names, strict=True):
        segment = cut.supervisions[0]
        row = found.pop(cut.id)
        assert (row.ref, row.hyp, row.group) == (segment.text, f"said {name}", segment.speaker)
        assert row.tags == {"genre": segment.custom["genre"]}
    assert not found


def test_an_utterance_without_a_hypothesis_is_named(cuts: Path, tmp_path: Path) -> None:
    """Silently left out, it would lower the error rate."""
    first, *others = by_name(cuts, "test")
    write_table(tmp_path / "text", dict.fromkeys(others, "x"))
    with pytest.raises(ValueError, match=f"differ in 1 utterances.*{first}"):
        collect_predictions(cuts, "test", tmp_path / "text")


def test_a_training_that_began_keeps_its_inputs(tmp_path: Path) -> None:
    """ESPnet's --resume would go on with the old weights and the new settings."""
    training_inputs(tmp_path, {"layers": "mean", "tokens": "a"}, {})
    training_inputs(tmp_path, {"layers": "1", "tokens": "a"}, {})  # nothing is trained yet
    (tmp_path / "checkpoint.pth").touch()
    training_inputs(tmp_path, {"layers": "1", "tokens": "a"}, {})
    with pytest.raises(ValueError, match=r"layers .*; seed "):
        training_inputs(tmp_path, {"layers": "2", "tokens": "a", "seed": "1"}, {})
    # As a version before noted them.
    (tmp_path / NOTE).write_text('{"layers": "1", "tokens": "a"}', encoding="utf-8")
    training_inputs(tmp_path, {"layers": "1", "tokens": "a"}, {})
    # Options of older versions ended in a space where none of them decided the weights.
    (tmp_path / NOTE).write_text('{"layers": "1", "asr_args": " "}', encoding="utf-8")
    training_inputs(tmp_path, {"layers": "1", "asr_args": ""}, {})


def test_a_training_that_noted_nothing_is_not_gone_on_with(tmp_path: Path) -> None:
    """A checkout's asr.sh has tokens of its own; of equal number, nothing would fail."""
    (tmp_path / "checkpoint.pth").touch()
    with pytest.raises(ValueError, match=NOTE):
        training_inputs(tmp_path, {"layers": "mean"}, {})
    assert not (tmp_path / NOTE).exists()


def test_an_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Its stage was skipped; the message must say which file is missing."""
    with pytest.raises(ValueError, match="tokens: there is no file"):
        training_inputs(tmp_path, {}, {"tokens": str(tmp_path / "tokens.txt")})
