"""Kinds that need no training: what they say, refuse, keep and choose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.core.files import read_json, write_json
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.results.predictions import ClassPrediction
from harness_bench.results.record import Costs, Result, load_result
from harness_bench.scoring import publish as publisher
from harness_bench.study.job import JOBS, Place, StudyJob, note
from harness_bench.study.kinds import (
    asr,
    audit,
    board,
    broadcast,
    checkpoint,
    costs,
    merge,
    prepare,
    prepared,
)
from harness_bench.study.opened import SAVED
from harness_bench.study.outcomes import chosen_row, facts_of, leakage_of
from harness_bench.study.publishing import publish
from harness_bench.study.saved import session

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def place(out: Path, found: dict[str, Any] | None = None, **settings: Any) -> Place:
    (out / JOBS).mkdir(parents=True, exist_ok=True)
    job = StudyJob(name="a job", kind="x", folder="work", settings=settings)
    return Place(out, job, found or {})


def test_what_is_absent_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    given: dict[str, Any] = {"layout": "tsv", "folder": "/no/corpus", "get": "Ask the archive."}
    with pytest.raises(ValueError, match=r"no /no/corpus\. Ask the archive\."):
        prepare.run(place(tmp_path, **given))
    with pytest.raises(ValueError, match=r"no /no/cuts\. .*--data-root"):
        prepared.run(place(tmp_path, cuts="/no/cuts", get=""))
    with pytest.raises(ValueError, match=r"/no/model: there is no such.*harness_mini"):
        checkpoint.run(place(tmp_path, model="/no/model", upstream="harness_local"))


def test_prepared_corpora_are_opened_and_merged(tone_corpus: Path, tmp_path: Path) -> None:
    hours = prepared.run(place(tmp_path, cuts=str(tone_corpus)))["hours"]
    assert {*hours} == {"train", "dev", "test"}
    (tmp_path / "work").mkdir()
    made = merge.run(place(tmp_path, cuts=[str(tone_corpus)], split="dev"))
    assert made["hours"]["dev"] == pytest.approx(hours["dev"])
    assert [cut.id for cut in read_cuts(tmp_path / "work", "dev")] == [
        cut.id for cut in read_cuts(tone_corpus, "dev")
    ]


def test_an_audit_finds_what_was_heard_of_the_split(tone_corpus: Path, tmp_path: Path) -> None:
    """Pretraining speech that holds the scored split's audio is told; of a part, the part's."""
    splits = {split: list(read_cuts(tone_corpus, split)) for split in ("train", "test")}
    for split, cuts in splits.items():
        for cut in cuts:
            cut.supervisions[0].text = None
        write_cuts(tmp_path / "cuts" / "did", split, cuts)
    write_cuts(tmp_path / "cuts" / "ssl", "train", splits["test"][:6])
    test = {"corpus": "DID", "cuts": "cuts/did", "split": "test", "part": None}
    speaker = splits["test"][11].supervisions[0].speaker
    part = test | {"corpus": "DID (one)", "part": ["speaker", speaker]}
    own = ["DID train", "cuts/did", "train"]
    alone = audit.run(place(tmp_path, training=[own], scored=[test, part]))
    assert {each["verdict"] for each in alone.values()} == {"clean"}
    heard = [own, ["ssl train", "cuts/ssl", "train"]]
    found = audit.run(place(tmp_path, training=heard, scored=[test, part]))
    assert found["DID test"]["verdict"] == "shared"
    assert found["DID test"]["compared_with"] == ["DID train", "ssl train"]
    rows = {"m": {"audit": "audit did"}}
    told = leakage_of(place(tmp_path, {"audit did": found}, rows=rows), "m", test)
    assert told.verdict == "shared"
    assert leakage_of(place(tmp_path, rows=rows), "m", test).verdict == "not checked"


def test_measured_once_and_again_after_a_change(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run keeps the figures; another machine or checkpoint gets its own."""
    kept = tmp_path / "tiny.json"
    first = costs.measure(tiny_checkpoint, kept)
    assert (first.real_time_factor or 0) > 0
    assert first.disk_bytes == (tiny_checkpoint / "model.safetensors").stat().st_size
    marked = first.model_copy(update={"peak_bytes": 1})  # tells kept figures from measured ones
    old = {"decided_by": read_json(kept)["inputs"], "costs": marked.model_dump()}
    write_json(kept, old)  # as versions before kept them
    assert costs.measure(tiny_checkpoint, kept) == marked
    monkeypatch.setattr(costs, "hardware", lambda: "another machine")
    again = costs.measure(tiny_checkpoint, kept)
    assert again.peak_bytes != 1
    assert read_json(kept)["inputs"]["hardware"] == "another machine"


