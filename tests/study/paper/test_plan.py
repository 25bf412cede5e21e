"""Every number of the paper, typed in from it, against the settings of the planned jobs."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from harness_bench.leaderboard.paper_tables import load_layouts

from harness_bench.models.config import paper_parameters
from harness_bench.pretrain.config import load_family
from harness_bench.probing.head.config import HeadConfig
from harness_bench.study.job import StudyJob
from harness_bench.study.opened import Study, open_study
from harness_bench.study.plan import plan
from tests.egs.official import ROOT

PAPER = ROOT / "egs" / "paper"
TEACHER = "harness_l_it2"
# Table 3 and the text; both readings of the FFN; fairseq's count of the paper's figures.
SHAPES = {
    "harness_l_it1": (24, 1024, 4096, 16, 316_993_408),
    "harness_l_it2": (24, 1024, 4096, 16, 316_993_408),
    "harness_s": (4, 1024, 2048, 16, 48_283_520),
    "harness_s_65m": (4, 1024, 4096, 16, 65_068_928),
    "harness_s_heads4": (4, 1024, 2048, 4, 48_283_520),
    "harness_s_65m_average": (4, 1024, 4096, 16, 65_068_928),
    "harness_s_65m_pca": (4, 1024, 4096, 16, 65_068_928),
    "harness_s_65m_pca_average": (4, 1024, 4096, 16, 65_068_928),
    "harness_st": (4, 512, 2048, 16, 20_081_536),
    "harness_st_28m": (4, 512, 4096, 16, 28_478_336),
    "harness_st_pca": (4, 512, 2048, 16, 20_081_536),
    "harness_st_256": (4, 256, 2048, 16, 11_093_120),
}
# Updates, GPUs, seconds of audio per GPU (3.3).
TRAININGS = {"harness_l_it1": (500_000, 24, 62.5), "harness_l_it2": (700_000, 24, 62.5)}
STUDENT = (300_000, 8, 75.0)
OTHERS = {"FBANK", "HuBERT-L", "XLS-R", "random_l", "random_s"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Open the paper's study where no corpus is."""
    absent = tmp_path_factory.mktemp("nothing")
    return open_study(PAPER / "study.toml", absent / "out", data_root=absent)


@pytest.fixture(scope="module")
def jobs(study: Study) -> dict[str, StudyJob]:
    return plan(study)


def of_kind(jobs: dict[str, StudyJob], kind: str) -> list[StudyJob]:
    return [job for job in jobs.values() if job.kind == kind]


@pytest.mark.parametrize("name", SHAPES)
def test_each_model_is_trained_as_the_paper_says(
    jobs: dict[str, StudyJob], study: Study, name: str
) -> None:
    """Shape (Table 3), labels (2, 3.1), updates and batches (3.3), by the settings of its job."""
    config: dict[str, Any] = jobs[f"pretrain {name}"].settings["config"]
    layers, dim, ffn, heads, parameters = SHAPES[name]
    model, labels, pretrain = (config[key] for key in ("model", "labels", "pretrain"))
    assert [model[f"encoder_{key}"] for key in ("layers", "embed_dim", "ffn_embed_dim")] == [
        layers, dim, ffn,
    ]  # fmt: skip
    assert model["encoder_attention_heads"] == heads
    assert [*model["conv_stride"]] == [5, 2, 2, 2, 2, 2, 2]
    assert [*model["conv_kernel"]] == [10, 3, 3, 3, 3, 2, 2]
    assert [*model["conv_dim"]] == [512] * 7
    assert (labels["clusters"], labels["fit_hours"], pretrain["final_dim"]) == (1000, 300, 768)
    supervision = {"harness_l_it1": ("mfcc", None), TEACHER: ("hidden", 9)}
    assert (labels["source"], labels["layer"]) == supervision.get(name, ("hidden", 24))
    assert (labels["pca_dim"] is not None) == ("pca" in name)
    assert pretrain["init"] == ("block_average" if "average" in name else "random")
    teachers = {"harness_l_it1": None, TEACHER: "harness_l_it1"}
    teacher = teachers.get(name, TEACHER)
    assert config["teacher"] == teacher
    assert teacher is None or f"pretrain {teacher}" in jobs[f"pretrain {name}"].after
    updates, gpus, seconds = TRAININGS.get(name, STUDENT)
    assert (pretrain["max_update"], pretrain["max_seconds"]) == (updates, seconds)
    assert study.family is not None
    step = next(step for step in study.family.iterations if step.name == name)
    assert paper_parameters(step.model, 1000, 768) == parameters
    assert step.paper is not None
    assert (step.paper.gpus, step.paper.parameters) == (gpus, parameters)
    needs = jobs[f"pretrain {name}"].needs
    assert max(needs.nodes, 1) * needs.gpus == gpus


def test_the_audio_of_each_iteration(study: Study) -> None:
    """23,000 h, half Arabic and half English, with augmentation; students hear 1,100 h of QASR."""
    assert study.family is not None
    assert study.family.data is not None
    hours = {source.title: source.hours or 0 for source in study.family.data.sources}
    languages = {source.title: source.language for source in study.family.data.sources}
    assert sum(hours.values()) == 23_000
    assert sum(hours[name] for name in hours if languages[name] == "ar") == 11_500
    for step in study.family.iterations:
        large, augment = step.name in TRAININGS, step.pretrain.augment
        assert sum(hours[name] for name in step.sources or hours) == (23_000 if large else 1_100)
        assert step.pretrain.balance == ({"ar": 0.5, "en": 0.5} if large else None)
        kinds = (augment.speed, augment.time_masks, augment.reverb_prob, augment.noise_prob)
        assert [bool(kind) for kind in kinds] == [large] * 4


