"""Table 1 counts what is prepared, and the job writes every table from what there is."""

from pathlib import Path

from harness_bench.leaderboard.paper_tables import DIFFERENCE, PRINTED, latex

from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts.store import read_cuts
from harness_bench.pretrain.config import PRESETS
from harness_bench.results.record import save_result
from harness_bench.study.job import Place, StudyJob
from harness_bench.study.kinds.tables import hours_table, run
from tests.corpora.layouts import adi5, ksuemotions
from tests.leaderboard.conftest import result
from tests.leaderboard.test_paper_tables import LAYOUTS, hold_together, lines_of

PAPER = Path(__file__).parents[3] / "egs" / "paper" / "tables.toml"


def test_hours_are_counted_in_prepared_corpora(tmp_path: Path) -> None:
    """Table 1: both splits of KSUEmotions have a line; what is not there has none."""
    folders: dict[str, Path] = {"gone": tmp_path / "gone"}
    for name, module, split in (
        ("KSUEmotions", ksuemotions, ""),
        ("KSUEmotions (random split)", ksuemotions, "random"),
        ("ADI5", adi5, ""),
    ):
        layout = module.__name__.rpartition(".")[2]
        if not (raw := tmp_path / layout).is_dir():
            module.build(raw)
        folders[name] = tmp_path / "cuts" / name
        prepare(
            layout, raw, folders[name], PrepareConfig(options={"split": split} if split else {})
        )
    table = hours_table(folders)
    found = lines_of(table)
    assert [line[0].text for block in table.blocks for line in block if line[0].text] == [
        "QASR", "MGB2", "MGB3", "KSUEmotions", "ADI5",
    ]  # fmt: skip
    assert found[PRINTED][:4] == ["300", "6.0", "–", "ASR"]
    assert found.keys() == {PRINTED, DIFFERENCE, *folders} - {"gone"}
    heard = (read_cuts(folders["ADI5"], split) for split in ("train", "dev", "test"))
    hours = [sum(cut.duration for cut in cuts) / 3600 for cuts in heard]
    assert found["ADI5"][:3] == [f"{each:.2f}" for each in hours]
    minus = [
        each - float(said) for each, said in zip(hours, ("42.90", "10.0", "10.0"), strict=True)
    ]
    assert found[DIFFERENCE][-4:-1] == [f"\u2212{-each:.2f}" for each in minus]
    hold_together(latex(table))


def test_the_job_writes_every_table(tmp_path: Path) -> None:
    """With one result of ours and no corpus: all else are dashes, and nothing fails."""
    ours = result("harness_s", 20.7, task="asr", metric="wer", corpus="MGB2", synthetic=True)
    save_result(ours, tmp_path / "results")
    settings = {
        "layouts": PAPER.name,
        "iterations": {"harness_s": "harness_s", "harness_l_it2": "harness_l_it2"},
    }  # fmt: skip
    paths = {"base": str(PAPER.parent), "family": str(PRESETS / "family.toml")}
    place = Place(
        tmp_path,
        StudyJob(name="tables", kind="tables", folder="t", settings=settings, paths=paths),
        {},
    )
    place.folder.mkdir()
    assert run(place) == {"tables": ["table1", *(layout.name for layout in LAYOUTS)]}
    for name in ("table1", "table2", "table4"):
        text = (place.folder / f"{name}.tex").read_text(encoding="utf-8")
        hold_together(text)
        assert "synthetic" in text
        assert ("+0.5" in text, "84.77" in text) == (name != "table1",) * 2
    assert (place.folder / "tables.md").read_text(encoding="utf-8").count("## ") == 3
