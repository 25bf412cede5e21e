"""A folder of made-up results, hostile names included."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import pytest
from harness_bench.leaderboard.build import LeaderboardFiles, build

from harness_bench.results.record import Result
from harness_bench.scoring.publish import class_result, publish, text_result
from harness_bench.scoring.texts.score import Grouping, score_rows
from tests.scoring.conftest import class_rows, text_rows

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '<script>alert(1)</script> & "$x_{" | \\end{tabular} =1+1 \u202eabc'
MODELS = {"fbank": 0, "random": 2_300_000, "student": 700_000, HOSTILE: 4_800_000}
KINDS: tuple[Literal["baseline", "random", "pretrained"], ...] = (
    "baseline", "random", "pretrained", "pretrained",
)  # fmt: skip


def write_results(folder: Path, *, split: str = "test") -> None:
    """Write results of four models on a class task, two of them on a text task too."""
    for number, ((model, size), kind) in enumerate(zip(MODELS.items(), KINDS, strict=True)):
        rows = class_rows(count=120, seed=0, groups=12, right=0.3 + 0.15 * number)
        row = partial(
            Result, model=model, model_kind=kind, task="did", corpus="tones", split=split,
            synthetic=True, parameters=size, command=HOSTILE,
        )  # fmt: skip
        publish(class_result(rows, row, resamples=200), rows, folder)
        if kind != "random":
            texts = text_rows(count=30, seed=0)
            found, _ = score_rows(texts, grouping=Grouping(cluster="group", resamples=200))
            asr = partial(row, task="asr", synthetic=False)
            publish(text_result(texts, asr, found), texts, folder)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> LeaderboardFiles:
    """Build one leaderboard from good results, a broken file and a result of another split."""
    folder = tmp_path_factory.mktemp("results")
    write_results(folder)
    write_results(folder, split="dev")
    (folder / "broken <b>.json").write_text("{oops")
    return build(folder, tmp_path_factory.mktemp("out"), title=f"Board of {HOSTILE}")