def test_no_row_is_missing(study: Study, jobs: dict[str, StudyJob]) -> None:
    """Tables 2 and 4, the text's H-S*, Figure 2, and what they are to be held against."""
    assert study.rows.keys() == {*SHAPES, *OTHERS}
    assert {job.name.removeprefix("pretrain ") for job in of_kind(jobs, "pretrain")} == {*SHAPES}
    hubs = {job.settings["model"] for job in of_kind(jobs, "checkpoint")}
    assert hubs == {"facebook/hubert-large-ll60k", "facebook/wav2vec2-xls-r-300m"}
    shown = {name for table in load_layouts(PAPER / "tables.toml") for row in table.rows
             for name in row.ours}  # fmt: skip
    assert shown == study.rows.keys()
    (figure,) = of_kind(jobs, "figure2")
    lines = [SHAPES[name] for name in figure.settings["variants"]]
    assert lines == [SHAPES["harness_s_65m"]] * 4
    assert {f"pretrain {name}" for name in figure.settings["variants"]} <= {*figure.wants}


def test_heads_are_the_papers(study: Study, jobs: dict[str, StudyJob]) -> None:
    """3.4: CNN of kernel 5, hidden 80, dropout 0.4, batch 4, 10K steps; means of all layers."""
    probes = of_kind(jobs, "probe")
    tasks = {(job.settings["task"], job.settings["label_field"]) for job in probes}
    assert tasks == {("ser", "emotion"), ("did", "dialect")}
    assert len(probes) == 3 * len(study.rows)
    for job in probes:
        grid = job.settings["grid"]
        probe = grid["probe"]
        keys = ("hidden", "dropout", "batch_size", "total_steps", "layers")
        assert [probe[key] for key in keys] == [80, 0.4, 4, 10_000, "mean"]
        assert len(set(grid["seeds"])) == 3
    assert HeadConfig.__dataclass_fields__["kernel_size"].default == 5


def test_asr_is_the_papers(study: Study, jobs: dict[str, StudyJob]) -> None:
    """3.4: 2 conformer, 2 transformer layers, 8 heads, 2048 units, 70 epochs; 300 h and 6 h."""
    runs = of_kind(jobs, "broadcast")
    assert len(runs) == 3 * len(study.rows)
    for job in runs:
        given = job.settings["given"]
        assert (given["layers"], [*given["test_sets"]]) == ("mean", ["mgb2_test", "mgb3_test"])
        config = yaml.safe_load(Path(given["asr_config"]).read_text(encoding="utf-8"))
        for part, kind in (("encoder", "conformer"), ("decoder", "transformer")):
            assert config[part] == kind
            sizes = [config[f"{part}_conf"][key] for key in
                     ("num_blocks", "attention_heads", "linear_units")]  # fmt: skip
            assert sizes == [2, 8, 2048]
        assert config["max_epoch"] == 70
        assert (given["ngpu"], job.needs.gpus) == (1, 1)
        assert 0 < config["model_conf"]["ctc_weight"] < 1
    assert len({job.settings["given"]["seed"] for job in runs}) == 3
    (data,) = of_kind(jobs, "asr_data")
    assert [float(data.settings["given"][key]) for key in ("train_hours", "dev_hours")] == [300, 6]


def test_every_corpus_is_prepared_as_the_paper_has_it(jobs: dict[str, StudyJob]) -> None:
    """Both splits of KSUEmotions; 42.9 of 53.6 h of ADI5; and the half of its test is scored."""
    prepared = {job.settings["layout"]: job for job in of_kind(jobs, "prepare")}
    assert prepared["adi5"].settings["options"].get("train_share", 0.8) == 0.8
    splits = {job.settings["options"]["split"] for job in of_kind(jobs, "prepare")
              if job.settings["layout"] == "ksuemotions"}  # fmt: skip
    assert splits == {"speaker_disjoint", "random"}
    scored = [each for job in of_kind(jobs, "publish_heads") for each in job.settings["scored"]]
    parts = [each["part"] for each in scored if each["corpus"] == "ADI5 (videos not in dev)"]
    assert {tuple(part) for part in parts} == {("overlap", "none")}
    assert len(parts) == len(SHAPES) + len(OTHERS)


def test_what_is_absent_says_how_to_get_it(study: Study, jobs: dict[str, StudyJob]) -> None:
    """A licensed corpus is not to be guessed: each is named with its way."""
    ways = [job.settings["get"] for job in of_kind(jobs, "prepare")]
    assert all(isinstance(way, str) and len(way) > 20 for way in ways)
    (data,) = of_kind(jobs, "asr_data")
    told = dict(each.removesuffix(")").split(" (") for each in data.settings["get"])
    assert told.keys() == {"QASR", "MGB2", "MGB3"}
    assert {*told.values()} == {*data.settings["sources"].values()}
    assert all(Path(folder).is_relative_to(study.data) for folder in told.values())


def test_the_family_is_the_one_that_is_used_by_hand(study: Study) -> None:
    """Presets are named, not typed a second time."""
    assert study.family_file is not None
    assert study.family == load_family(ROOT / "egs/harness/pretrain1/conf/family.toml")
    text = study.family_file.read_text(encoding="utf-8")
    assert not [word for word in ("encoder_", "max_update", "clusters") if word in text]
