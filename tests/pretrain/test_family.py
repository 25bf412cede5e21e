"""Families of tiny models from audio to checkpoints: a second call, teachers, dev sets."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from lhotse.cut import Cut
from safetensors.torch import load_file
from transformers import HubertConfig, HubertModel

from harness_bench.cli import app
from harness_bench.core.files import read_json
from harness_bench.cuts.store import write_cuts
from harness_bench.models import hub
from harness_bench.models.checkpoint import load_config, read_facts, transformers_config
from harness_bench.models.frozen import checkpoint_digest, shape_of, weight_bytes
from harness_bench.models.hub import FILES, MODELS
from harness_bench.pretrain.config import PRESETS, checkpoint_folder, load_family
from harness_bench.pretrain.family import export, find_teacher, train_family
from harness_bench.pretrain.plan import plan
from harness_bench.study.opened import FAMILIES
from tests.models.conftest import small_config
from tests.pretrain.conftest import equal, weights, written
from tests.pretrain.labels.conftest import make_cuts
from tests.tiny import DEFAULTS, TEACHERS

TINY = f"""{DEFAULTS}{TEACHERS}
[[iterations]]
name = "student"
teacher = "second"
model = {{ encoder_layers = 1 }}
labels = {{ source = "hidden", layer = 2, pca_dim = 8 }}
pretrain = {{ init = "block_average" }}
"""


def test_chain_of_iterations(cuts: list[Cut], tmp_path: Path) -> None:
    """MFCC -> middle layer -> last layer with PCA: each stage feeds the next; nothing is redone."""
    family, out = written(tmp_path, TINY), tmp_path / "out"
    made = train_family(family, cuts, out, accelerator="cpu")
    assert list(made.checkpoints) == ["first", "second", "student"]
    assert load_config(made.checkpoints["student"]).encoder_layers == 1
    assert read_facts(made.checkpoints["student"])["config"]["labels"]["pca_dim"] == 8
    assert len(made.times.rows) == 6
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    train_family(family, cuts, out, accelerator="cpu")
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_only_needs_its_teacher(cuts: list[Cut], tmp_path: Path) -> None:
    family = written(tmp_path, TINY)
    with pytest.raises(ValueError, match="first/run/checkpoint: there is no such"):
        train_family(family, cuts, tmp_path, only="second", accelerator="cpu")
    with pytest.raises(ValueError, match="no iteration 'third'; it has first, second, student"):
        train_family(family, cuts, tmp_path, only="third")


def test_presets_can_be_family_members(tmp_path: Path) -> None:
    """The paper's family is three presets and two teachers; any key can be overridden."""
    text = """
name = "paper"
[[iterations]]
preset = "harness_l_it1"
[[iterations]]
preset = "harness_l_it2"
teacher = "harness_l_it1"
[[iterations]]
preset = "harness_st"
teacher = "harness_l_it2"
pretrain = { max_seconds = 30.0 }
"""
    rows = plan(written(tmp_path, text))
    assert [row["parameters_as_fairseq_counts"] for row in rows] == [
        316_993_408, 316_993_408, 20_081_536,
    ]  # fmt: skip
    assert rows[0]["audio_hours_seen_at_most"] == round(500_000 * 62.5 * 24 / 3600, 1)
    assert rows[2]["audio_hours_seen_at_most"] == round(300_000 * 30 * 8 / 3600, 1)


def test_tiny_family_is_the_papers_in_miniature() -> None:
    """It has both iterations and the three students, each student from the last layer."""
    first, teacher, *students = load_family(PRESETS / "family_tiny.toml").iterations
    assert [first.name, teacher.name] == ["it1", "it2"]
    assert [step.name for step in students] == ["s", "st", "st_pca"]
    assert first.labels.source == "mfcc"
    assert teacher.labels.layer is not None
    assert 0 < teacher.labels.layer < teacher.model.encoder_layers
    for student in students:
        assert student.teacher == "it2"
        assert student.labels.layer == teacher.model.encoder_layers
        assert student.model.encoder_layers < teacher.model.encoder_layers
    assert students[1].model.encoder_embed_dim < students[0].model.encoder_embed_dim
    assert students[2].labels.pca_dim is not None


