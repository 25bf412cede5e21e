"""Subsets of shards: the same list as of prepared cuts, with their audio."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from harness_bench.cli import app
from harness_bench.core.files import read_ids, read_json
from harness_bench.core.own_files import UNFINISHED
from harness_bench.corpora.subset import subset
from harness_bench.cuts import shar
from harness_bench.cuts.fields import spoken, with_custom
from harness_bench.cuts.shar import open_shards, read_metadata, read_shards, write_shards
from harness_bench.cuts.store import write_cuts
from harness_bench.pretrain.data.sources import open_folder
from tests.corpora.test_subset import wanted
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from lhotse.cut import Cut


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> list[Cut]:
    """Twenty utterances in two languages, each with a field of its own."""
    made = make_cuts(tmp_path_factory.mktemp("audio"), [4_000 + 731 * at for at in range(20)])
    said = (spoken(cut, "ar" if at < 12 else "en") for at, cut in enumerate(made))
    return [with_custom(cut, kept=at) for at, cut in enumerate(said)]


@pytest.fixture
def folders(cuts: list[Cut], tmp_path: Path) -> list[Path]:
    """Two folders of shards, one of each language."""
    write_shards(cuts[:12], tmp_path / "ar", shard_cuts=5)
    write_shards(cuts[12:], tmp_path / "en", shard_cuts=3)
    return [tmp_path / "ar", tmp_path / "en"]


def ids(folder: Path, piece: str) -> list[str]:
    return read_ids(folder / f"ids.{piece}.txt")


def test_the_list_is_that_of_prepared_cuts(
    cuts: list[Cut], folders: list[Path], tmp_path: Path
) -> None:
    """Whoever has shards and whoever has prepared cuts draw the same utterances."""
    write_cuts(tmp_path / "cuts", "train", cuts)
    want = wanted(hours={"train": 0.001, "dev": 0.0005}, seed=3)
    plain = subset([tmp_path / "cuts"], tmp_path / "plain", want)
    found = subset(folders, tmp_path / "sharded", want)
    assert found.pieces == plain.pieces
    digests = [read_json(tmp_path / name / "split.json")["digest"] for name in ("plain", "sharded")]
    assert digests[0] == digests[1]
    assert "All shards." in found.rule
    assert subset(folders[::-1], tmp_path / "back", want).pieces == found.pieces


def test_cuts_come_with_all_they_had(folders: list[Path], tmp_path: Path) -> None:
    """Fields, samples and, for pretraining, an index; nothing that the reader adds."""
    subset(folders, tmp_path / "out", wanted(hours={"train": 0.001, "dev": 0.0005}))
    by_id = {cut.id: cut for folder in folders for cut in read_shards(open_shards(folder))}
    for piece in ("train", "dev"):
        source = open_folder(tmp_path / "out" / piece, "train")
        found = list(read_shards(open_shards(tmp_path / "out" / piece)))
        assert sorted(cut.id for cut in found) == ids(tmp_path / "out", piece)
        assert source.utterances == len(found)
        for cut in found:
            assert cut.custom == by_id[cut.id].custom
            assert set(cut.custom or {}) == {"kept"}
            assert cut.supervisions == by_id[cut.id].supervisions
            np.testing.assert_array_equal(cut.load_audio(), by_id[cut.id].load_audio())


def test_all_can_be_drawn_and_languages_are_mixed(folders: list[Path], tmp_path: Path) -> None:
    """Pretraining takes shards for mixtures: one language must not stand behind the other."""
    drawn = []
    for name, order in (("there", folders), ("back", folders[::-1])):
        subset(order, tmp_path / name, wanted(share=100.0))
        cuts = list(read_metadata(open_shards(tmp_path / name / "train")))
        assert len(cuts) == 20
        first = [cut.supervisions[0].language for cut in cuts[:10]]
        assert first.count("ar") == 6
        drawn.append([cut.id for cut in cuts])
    assert drawn[0] == drawn[1]


def test_only_shards_with_drawn_cuts_are_read(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of an hour from a year of audio must not read the year."""
    read: list[str] = []

    def note(chosen: list[shar.Shard]) -> object:
        read.extend(str(each.field("cuts")) for each in chosen)
        return read_shards(chosen)

    monkeypatch.setattr(shar, "read_shards", note)
    found = subset(folders, tmp_path / "out", wanted(hours={"train": 0.0002}))
    assert found.pieces[0].utterances < 4
    assert len(read) <= found.pieces[0].utterances


