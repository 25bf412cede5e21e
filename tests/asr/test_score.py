"""Stage 13: what ESPnet decoded gives the figures of the rules, and results that say which."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from harness_bench.leaderboard.build import build, make_board

from harness_bench.asr.score import config_text, training_fields
from harness_bench.core.files import read_json
from harness_bench.core.stage_times import StageTimes
from harness_bench.cuts.store import cuts_path, read_cuts, write_cuts
from harness_bench.models.frozen import checkpoint_digest, parameter_count
from harness_bench.results.manage import check
from harness_bench.results.predictions import TextPrediction, read_predictions
from harness_bench.scoring.profiles._arabic import to_arabic
from harness_bench.scoring.registry import profile_names
from tests import cut_files
from tests.asr.decoded import corpus, decode, figures, score_set

MULTIREF = Path(__file__).parents[3] / "shared" / "data" / "mgb3_dev_multiref"
SAID = "اهلا وسهلا ok Omar"  # what Omar wrote; Alaa and Mohamed have another last word, Ali none


SETTINGS = {
    "frontend": "harness", "seed": 7, "max_epoch": 70, "specaug": None,
    "token_list": [str(number) for number in range(9000)],
}  # fmt: skip


def training(folder: Path, **changes: object) -> Path:
    """Write an ESPnet training folder as far as results look at it."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS | changes))
    torch.save({"frontend.layer_weights": torch.zeros(4)}, folder / "ave.pth")
    return folder


def values(found: dict[str, float | None], *names: str) -> list[object]:
    return [found[name] for name in names]


def keep_annotators(cuts: Path, split: str, *names: str) -> None:
    """Take the transcripts of all annotators but these out of the cuts."""
    rows, kept = read_cuts(cuts, split), [f"reference_{name}" for name in names]
    for cut in rows:
        said = cut.supervisions[0]
        said.custom = {k: v for k, v in said.custom.items() if "reference" not in k or k in kept}
    write_cuts(cuts, split, rows)


def test_the_authors_figures_on_real_texts(tmp_path: Path) -> None:
    """The figures that MR-WER's authors print, from cuts and a decode folder to the result."""
    if not MULTIREF.is_dir():
        pytest.skip(f"{MULTIREF} is absent: the real MGB-3 texts are not part of the repository")
    texts = {}
    for path in MULTIREF.glob("*_*"):
        pairs = (line.strip().partition(" ") for line in path.read_text().splitlines() if line)
        texts[path.suffix[1:]] = {key: to_arabic(text) for key, _, text in pairs}
    hypotheses = texts.pop("QCRI")
    ids = sorted(set(hypotheses).intersection(*texts.values()))
    rows = []
    for key in ids:
        genre, number, *_ = key.split("_")
        fields: dict[str, Any] = {f"reference_{name}": of[key] for name, of in texts.items()}
        fields |= {"genre": genre, "cluster": f"{genre}_{number}", "text": texts["Ali"][key]}
        rows.append(cut_files.row(key, **fields))
    cuts = cut_files.write(tmp_path, "mgb3_dev", rows)
    decoded = decode(cuts, "mgb3_dev", tmp_path / "decode", *(hypotheses[key] for key in ids))
    result = score_set(cuts, "mgb3_dev", decoded, tmp_path / "out", "--profiles", "")
    found = figures(tmp_path / "out", "mgb3_dev")["mgb3"]
    costs = dict(zip(found["references"], found["authors_costs"]["wer"], strict=True))
    assert {name: round(value, 2) for name, value in costs.items()} == {
        "Ali": 62.61, "Omar": 61.79, "Alaa": 62.36, "Mohamed": 61.73,
    }  # fmt: skip
    assert values(found, "utterances", "ins", "del", "sub", "cor") == [
        1927, 314, 5946, 11025, 13534,
    ]  # fmt: skip
    assert result.main_metric == "mr_wer"
    published = {"mr_wer": 56.66, "av_wer": 61.94, "wer_against_Ali": 62.43}
    assert {name: round(result.metrics[name].value, 2) for name in published} == published
    assert "24 clusters" in str(result.main.interval)
    assert len(found["groups"]["genre"]) == 7
    report = (tmp_path / "out" / "scores.mgb3_dev.md").read_text()
    assert "Alaa 62.36, Ali 62.61, Mohamed 61.73, Omar 61.79" in report
    assert "## By programme" in report