def test_embedded_family_has_both_kinds_of_labels() -> None:
    """The demo trains a first iteration and a smaller student of the model in the package."""
    first, student = load_family(FAMILIES / "family.toml").iterations
    assert first.labels.source == "mfcc"
    assert (student.labels.source, student.teacher) == ("hidden", "harness_mini")
    shape = shape_of(hub.resolve("harness_mini"))
    assert 0 < (student.labels.layer or 0) <= shape.num_layers
    assert student.model.encoder_embed_dim < shape.hidden_size


STUDENT = """
[[iterations]]
name = "student"
teacher = "TEACHER"
model = { encoder_layers = 1 }
labels = { source = "hidden", layer = 2 }
pretrain = { init = "copy_extractor", feature_grad_mult = 0.0 }
"""


def made(cuts: list[Cut], folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    train_family(written(folder, DEFAULTS + text), cuts, folder / "out", accelerator="cpu")
    return folder / "out"


@pytest.fixture(scope="module")
def teacher(cuts: list[Cut], tmp_path_factory: pytest.TempPathFactory) -> Path:
    first = TEACHERS.split('[[iterations]]\nname = "second"', maxsplit=1)[0]
    return checkpoint_folder(made(cuts, tmp_path_factory.mktemp("first"), first), "first")


def label_source(out: Path) -> str:
    return str(read_json(out / "student" / "labels" / "provenance.json")["inputs"]["source"])


def test_one_checkpoint_by_three_names_gives_one_student(
    cuts: list[Cut], teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels are keyed by the teacher's digest, so its name or place changes no bit."""
    inside = made(cuts, tmp_path / "iteration", TEACHERS + STUDENT.replace("TEACHER", "first"))
    shutil.copytree(checkpoint_folder(inside, "first"), tmp_path / "path" / "teacher")
    by_path = made(cuts, tmp_path / "path", STUDENT.replace("TEACHER", "./teacher"))
    shutil.copytree(teacher, tmp_path / "models" / "harness_l")
    monkeypatch.setenv(MODELS, str(tmp_path / "models"))
    by_name = made(cuts, tmp_path / "named", STUDENT.replace("TEACHER", "harness_l"))
    expected = f"hidden-2-of-{checkpoint_digest(teacher)}"
    assert {label_source(out) for out in (inside, by_path, by_name)} == {expected}
    for other in (by_path, by_name):
        assert equal(checkpoint_folder(inside, "student"), checkpoint_folder(other, "student"))


def test_a_folder_of_transformers_teaches(cuts: list[Cut], tmp_path: Path) -> None:
    """What another project published labels audio here, and starts a student."""
    torch.manual_seed(0)
    config = HubertConfig(**transformers_config(small_config()))
    HubertModel(config).save_pretrained(tmp_path / "theirs")
    shape = f"conv_dim = {list(config.conv_dim)}, conv_bias = {str(config.conv_bias).lower()}"
    text = STUDENT.replace("TEACHER", "./theirs")
    out = made(cuts, tmp_path, text.replace("layers = 1 }", f"layers = 1, {shape} }}"))
    assert label_source(out) == f"hidden-2-of-{checkpoint_digest(tmp_path / 'theirs')}"
    ours, theirs = weights(checkpoint_folder(out, "student")), weights(tmp_path / "theirs")
    extractor = [name for name in theirs if name.startswith("feature_extractor.")]
    assert extractor
    assert all(torch.equal(ours[name], theirs[name]) for name in extractor)


def test_a_halved_model_on_log_mel_bins_teaches(
    cuts: list[Cut], mel_checkpoint: Path, tmp_path: Path
) -> None:
    """As the small model in the package will: labels and first weights, all in float32."""
    shape = 'extractor_mode = "mel", conv_dim = [24], conv_kernel = [400], conv_stride = [320]'
    text = STUDENT.replace("TEACHER", str(mel_checkpoint))
    out = made(cuts, tmp_path, text.replace("layers = 1 }", f"layers = 1, {shape} }}"))
    assert label_source(out) == f"hidden-2-of-{checkpoint_digest(mel_checkpoint)}"
    folder = checkpoint_folder(out, "student")
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {
        torch.float32
    }
    ours, theirs = weights(folder), weights(mel_checkpoint)
    extractor = [name for name in theirs if name.startswith("feature_extractor.")]
    assert extractor
    assert all(torch.equal(ours[name], theirs[name]) for name in extractor)
    assert "cannot open it" in (folder / "README.md").read_text()


def test_mistakes_are_found_at_once(cuts: list[Cut], teacher: Path, tmp_path: Path) -> None:
    thin = {"copy_extractor": "block_average", "encoder_layers = 1": "encoder_embed_dim = 16"}
    for name, changes, what in (
        ("./absent", {}, "absent"),
        (str(teacher), {"layer = 2": "layer = 3"}, "has 2 layers"),
        (str(teacher), thin, "encoder_embed_dim"),
    ):
        text = STUDENT.replace("TEACHER", name)
        for old, new in changes.items():
            text = text.replace(old, new)
        with pytest.raises(ValueError, match=what):
            made(cuts, tmp_path, text)
        assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"Teacher fist: there is no such.*first.*harness_l"):
        find_teacher("fist", {"first": teacher})


def test_a_teacher_may_be_a_model_of_the_hub(tmp_path: Path) -> None:
    """It has the form of a relative path, which counts where it lies beside the TOML."""
    file = tmp_path / "family.toml"
    file.write_text("""name = "f"
[[iterations]]
preset = "harness_st"
teacher = "lab/hubert@v1.0"
""")
    assert load_family(file).iterations[0].teacher == "lab/hubert@v1.0"
    (tmp_path / "lab" / "hubert@v1.0").mkdir(parents=True)
    assert load_family(file).iterations[0].teacher == str(tmp_path / "lab" / "hubert@v1.0")


def test_a_model_is_exported_in_half_the_bytes(teacher: Path, tmp_path: Path) -> None:
    """What is not a model's folder is not overwritten, and no half-made one stays."""
    out = tmp_path / "models" / "small"
    for _ in range(2):  # the second takes the place of the first
        export(teacher, out, dtype="float16")
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "README.md"])
    assert "\n# small\n" in (out / "README.md").read_text()
    assert weight_bytes(out) < 0.6 * weight_bytes(teacher)
    with pytest.raises(ValueError, match="models holds no model"):
        export(teacher, tmp_path / "models")
    (out / "train.py").write_text("mine")  # as in a repository that the model lies in
    with pytest.raises(ValueError, match=r"more than one \(train\.py\)"):
        export(teacher, out)
    (out / "train.py").unlink()
    (teacher.parent / "empty").mkdir()
    with pytest.raises(ValueError, match="empty"):
        export(teacher.parent / "empty", tmp_path / "models" / "other")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file holds no model"):
        export(teacher, tmp_path / "file")
    with pytest.raises(ValueError, match="fbank: there is no such"):
        export(Path("fbank"), tmp_path / "models" / "other")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["small"]


VERBS = {
    "labels": ["labels", "harness_l_it1", "corpus", "out", "--split", "dev"],
    "pretrain": ["pretrain", "harness_l_it1", "corpus", "made", "out", "--split", "dev"],
    "family": ["family", "family.toml", "corpus", "out", "--split", "dev"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_dev_is_refused(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message with the way out, and nothing written."""
    cuts = make_cuts(tmp_path / "audio", [16_000] * 4)
    for split, part in {"train": cuts[:2], "dev": cuts[2:]}.items():
        write_cuts(tmp_path / "corpus", split, part)
    written(tmp_path, 'name = "f"\n[[iterations]]\npreset = "harness_l_it1"\n')
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "report.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness-bench", *VERBS[verb]])
    with pytest.raises(SystemExit) as done:
        app.main()
    told = capsys.readouterr().err
    assert done.value.code == 2
    assert "corpus, split dev would train on 2 utterances" in told
    assert "allow_test_data" in told
    assert not (tmp_path / "out").exists()