def test_the_best_student_is_that_of_all_heads(tmp_path: Path) -> None:
    """A student of which a head failed takes no part, and no student is no choice."""
    found = {"ser a": {"dev": 50.0}, "did a": {"dev": 70.0}, "ser b": {"dev": 90.0}}
    heads = {"a": ["ser a", "did a"], "b": ["ser b", "did b"]}
    rows: dict[str, Any] = {"a": {}, "b": {}}
    assert chosen_row(place(tmp_path, found, heads=heads, rows=rows)) == "a"
    more = found | {"did b": {"dev": 40.0}}
    assert chosen_row(place(tmp_path, more, heads=heads, rows=rows)) == "b"
    with pytest.raises(ValueError, match="No student"):
        chosen_row(place(tmp_path, {}, heads=heads, rows=rows))
    assert chosen_row(place(tmp_path, {}, heads={}, rows={"c": {}})) == "c"


def test_a_row_tells_what_it_heard_and_cost(tmp_path: Path) -> None:
    heard = {"text": "QASR, train", "job": "prepare QASR"}
    rows = {
        "a": {"kind": "pretrained", "made_by": "x", "heard": heard},
        "b": {"kind": "baseline", "made_by": "", "heard": "none"},
    }
    found = {"prepare QASR": {"hours": {"train": 12.345}}, "costs a": {"peak_bytes": 7}}
    here = place(tmp_path, found, rows=rows, synthetic=False)
    told = facts_of(here, "a")
    assert told["pretraining_data"] == "QASR, train, 12.35 h"
    assert told["costs"].peak_bytes == 7
    other = facts_of(here, "b")
    assert (other["pretraining_data"], other["costs"], other["parameters"]) == ("none", None, 0)


ROWS = [
    ClassPrediction(id=f"u{n}", truth="ab"[n % 2], pred="a", probs={"a": 1, "b": 0}, group=f"s{n}")
    for n in range(6)
]


def _publish(
    out: Path, corpus: str, *, times: bool = True, rows: Any = ROWS, **changes: Any
) -> Path:
    def make(folder: Path) -> list[Path]:
        template = publisher.Template(
            Result, model="m", model_kind="other", task="did", corpus=corpus, split="test",
            synthetic=False, seconds=1.0,
        )  # fmt: skip
        return [publisher.publish(publisher.class_result(rows, template), rows, folder)]

    here = place(out, times=times)
    outcome = publish(here, make, **changes)
    work = note(out, here.job, "key")
    work.begin()
    work.finish(outcome)
    (name,) = outcome["results"]
    return here.folder / str(name)


def test_what_says_the_same_keeps_its_bytes(tmp_path: Path) -> None:
    """A study that is run again leaves its board as it was; what differs is written anew."""
    write_json(tmp_path / SAVED, {"called": "mine.toml"})
    path = _publish(tmp_path, "words")
    assert load_result(path).command == "harness-bench study mine.toml"
    before = path.read_bytes()
    assert _publish(tmp_path, "words").read_bytes() == before
    assert _publish(tmp_path, "words", rows=ROWS[:4]).read_bytes() != before
    predictions = path.parent / str(load_result(path).predictions)
    assert len(predictions.read_text().splitlines()) == 4


def test_a_result_under_another_name_takes_the_place_of_the_old(tmp_path: Path) -> None:
    first = _publish(tmp_path, "words")
    strange = first.with_name("strange.json")
    strange.write_text("{}")
    second = _publish(tmp_path, "digits")
    assert sorted(tmp_path.glob("work/*.json")) == sorted([second, strange])
    assert len([*tmp_path.glob("work/predictions/*")]) == 1


def test_what_another_job_published_too_stays(tmp_path: Path) -> None:
    """The best student may be a row with a job of its own, and then another."""
    first = _publish(tmp_path, "words")
    work = note(tmp_path, StudyJob(name="publish asr own", kind="x"), "key")
    work.begin()
    work.finish({"results": [first.name]})
    second = _publish(tmp_path, "digits")
    assert sorted(tmp_path.glob("work/*.json")) == sorted([first, second])