def test_mgb3_in_its_official_layout(tmp_path: Path) -> None:
    """Figures counted by hand: the first utterance as Omar wrote it, the second not heard.

    Of the second all annotators have two deletions at the same place.
    """
    cuts = corpus("mgb3", tmp_path)
    decoded = decode(cuts, "mgb3_dev", tmp_path / "decode", SAID, "")
    result = score_set(cuts, "mgb3_dev", decoded, tmp_path / "out")
    found = figures(tmp_path / "out", "mgb3_dev")
    assert list(found) == ["mgb3", *sorted({*profile_names()} - {"mgb3"})]
    names = ["Alaa", "Ali", "Mohamed", "Omar"]
    assert values(found["mgb3"], "references", "wer") == [names, [62.5, 100, 62.5, 50]]
    assert values(found["mgb3"], "av_wer", "cor", "del", "ins") == [68.75, 4, 2, 0]
    assert found["mgb3"]["mr_wer"] == pytest.approx(100 / 3)
    assert found["none"]["wer"] == [75, 125, 75, 62.5]  # the first word has another alef
    named = (result.corpus, result.split, result.task, result.normaliser, result.main_metric)
    assert named == ("MGB3", "dev", "asr", "mgb3 v1", "mr_wer")
    assert "wer" not in result.metrics
    assert result.metrics["av_wer_none"].value == found["none"]["av_wer"]
    assert result.hours == pytest.approx(1 / 3600)
    rows = read_predictions(tmp_path / "out" / "predictions.mgb3_dev.jsonl", TextPrediction)
    assert {row.group for row in rows} == {"comedy_75"}
    assert sorted(rows[0].references) == names
    assert check([tmp_path / "out" / "results"]) == (1, [])


def test_an_empty_transcript_is_a_reference_too(tmp_path: Path) -> None:
    """Ali wrote nothing of the first utterance: all four words are insertions to him alone.

    What one annotator lacks is refused: against three it would be easier to get wrong.
    """
    cuts = corpus("mgb3", tmp_path)
    rows = read_cuts(cuts, "mgb3_dev")
    rows[0].supervisions[0].custom["reference_Ali"] = ""
    write_cuts(cuts, "mgb3_dev", rows)
    decoded = decode(cuts, "mgb3_dev", tmp_path / "decode", SAID, SAID)
    score_set(cuts, "mgb3_dev", decoded, tmp_path / "out", "--profiles", "")
    found = figures(tmp_path / "out", "mgb3_dev")["mgb3"]
    assert dict(zip(found["references"], found["words"], strict=True))["Ali"] == 2
    assert values(found, "wer", "utterances") == [[25, 300, 25, 0], 2]
    del rows[1].supervisions[0].custom["reference_Ali"]
    write_cuts(cuts, "mgb3_dev", rows)
    with pytest.raises(SystemExit, match=f"1 of 2 utterances lack .* {rows[1].id!r}"):
        score_set(cuts, "mgb3_dev", decoded, tmp_path / "out")


def test_references_of_files_beside_the_cuts(tmp_path: Path) -> None:
    """Cuts of another tool may lack the fields; the files hold the same transcripts."""
    cuts = corpus("mgb3", tmp_path)
    decoded = decode(cuts, "mgb3_test", tmp_path / "decode", SAID)
    expected = score_set(cuts, "mgb3_test", decoded, tmp_path / "a", "--profiles", "")
    keep_annotators(cuts, "mgb3_test")
    for path in (cuts / "references").glob("test.*"):
        path.rename(path.with_name(f"mgb3_{path.name}"))
    found = score_set(cuts, "mgb3_test", decoded, tmp_path / "b", "--profiles", "")
    assert found.metrics == expected.metrics
    assert found.main.value == 0


