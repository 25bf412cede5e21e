"""Every benchmark must run and give whole rows; their speed is no test's business."""

import contextlib
import functools
import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import fairseq_peer, run
from benchmarks.bench_probe import RESULTS, require_equal_bits, require_equal_results
from benchmarks.measure import higher_is_better, in_turn, lower_is_better
from harness_bench.core.files import read_json, write_jsonl
from tests import warm

AGAINST_FAIRSEQ = {
    "labels": ["label_pass_vs_fairseq", "label_assignment_vs_fairseq"],
    "loss": ["loss_memory_vs_fairseq"],
    "pretrain_step": ["pretrain_step_hst_vs_fairseq"],
}
# By these names readers of build/bench.json find the rows.
NAMED = AGAINST_FAIRSEQ | {
    "pretrain_step": [
        "pretrain_step_hst_fp32_vs_transformers", "pretrain_step_hst_bf16_vs_transformers",
        "pretrain_step_base_fp32_vs_transformers", "pretrain_step_hst_vs_fairseq",
    ],
    "mel": ["mel_vs_raw_step", "mel_vs_raw_inference"],
    "linear_probe": ["linear_probe_seconds_features", "linear_probe_seconds_fit"],
    "espnet": [
        *(f"espnet_step_{way}_vs_huggingface" for way in ("online", "cached")),
        *(f"espnet_step_{way}_vs_fbank" for way in ("online", "cached")),
        "espnet_frontend_share_cached_vs_online", "espnet_frontend_vs_huggingface",
        *(f"espnet_decode_beam{beam}_batch_vs_single" for beam in (1, 4, 10)),
    ],
    "probe": [
        "probe_warm_vs_s3prl", "probe_total_vs_s3prl", "probe_startup_vs_s3prl",
        "head_grid_vs_today",
    ],
}  # fmt: skip
# probe: s3prl starts, twice; study: Dask does.
MARKS = {"espnet": [pytest.mark.espnet], "probe": [pytest.mark.slow], "study": [pytest.mark.slow]}
NAMES = [pytest.param(name, marks=MARKS.get(name, [])) for name in run.names()]


@functools.cache
def measured(name: str, *, fairseq: bool) -> tuple[list[dict[str, Any]], str]:
    """Run a benchmark with tiny sizes; return its rows and what it said.

    On one thread, as two wait for each other with the processor busy, and the start-up without
    importing torch twice: speed is not looked at.
    """
    said = io.StringIO()
    with contextlib.redirect_stderr(said), pytest.MonkeyPatch.context() as patch:
        patch.setattr(fairseq_peer, "fairseq_available", lambda: fairseq)
        patch.setattr(torch, "set_num_threads", lambda _: None)
        if name == "startup":
            patch.setattr(sys, "executable", warm.python())
        return [dict(row) for row in run.rows([name], tiny=True)], said.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_whole(name: str) -> None:
    """The keys are what readers of build/bench.json rely on; a nameless peer proves nothing."""
    fairseq = fairseq_peer.fairseq_available()
    made, _ = measured(name, fairseq=fairseq)
    absent = [] if fairseq else AGAINST_FAIRSEQ.get(name, [])
    assert made or absent
    for row in made:
        assert list(row) == ["name", "ours", "peer", "ratio", "unit", "note", "limit"]
        assert "(peer: " in f"{row['name']} {row['note']}"
        figures = [float(row[key] or 0) for key in ("ours", "peer", "ratio")]
        assert all(math.isfinite(figure) and figure > 0 for figure in figures)
    assert {row["name"] for row in made} >= {*NAMED.get(name, [])} - {*absent}


@pytest.mark.parametrize("name", sorted(AGAINST_FAIRSEQ))
def test_rows_left_out_are_named(name: str) -> None:
    """Without fairseq its rows cannot be there: that must not look like a whole table."""
    rows, said = measured(name, fairseq=False)
    made = {row["name"] for row in rows}
    assert not made & {*AGAINST_FAIRSEQ[name]}
    for row in AGAINST_FAIRSEQ[name]:
        assert f"{row} is left out: fairseq is not installed; run `make peers`" in said


def test_the_file_is_a_list_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "build" / "bench.json"
    argv = ["run.py", "--tiny", "--only", "kmeans", "--out", str(path)]
    monkeypatch.setattr(sys, "argv", argv)
    run.main()
    names = [str(row["name"]) for row in read_json(path)]
    assert names[0] == "kmeans_vs_sklearn_minibatch"
    assert all(name.startswith("kmeans_") for name in names)


def test_the_ratio_says_how_much_better_ours_is() -> None:
    """Turned round it would praise what is slow."""
    assert lower_is_better("x", ours=2.0, peer=6.0, unit="s").ratio == 3.0
    assert higher_is_better("x", ours=6.0, peer=2.0, unit="1/s").ratio == 3.0


def test_calls_are_made_by_turns_and_the_median_taken() -> None:
    """All of one and then all of the other would compare two states of the machine."""
    calls: list[str] = []
    ticks = iter([0, 9, 10, 11, 20, 21, 30, 34, 40, 42, 50, 55])  # ours 9, 1, 2; peer 1, 4, 5
    medians = in_turn(
        lambda: calls.append("ours"), lambda: calls.append("peer"), repeats=3,
        clock=lambda: float(next(ticks)),
    )  # fmt: skip
    assert calls == ["ours", "peer"] * 4
    assert medians == (2.0, 4.0)


ROW = {"step": 5, "split": "dev", "loss": 1.5, "accuracy": 25.0}


def left(folder: Path, **changes: Any) -> Path:
    write_jsonl(folder / RESULTS[0], [ROW, ROW | changes])
    write_jsonl(folder / RESULTS[1], [{"id": "a"}])
    return folder


def test_rounding_alone_may_lie_between_ours_and_s3prls(tmp_path: Path) -> None:
    require_equal_results(left(tmp_path / "a"), left(tmp_path / "b", loss=1.5001))
    with pytest.raises(RuntimeError, match="differ"):
        require_equal_bits(tmp_path / "a", tmp_path / "b")
    require_equal_bits(tmp_path / "a", left(tmp_path / "c"))


@pytest.mark.parametrize("changes", [{"loss": 1.6}, {"accuracy": 50.0}, {"more": 1}, {"step": 6}])
def test_any_other_difference_is_an_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A cache that speeds up a worse training is no gain."""
    with pytest.raises(RuntimeError):
        require_equal_results(left(tmp_path / "a"), left(tmp_path / "b", **changes))


def test_missing_rows_are_an_error(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a" / RESULTS[0], [ROW])
    with pytest.raises(RuntimeError, match="2 rows of measures"):
        require_equal_results(left(tmp_path / "b"), tmp_path / "a")