def test_an_earlier_list_is_replaced(folders: list[Path], tmp_path: Path) -> None:
    """Other files in its folder stay, and other shards."""
    subset(folders, tmp_path / "out", wanted(hours={"one": 0.0005, "two": 0.0005}))
    (tmp_path / "out" / "two" / "notes.txt").touch()
    shutil.copytree(folders[0], tmp_path / "out" / "mine")
    subset(folders, tmp_path / "out", wanted(share=50.0))
    assert not (tmp_path / "out" / "one").exists()
    assert [path.name for path in (tmp_path / "out" / "two").iterdir()] == ["notes.txt"]
    assert open_shards(tmp_path / "out" / "mine")
    # Drawn from one of its pieces, shards would be gone before the first of them is copied.
    with pytest.raises(ValueError, match=r"out/train is drawn from and would be replaced"):
        subset([tmp_path / "out" / "train"], tmp_path / "out", wanted(share=50.0))
    assert open_shards(tmp_path / "out" / "train")


def test_what_others_put_into_pieces_stays(folders: list[Path], tmp_path: Path) -> None:
    """A note beside shards of ours is no reason to lose them; shards of others are not ours."""
    out = tmp_path / "out"
    subset(folders, out, wanted(share=50.0))
    (out / "train" / "notes.txt").touch()
    subset(folders, out, wanted(share=50.0))
    assert (out / "train" / "notes.txt").exists()
    assert open_shards(out / "train")
    shutil.copytree(folders[0], tmp_path / "other" / "train")
    with pytest.raises(ValueError, match="holds what was not made here"):
        subset(folders, tmp_path / "other", wanted(share=50.0))
    assert sum(each.utterances for each in open_shards(tmp_path / "other" / "train")) == 12


def test_a_run_cut_off_is_refused_and_can_be_made_again(
    folders: list[Path], tmp_path: Path
) -> None:
    """A part of the shards must never be taken for all."""
    tar = folders[1] / "recording.000001.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[:2000])
    with pytest.raises(ValueError, match=r"recording\.000001\.tar.*Shard the corpus again"):
        subset(folders, tmp_path / "out", wanted(share=100.0))
    assert (tmp_path / "out" / "train" / UNFINISHED).exists()
    with pytest.raises(ValueError, match="cut off"):
        open_shards(tmp_path / "out" / "train")
    tar.write_bytes(whole)
    subset(folders, tmp_path / "out", wanted(share=100.0))
    assert sum(each.utterances for each in open_shards(tmp_path / "out" / "train")) == 20


def test_mistakes_are_explained(cuts: list[Cut], folders: list[Path], tmp_path: Path) -> None:
    write_cuts(tmp_path / "cuts", "train", cuts[:2])
    with pytest.raises(ValueError, match=r"holds shards and .*cuts does not"):
        subset([*folders, tmp_path / "cuts"], tmp_path / "out", wanted(share=50.0))
    with pytest.raises(ValueError, match="leave --split out"):
        subset(folders, tmp_path / "out", wanted(share=50.0, split="dev"))
    with pytest.raises(ValueError, match="is drawn from and would be replaced"):
        subset(folders, tmp_path, wanted(share=50.0))
    shutil.copytree(folders[0], tmp_path / "twin")
    with pytest.raises(ValueError, match="occurs twice"):
        subset([folders[0], tmp_path / "twin"], tmp_path / "out", wanted(share=50.0))
    index = read_json(folders[0] / "index.json")
    index[0]["utterances"] += 1
    (folders[0] / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="names 21 cuts, and 20"):
        subset(folders, tmp_path / "out", wanted(share=50.0))


def test_the_command(folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = ["--language", "ar=1", "--language", "en=1"]
    done = CliRunner().invoke(app.app, ["subset", *map(str, folders), "out", *weights, "--json"])
    assert done.exit_code == 0, done.output
    (piece,) = json.loads(done.stdout)["pieces"]
    assert piece["languages"]["ar"] == pytest.approx(piece["languages"]["en"], abs=1 / 3600)
    assert len(ids(Path("out"), "train")) == piece["utterances"]