@pytest.mark.parametrize(("left", "problem"), [
    ([], r"there are 0 \(none\)"),
    (["Omar"], r"there are 1 \(Omar\)\. The WER against one of them is no MR-WER"),
])  # fmt: skip
def test_one_annotator_is_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], left: list[str], problem: str
) -> None:
    """A WER against one annotator beside MR-WERs of four would look twice as bad as it is."""
    cuts = corpus("mgb3", tmp_path)
    decoded = decode(cuts, "mgb3_test", tmp_path / "decode", SAID)
    keep_annotators(cuts, "mgb3_test", *left)
    with pytest.raises(SystemExit, match=problem):
        score_set(cuts, "mgb3_test", decoded, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not capsys.readouterr().out


def test_mgb2_without_overlap(tmp_path: Path) -> None:
    """One of three words is wrong; without a profile marks of the raw text are words too."""
    cuts = corpus("mgb2", tmp_path)
    assert cuts_path(cuts, "test_overlap").exists()  # left alone by test
    decoded = decode(cuts, "mgb2_test", tmp_path / "decode", "نعم لا ok")
    result = score_set(cuts, "mgb2_test", decoded, tmp_path / "out")
    named = (result.corpus, result.split, result.main_metric, result.normaliser)
    assert named == ("MGB2", "test", "wer", "mgb2 v3-430356f")
    assert result.main.value == pytest.approx(100 / 3)
    assert result.metrics["wer_none"].value == 80
    assert {f"wer_{name}" for name in profile_names()} - {"wer_mgb2"} < result.metrics.keys()
    assert result.utterances == 1
    assert figures(tmp_path / "out", "mgb2_test")["mgb2"]["groups"]["code-switched"]["yes"]


def test_qasr_keeps_its_split(tmp_path: Path) -> None:
    """The recipe calls QASR's sets plainly dev and test."""
    cuts = corpus("qasr", tmp_path)
    cuts_path(cuts, "qasr_dev").rename(cuts_path(cuts, "dev"))
    decoded = decode(cuts, "dev", tmp_path / "decode", "نعم")
    result = score_set(cuts, "dev", decoded.parent, tmp_path / "out", "--corpus", "qasr")
    assert (result.corpus, result.split, result.main.value) == ("QASR", "dev", 50)


def test_a_profile_that_leaves_no_word_is_left_out_with_a_note(tmp_path: Path) -> None:
    """Of a set of marks alone there are no words under profiles that drop them."""
    cuts = corpus("qasr", tmp_path)
    rows = read_cuts(cuts, "qasr_test")
    for cut in rows:
        cut.supervisions[0].text = "؟ !"
    write_cuts(cuts, "qasr_test", rows)
    decoded = decode(cuts, "qasr_test", tmp_path / "decode", "؟")
    out = tmp_path / "out"
    result = score_set(cuts, "qasr_test", decoded, out, "--profile", "none")
    assert (result.main.value, "wer_mgb2" in result.metrics) == (50, False)
    found = read_json(out / "scores.qasr_test.json")
    assert "none" in found["profiles"]
    assert found["profiles"].keys() | found["left_out"].keys() == set(profile_names())
    report = (out / "scores.qasr_test.md").read_text()
    assert "Left out: A reference is empty in all 1 utterances after" in report
    with pytest.raises(SystemExit, match="normalisation by 'mgb2'"):
        score_set(cuts, "qasr_test", decoded, tmp_path / "other")


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    cuts = corpus("qasr", tmp_path)
    with pytest.raises(SystemExit, match=r"no hypotheses of 'qasr_test'.*stage 12"):
        score_set(cuts, "qasr_test", tmp_path / "empty", tmp_path / "out")
    decoded = decode(cuts, "qasr_test", tmp_path / "decode", "نعم")
    wrong = ("--main_metric", "mr_wer", "--profiles", "mgb4")  # the metric is looked at first
    with pytest.raises(SystemExit, match=r"'mr_wer' is not a metric .* 1 reference.*: cer, wer"):
        score_set(cuts, "qasr_test", decoded, tmp_path / "out", *wrong)
    with pytest.raises(SystemExit, match="Unknown text profile 'mgb4'"):
        score_set(cuts, "qasr_test", decoded, tmp_path / "out", "--profiles", "mgb4")


def test_scoring_needs_no_espnet() -> None:
    """ESPnet takes 10 to 30 s to import, on a machine that may not have it."""
    code = (
        "import sys, harness_bench.asr.score; "
        "print([m for m in sys.modules if m.startswith(('espnet', 'torch', 'lhotse', 'jiwer'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_facts_of_a_training(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Upstream, seed, settings, times and leaks stand in the result, not in somebody's memory."""
    asr = training(tmp_path / "asr", frontend_conf={"checkpoint": str(tiny_checkpoint)})
    times = StageTimes(tmp_path / "times.json")
    times.add("Stage 11: training [ours]", 12.5, 20)
    times.add("Stage 11: training [another]", 99, 99)
    times.add("Stage 12: decoding", 2.5, 3)
    cuts = corpus("qasr", tmp_path)
    decoded = decode(cuts, "qasr_test", tmp_path / "decode", "نعم لا")
    (tmp_path / "decode.yaml").write_text("beam_size: 20\n")
    more = {
        "asr": asr, "asr_model": "ave.pth", "inference_config": tmp_path / "decode.yaml",
        "times": tmp_path / "times.json", "command": "run.sh --stage 1", "train_set": "train",
        "pretraining_data": "made up, 1 h", "times_of": "ours",
    }  # fmt: skip
    options = [word for name, value in more.items() for word in (f"--{name}", str(value))]
    result = score_set(cuts, "qasr_test", decoded, tmp_path / "out", *options)
    told = {
        "model_kind": "pretrained", "checkpoint_digest": checkpoint_digest(tiny_checkpoint),
        "parameters": parameter_count(tiny_checkpoint), "seed": 7, "seeds": (7,),
        "layer_weights": (0.25, 0.25, 0.25, 0.25), "seconds": 15, "command": "run.sh --stage 1",
        "stage_seconds": {"Stage 11: training": 12.5, "Stage 12: decoding": 2.5},
        "pretraining_data": "made up, 1 h",
    }  # fmt: skip
    assert {name: getattr(result, name) for name in told} == told
    assert yaml.safe_load(result.training_config) == {
        "frontend": "harness", "frontend_conf": {"checkpoint": str(tiny_checkpoint)},
        "seed": 7, "max_epoch": 70, "inference": {"beam_size": 20},
    }  # fmt: skip
    assert result.leakage is not None
    assert result.leakage.verdict == "clean"
    assert "jiwer" in result.versions


def test_trainings_without_an_upstream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FBANK has none; of one that went the figures hold all the same, so nothing is refused."""
    told = training_fields(training(tmp_path / "fbank", frontend="default"))
    assert values(told, "model_kind", "parameters", "pretraining_data") == ["baseline", 0, "none"]
    assert "checkpoint_digest" not in told
    asr = training(tmp_path / "asr", frontend_conf={"checkpoint": str(tmp_path / "gone")})
    assert "checkpoint_digest" not in training_fields(asr)
    assert "gone is missing" in capsys.readouterr().err


def test_broken_training_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Config file .*config\.yaml"):
        training_fields(tmp_path)
    with pytest.raises(ValueError, match=r"no model .*nothing.pth"):
        training_fields(training(tmp_path / "asr"), "nothing.pth")
    (tmp_path / "asr" / "config.yaml").write_text("- a list\n")
    with pytest.raises(ValueError, match="expected names and values, found list"):
        training_fields(tmp_path / "asr")
    with pytest.raises(ValueError, match="letters without its tokens"):
        config_text({"long": "x" * 20_001})


def test_rows_stand_in_their_columns_beside_the_papers(tmp_path: Path) -> None:
    """MGB-2's WER is held against the paper's; MR-WER is not, for the paper's is some WER."""
    results = tmp_path / "results"
    for name, said in (("mgb2", "نعم لا ok"), ("mgb3", "اهلا وسهلا ok Omar")):
        cuts = corpus(name, tmp_path / name)
        split = f"{name}_test"
        decoded = decode(cuts, split, tmp_path / name / "decode", said)
        for model in ("HArnESS-L", "HArnESS-S"):
            out = tmp_path / name / model
            score_set(cuts, split, decoded, out, "--model", model)
            shutil.copytree(out / "results", results, dirs_exist_ok=True)
    board = make_board(results, title="ours")
    assert not board.problems
    assert all("these 2 models can be significant" in note for note in board.measured.notes)
    heads = {column.corpus: column for column in board.measured.columns}
    ranks = {name: (column.metric, column.normaliser) for name, column in heads.items()}
    assert ranks == {"MGB2": ("wer", "mgb2 v3-430356f"), "MGB3": ("mr_wer", "mgb3 v1")}
    row = next(row for row in board.measured.rows if row.model == "HArnESS-L")
    papers = {name: row.cells[column].paper for name, column in heads.items()}
    assert (papers["MGB2"] and papers["MGB2"].corpus, papers["MGB3"]) == ("MGB2", None)
    for column in heads.values():
        found = board.measured.evidence[column]
        assert len(found.tests) == 1
        assert all(each["code-switched"] for each in found.breakdowns.values())
    assert ("asr", "MGB3", "test", "wer", "") in {
        (column.task, column.corpus, column.split, column.metric, column.normaliser)
        for column in board.reported.columns
    }
    files = build(results, tmp_path / "board", title="ours")
    assert "mr_wer" in files.html.read_text()
    lines = files.csv.read_text().splitlines()
    for metric in ("av_wer", "wer_against_Ali", "mr_wer_none"):
        assert any("HArnESS-L" in line and f",{metric}," in line for line in lines), metric
    stored = json.loads((results / "HArnESS-L.asr.MGB3.test.json").read_text())
    assert stored["predictions"] == "predictions/HArnESS-L.asr.MGB3.test.jsonl"
