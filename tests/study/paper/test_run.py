"""The paper's study runs on corpora in their official layouts, and ends with its tables."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness_bench.leaderboard.paper_tables import DIFFERENCE
from huggingface_hub import constants
from typer.testing import CliRunner

from harness_bench.cli.app import app
from harness_bench.core.files import read_json
from harness_bench.pretrain.figure2 import PLOT, REPORT
from harness_bench.results.record import Result, load_results
from harness_bench.study.job import Ended
from harness_bench.study.kinds import labels, pretrain
from harness_bench.study.opened import Study, open_study
from harness_bench.study.plan import plan
from tests.corpora.layouts import adi5
from tests.leaderboard.test_paper_tables import hold_together
from tests.study.chain import run_here
from tests.study.paper import miniature

TEACHERS = ("harness_l_it1", "harness_l_it2")
LINES = ("harness_s_65m", "harness_s_65m_pca")
PART, RANDOM = "ADI5 (videos not in dev)", "KSUEmotions (random split)"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Open the miniature, in an environment that has its corpora and checkpoints."""
    root = tmp_path_factory.mktemp("mini")
    path = miniature.study(root)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in miniature.environment(root).items():
            patch.setenv(name, value)
        patch.setattr(constants, "HF_HUB_CACHE", str(root / "hub"))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        yield open_study(path, root / "study")


def few(study: Study) -> Study:
    """Return a part of the study that takes seconds: two students and FBANK, without ASR."""
    config = study.config
    models = [model for model in config.models if model.title in ("FBANK", *TEACHERS, *LINES)]
    wanted = {"did": ("FBANK", LINES[0]), "ser_random": (LINES[0],)}
    tasks = [
        replace(task, models=wanted[task.title]) for task in config.tasks if task.title in wanted
    ]
    outputs = config.outputs | {"figure2": {"variants": [*LINES]}}
    board = replace(config.board, costs=False)
    return replace(study, config=replace(config, models=tuple(models), tasks=tuple(tasks),
                                         outputs=outputs, board=board))  # fmt: skip


@pytest.fixture(scope="module")
def ended(study: Study) -> dict[str, Ended]:
    """Run a part of the study; trainings in this process, which has imported all already."""
    part = few(study)
    with pytest.MonkeyPatch.context() as patch:
        for kind in (pretrain, labels):
            patch.setattr(kind, "run_logged", called_here)
        return run_here(part.out, plan(part))


def called_here(command: list[str], log: Path, **_: object) -> float:
    """Call a verb as its command line would."""
    done = CliRunner().invoke(app, command[3:])
    log.write_text(done.output, encoding="utf-8")
    assert done.exit_code == 0, done.output
    return 0.0


def results(study: Study) -> dict[tuple[str, str], Result]:
    """Return the results by model and corpus."""
    found, problems = load_results(study.out / "results")
    assert not problems
    return {(each.model, each.corpus): each for each in found.values()}


@pytest.mark.s3prl
def test_corpora_as_they_came_end_in_results(study: Study, ended: dict[str, Ended]) -> None:
    """All jobs end well; each result says its seeds, its split and that the speech is made."""
    assert {name: job.why for name, job in ended.items() if job.state != "done"} == {}
    found = results(study)
    heads = {(LINES[0], RANDOM), *((m, c) for m in ("FBANK", LINES[0]) for c in ("ADI5", PART))}
    assert found.keys() == {(model, f"synthetic {corpus}") for model, corpus in heads}
    test = {uid for uid, split in adi5.UTTERANCES.items() if split == "test"}
    for (model, corpus), result in found.items():
        assert (result.seeds, result.synthetic) == ((1337, 1338, 1339), True)
        assert result.model_kind == ("baseline" if model == "FBANK" else "pretrained")
        # One of the five test utterances of ADI5 comes from a video of dev.
        wanted = {"synthetic ADI5": len(test), f"synthetic {PART}": len(test) - 1}
        assert result.utterances == wanted.get(corpus, result.utterances)
        assert result.main.spread is not None
        assert result.leakage is not None


@pytest.mark.s3prl
def test_tables_and_figure_are_of_what_was_measured(study: Study, ended: dict[str, Ended]) -> None:
    """Every figure of a result stands in its table; the board shows Figure 2's curves."""
    assert ended
    tables, found = study.out / "tables", results(study)
    text = (tables / "table2.tex").read_text(encoding="utf-8")
    hold_together(text)
    (line,) = (x for x in text.splitlines() if x.startswith(r" & harness\_s\_65m & "))
    cells = line.removesuffix(r" \\").split(" & ")
    for at, corpus in ((7, "KSUEmotions (random split)"), (8, "ADI5"), (9, PART)):
        assert cells[at + 1].startswith(f"{found[LINES[0], f'synthetic {corpus}'].main.value:.1f} ")
    assert cells[4 : 4 + 4] == ["--"] * 4  # nothing was measured of ASR and the other split
    assert text.count(DIFFERENCE) >= 1
    hours = (tables / "table1.tex").read_text(encoding="utf-8")
    assert all(name in hours for name in ("ADI5", "(random split)"))
    report = read_json(study.out / "figure2" / REPORT)
    assert [each["name"] for each in report["variants"]] == [*LINES]
    assert (study.out / "figure2" / PLOT).is_file()
    page = (study.out / "leaderboard" / "index.html").read_text(encoding="utf-8")
    assert "taught by harness_l_it2" in page


@pytest.mark.s3prl
def test_a_second_time_nothing_runs(study: Study, ended: dict[str, Ended]) -> None:
    """What is finished is kept, by the study's own notes."""
    assert ended
    part = few(study)
    again = run_here(part.out, plan(part))
    assert {job.state for job in again.values()} == {"kept"}


@pytest.mark.slow
@pytest.mark.s3prl
@pytest.mark.espnet
def test_the_whole_study(study: Study) -> None:
    """Every row, task and seed: no dash is left in the paper's tables where it has a figure."""
    out = study.out.with_name("whole")
    whole = replace(study, out=out)
    ended = run_here(out, plan(whole))
    assert {name: job.why for name, job in ended.items() if not job.good} == {}
    models, seeds = len(study.config.models), 2
    found = load_results(out / "results")[0]
    # Emotions of two splits, dialects of two test sets, and ASR of two with each seed.
    assert len(found) == models * (2 + 2 + 2 * seeds)
    for name in ("table2", "table4"):
        text = (out / "tables" / f"{name}.tex").read_text(encoding="utf-8")
        hold_together(text)
        ours = [line for line in text.splitlines() if " & harness" in line]
        assert ours
        assert not [line for line in ours if "--" in line.split(" & ", 4)[4]]
