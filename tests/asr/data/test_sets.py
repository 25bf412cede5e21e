"""The sets of a run: copied from prepared corpora, changed in speed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from harness_bench.asr.data import kaldi, sets
from harness_bench.audio.io import load_waveform
from harness_bench.core.files import write_json
from harness_bench.cuts.store import cuts_path, read_cuts
from tests.egs.official import build

if TYPE_CHECKING:
    from pathlib import Path


def test_a_set_is_a_copy_under_its_own_name(tone_corpus: Path, tmp_path: Path) -> None:
    """Tests of two corpora are both called `test`; later changes of the corpus change no run."""
    spec = f"tones_test={tone_corpus}:test"
    name, count = sets.gather(spec, tmp_path, str.upper)
    assert (name, count) == ("tones_test", len(read_cuts(tone_corpus, "test")))
    same = cuts_path(tmp_path, name).read_bytes() == cuts_path(tone_corpus, "test").read_bytes()
    assert same
    assert set(kaldi.read_table(tmp_path / name / "text").values()) == {"X"}


@pytest.mark.parametrize("spec", ["test", "test=folder", "=folder:test", "test=:test"])
def test_a_set_of_another_form_is_refused(tmp_path: Path, spec: str) -> None:
    """Half a name would copy another split than was meant."""
    with pytest.raises(ValueError, match="expected NAME=FOLDER:SPLIT"):
        sets.gather(spec, tmp_path, str)


def test_other_speeds_have_other_lengths_names_and_speakers(
    mixed_cuts: Path, tmp_path: Path
) -> None:
    """As in Kaldi's recipes: every speed is a further speaker."""
    sets.gather(f"train={mixed_cuts}:train", tmp_path, str)
    assert sets.perturb(tmp_path, "train", [0.8, 1.0], "train_sp") == 6
    found = {cut.id: cut for cut in read_cuts(tmp_path, "train_sp")}
    for cut in read_cuts(mixed_cuts, "train"):
        assert len(load_waveform(found[cut.id])) == len(load_waveform(cut))
        slow = found[f"sp0.8-{cut.id}"]
        assert slow.supervisions[0].speaker == "sp0.8-spk"
        assert slow.supervisions[0].text == cut.supervisions[0].text
        assert len(load_waveform(slow)) == pytest.approx(len(load_waveform(cut)) / 0.8, abs=2)


@pytest.mark.parametrize("factors", [[1.0, 1.0], [0.0], [-1.0], [11.0]])
def test_a_factor_that_is_no_speed_is_refused(
    mixed_cuts: Path, tmp_path: Path, factors: list[float]
) -> None:
    """A speed given twice would train twice on the same."""
    sets.gather(f"train={mixed_cuts}:train", tmp_path, str)
    with pytest.raises(ValueError, match="expected distinct speeds"):
        sets.perturb(tmp_path, "train", factors, "train_sp")


def test_a_corpus_is_prepared_once(tmp_path: Path) -> None:
    """Reading 2,000 hours again at every rerun would cost a day; other options need it."""
    root = build(tmp_path / "official")["mgb3"]

    def prepared(**options: str) -> bool:
        return sets.prepare_once(
            "mgb3", root, tmp_path / "cuts", options, max_skipped=0.05, jobs=1, audio="decode"
        )

    assert [prepared(), prepared(), prepared(annotator="Ali"), prepared()] == [
        True,
        False,
        True,
        True,
    ]
    made = {"corpus": "mgb3", "root": str(root), "options": {}, "audio": "decode"}
    write_json(tmp_path / "cuts" / "prepared.json", made)  # as versions before noted it
    assert not prepared()
    (tmp_path / "cuts" / "UNFINISHED").touch()
    with pytest.raises(ValueError, match="was cut off"):
        prepared()


def test_a_corpus_is_prepared_once_by_runs_beside_each_other(tmp_path: Path) -> None:
    """Two models share --expdir; each would delete the cuts that the other is reading."""
    root = build(tmp_path / "official")["mgb3"]

    def prepared(_: int) -> bool:
        return sets.prepare_once(
            "mgb3", root, tmp_path / "cuts", {}, max_skipped=0.05, jobs=1, audio="decode"
        )

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(prepared, range(3))) == [False, False, True]