def test_what_a_killed_job_left_of_its_results_goes(tmp_path: Path) -> None:
    """Of this version, and of those before, which gave the folders names that nobody knows."""
    staging = (tmp_path / JOBS / f".staging-{StudyJob(name='a job', kind='x').slug}", ".publish-x")
    for name in staging:
        (tmp_path / JOBS / name / "predictions").mkdir(parents=True)
        (tmp_path / JOBS / name / "half.json").touch()
    (name,) = [path.name for path in _publish(tmp_path, "words").parent.glob("*.json")]
    assert "words" in name
    assert [*(tmp_path / JOBS).glob(".*")] == []


def test_without_times_equal_work_gives_equal_bytes(tmp_path: Path) -> None:
    one = _publish(tmp_path / "a", "words", times=False).read_bytes()
    assert one == _publish(tmp_path / "b", "words", times=False).read_bytes()
    costs = Costs(real_time_factor=0.1, peak_bytes=7, disk_bytes=9, hardware="here")
    found = load_result(_publish(tmp_path / "a", "words", times=False, costs=costs))
    assert found.seconds is None
    assert found.costs == Costs(disk_bytes=9)  # the rest is measured, each time a little else
    timed = load_result(_publish(tmp_path / "c", "words", costs=costs))
    assert (timed.seconds, timed.costs) == (1.0, costs)


def test_a_board_drops_results_of_jobs_that_are_no_more(tmp_path: Path) -> None:
    """Results of jobs that --only left out stay, as do those of others than the study."""
    (tmp_path / JOBS).mkdir()
    (tmp_path / "results").mkdir()
    jobs = {name: StudyJob(name=f"publish {name}", kind="x") for name in ("now", "left", "gone")}
    for name in (*jobs, "strange"):
        (tmp_path / "results" / f"{name}.json").touch()
    for name, job in jobs.items():
        work = note(tmp_path, job, "key")
        work.begin()
        work.finish({"results": [f"{name}.json"]})
    planned = {jobs[name].name: jobs[name] for name in ("now", "left")}
    job = StudyJob(name="board", kind="board", wants=("publish now",))
    here = Place(tmp_path, job, {"publish now": {"results": ["now.json"]}})
    with session(tmp_path, planned, dict.fromkeys(planned, "key"), title="t"):
        board.drop_outdated(here)
        left = {path.name for path in (tmp_path / "results").glob("*.json")}
        assert left == {"now.json", "left.json", "strange.json"}
        board.drop_outdated(Place(tmp_path, job, {}))  # it failed this time
    assert not (tmp_path / "results" / "now.json").exists()


def test_a_board_drops_curves_of_a_figure_that_is_no_more(tmp_path: Path) -> None:
    """Those of somebody else stay, and those of a figure that --only left out."""
    curves = tmp_path / "results" / "curves"
    curves.mkdir(parents=True)
    figure = StudyJob(name="figure2", kind="figure2", folder="figure2")
    for name in ("figure2", "strange"):
        write_json(curves / f"{name}.json", {})
    note(tmp_path, figure, "key").begin()
    job = StudyJob(name="board", kind="board", wants=("figure2",))
    board.drop_outdated(Place(tmp_path, job, {"figure2": {}}))
    with session(tmp_path, {"figure2": figure}, {"figure2": "key"}, title="t"):
        board.drop_outdated(Place(tmp_path, replace(job, wants=()), {}))
        assert {path.stem for path in curves.iterdir()} == {"figure2", "strange"}
    with session(tmp_path, {}, {}, title="t"):
        board.drop_outdated(Place(tmp_path, replace(job, wants=()), {}))
    assert {path.stem for path in curves.iterdir()} == {"strange"}


@pytest.mark.parametrize("kind", [asr, broadcast])
def test_the_best_student_is_not_trained_twice(kind: ModuleType, tmp_path: Path) -> None:
    """One that is named itself has been trained by its own job."""
    rows: dict[str, Any] = {"a": {"made_by": "pretrain a", "kind": "pretrained"}, "b": {}}
    heads = {"a": ["ser a"], "b": ["ser b"]}
    found = {"ser a": {"dev": 9.0}, "ser b": {"dev": 1.0}, "asr a": {"model": "a", "asr": "asr/a"}}
    here = place(tmp_path, found, heads=heads, rows=rows, trained={"a": "asr a"})
    assert kind.run(here) == found["asr a"]
