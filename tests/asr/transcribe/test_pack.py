"""Model packs: opened by ESPnet itself, elsewhere, when nothing of the training is left.

Of packs from strangers nothing runs, nothing is written elsewhere, and mistakes are explained.
"""

import json
import os
import pickle  # noqa: TID251 - to make the malicious file
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, override

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml

from harness_bench.asr.config import OFFICIAL, words_of
from harness_bench.asr.stages import write_tokens
from harness_bench.asr.transcribe import pack as packing
from harness_bench.asr.transcribe.pack import (
    MODEL,
    OpenOptions,
    PackOptions,
    near,
    open_model,
    pack,
    unpack,
)
from harness_bench.models.checkpoint import load_hubert
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.models.hub import packaged
from tests import warm
from tests.asr.tiny_asr import speech
from tests.asr.trainings import other_checkpoint
from tests.models import fairseq_layout

espnet = pytest.mark.espnet
TEXTS = ("اب تث", "ثا")
# Runs in a process of its own: ESPnet's class and ESPnet's command line, with our frontend known.
ELSEWHERE = """
import json, sys
from harness_bench.asr.espnet.register import register
register()
from espnet2.bin.asr_inference import Speech2Text
import soundfile
pack, *waves = sys.argv[1:]
options = dict(beam_size=2, ctc_weight=0.5)
model = Speech2Text.from_pretrained(pack, **options)
found = [model(soundfile.read(wave, dtype="float32")[0])[0][0] for wave in waves]
from harness_bench.asr.espnet import run
sys.argv = ["run", "-m", "espnet2.bin.asr_inference", "--model_tag", pack, "--output_dir", "out",
    "--data_path_and_name_and_type", "wav.scp,speech,sound", "--beam_size", "2",
    "--ctc_weight", "0.5"]
run.main()
print(json.dumps(found))
"""


@pytest.fixture
def trained(tmp_path: Path, harness_asr: Path, tiny_checkpoint: Path) -> Path:
    """Return a copy of a training and its checkpoint that may be taken away."""
    asr, checkpoint = tmp_path / "run" / "asr", tmp_path / "run" / "checkpoint"
    shutil.copytree(tiny_checkpoint, checkpoint)
    shutil.copytree(harness_asr, asr)
    change(asr, frontend_conf={"checkpoint": str(checkpoint), "cache_mb": 64})
    return asr


def change(asr: Path, **values: Any) -> None:
    path = asr / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8")) | values
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")


def waves() -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [speech(text, rng)[0] for text in TEXTS]


def hypotheses(model: Path, **how: Any) -> list[str]:
    opened = open_model(model, OpenOptions(**{"beam": 1, **how}))
    return [str(opened(wave)[0][0]) for wave in waves()]


@espnet
def test_a_pack_works_where_nothing_of_the_training_is(trained: Path, tmp_path: Path) -> None:
    """Another process, working folder and home; the training and its checkpoint are gone."""
    expected = hypotheses(trained, beam=2, ctc_weight=0.5)
    assert any(expected), "a model that writes nothing shows nothing"
    away = tmp_path / "away"
    made = pack(PackOptions(asr=trained, out=tmp_path / "model.zip"))
    away.mkdir()
    made.replace(away / "moved.zip")
    shutil.rmtree(tmp_path / "run")
    for number, wave in enumerate(waves()):
        sf.write(away / f"{number}.wav", wave, 16_000, subtype="FLOAT")
    files = [str(away / f"{number}.wav") for number in range(len(TEXTS))]
    lines = [f"u{number} {path}\n" for number, path in enumerate(files)]
    (away / "wav.scp").write_text("".join(lines), encoding="utf-8")
    root = str(Path(packing.__file__).parents[2])
    done = warm.run(
        ["-c", ELSEWHERE, away / "moved.zip", *files], kind="espnet", cwd=away,
        env=os.environ | {"HOME": str(away), "PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == expected
    written = (away / "out" / "1best_recog" / "text").read_text(encoding="utf-8").splitlines()
    assert [line.partition(" ")[2] for line in written] == expected
    assert hypotheses(away / "moved.zip", beam=2, ctc_weight=0.5) == expected


@espnet
def test_an_unpacked_pack_may_be_moved(trained: Path, tmp_path: Path) -> None:
    """`--out DIR` writes what one puts on a hub; its paths are relative."""
    expected = hypotheses(trained)
    folder = pack(PackOptions(asr=trained, out=tmp_path / "model"))
    shutil.rmtree(tmp_path / "run")
    folder = folder.rename(tmp_path / "moved")
    config = yaml.safe_load((folder / "exp/asr/config.yaml").read_text(encoding="utf-8"))
    assert config["frontend_conf"] == {"checkpoint": "exp/frontend", "cache_mb": 0}
    assert hypotheses(folder) == expected


@espnet
def test_a_frontend_may_be_one_file(trained: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Fairseq's own, here with the weights of the folder that the model was trained on."""
    expected = hypotheses(trained)
    model, file = load_hubert(tiny_checkpoint), tmp_path / "run" / "hubert.pt"
    settings, task = fairseq_layout.settings(model)
    state = {"cfg": {"model": settings, "task": task}, "model": fairseq_layout.weights(model)}
    torch.save({"args": None, **state}, file)
    weights = torch.load(trained / MODEL, weights_only=True)
    digest = torch.tensor([*bytes.fromhex(checkpoint_digest(file))], dtype=torch.float32)
    torch.save(weights | {"frontend.upstream_digest": digest}, trained / MODEL)
    change(trained, frontend_conf={"checkpoint": str(file)})
    made = pack(PackOptions(asr=trained, out=tmp_path / "model.zip"))
    shutil.rmtree(tmp_path / "run")
    assert hypotheses(made) == expected


def test_a_config_may_name_a_model(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `frontend_conf.checkpoint` trains by, opens the model: a name, a path of the recipe."""
    models, asr = tmp_path / "models", tmp_path / "recipe" / "exp" / "asr"
    asr.mkdir(parents=True)
    models.mkdir()
    (models / "harness_s").symlink_to(tiny_checkpoint)
    (tmp_path / "recipe" / "mine").symlink_to(tiny_checkpoint)
    monkeypatch.setenv("HARNESS_MODELS", str(models))
    for named, place in {
        "harness_mini": packaged()["harness_mini"],
        "harness_s": models / "harness_s",
        "mine": tmp_path / "recipe" / "mine",
        "../models/harness_s": tmp_path / "recipe" / ".." / "models" / "harness_s",
    }.items():
        settings: dict[str, Any] = {"checkpoint": named}
        parts = packing._Parts(asr / "config.yaml", asr / "model.pth", asr)
        packing._place_frontend(settings, parts, OpenOptions())
        assert Path(settings["checkpoint"]) == place.absolute()


@espnet
def test_the_frontend_may_stay_out(trained: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    """A checkpoint of a gigabyte that everybody has already; another one is refused."""
    made = pack(
        PackOptions(asr=trained, leave_out_frontend="models/harness_s", out=tmp_path / "model.zip")
    )
    with zipfile.ZipFile(made) as archive:
        assert not [name for name in archive.namelist() if "frontend" in name]
    with pytest.raises(ValueError, match=r"models/harness_s is missing.*--upstream-checkpoint"):
        open_model(made)
    with pytest.raises(ValueError, match=r"--upstream-checkpoint .*absent: there is no such file"):
        open_model(made, OpenOptions(upstream_checkpoint=tmp_path / "absent"))
    assert hypotheses(made, upstream_checkpoint=tiny_checkpoint) == hypotheses(trained)
    other = other_checkpoint(tiny_checkpoint, tmp_path / "other")
    with pytest.raises(ValueError, match="another upstream checkpoint"):
        open_model(made, OpenOptions(upstream_checkpoint=other))


@espnet
def test_a_changed_upstream_is_not_packed(trained: Path, tmp_path: Path) -> None:
    """Such a pack could be opened nowhere."""
    with (tmp_path / "run/checkpoint/config.json").open("a", encoding="utf-8") as stream:
        stream.write(" ")
    with pytest.raises(ValueError, match="trained on an upstream with digest"):
        pack(PackOptions(asr=trained, out=tmp_path / "model.zip"))
    shutil.rmtree(tmp_path / "run/checkpoint")
    with pytest.raises(ValueError, match="--leave_out_frontend"):
        pack(PackOptions(asr=trained, out=tmp_path / "model.zip"))
    assert not list(tmp_path.glob("*model*")), "a failed pack leaves nothing behind"


@espnet
def test_statistics_tokens_and_decoding_config_are_taken(fbank_asr: Path, tmp_path: Path) -> None:
    """All that a config names by path, from where the recipe was started."""
    recipe = tmp_path / "recipe"
    asr = recipe / "exp" / "asr"
    shutil.copytree(fbank_asr, asr)
    (recipe / "data").mkdir()
    write_tokens(["اب تث ثا", "بت ثب"], recipe / "data", "bpe", nbpe=8)
    change(asr, token_type="bpe", bpemodel="data/bpe.model")  # noqa: S106 - a unit of text
    np.savez(recipe / "data/stats.npz", count=4, sum=np.zeros(20), sum_square=np.ones(20) * 4)
    change(asr, normalize="global_mvn", normalize_conf={"stats_file": "data/stats.npz"})
    decoding = tmp_path / "decode.yaml"
    decoding.write_text("beam_size: 3\nctc_weight: 0.7\nbatch_size: 9\n", encoding="utf-8")
    folder = pack(PackOptions(asr=asr, inference_config=decoding, out=tmp_path / "model"))
    shutil.rmtree(recipe)
    assert (folder / "data/tokens.txt").read_text(encoding="utf-8").startswith("<blank>\n<unk>\n")
    opened = open_model(folder)
    search = opened.beam_search
    assert (search.beam_size, search.weights["ctc"]) == (3, pytest.approx(0.7))
    assert open_model(folder, OpenOptions(beam=5, ctc_weight=0.1)).beam_search.beam_size == 5
    assert torch.equal(opened.asr_model.normalize.std, torch.ones(20))
    tokens = opened.tokenizer.text2tokens("اب تث")
    assert opened.tokenizer.tokens2text(tokens) == "اب تث"


@espnet
def test_a_language_model_comes_along(fbank_asr: Path, tmp_path: Path) -> None:
    """Its scores count in the search of the opened pack."""
    from espnet2.tasks.lm import LMTask  # noqa: PLC0415 - heavy

    options = words_of(
        output_dir=tmp_path, token_list=fbank_asr / "tokens.txt", token_type="char",  # noqa: S106
        lm_conf=["unit=4", "nlayers=1"],
    )  # fmt: skip
    args = LMTask.get_parser().parse_args(options)
    model = LMTask.build_model(args)
    (tmp_path / "lm").mkdir()
    torch.save(model.state_dict(), tmp_path / "lm" / "valid.loss.ave.pth")
    config = yaml.safe_dump(vars(args), allow_unicode=True)
    (tmp_path / "lm" / "config.yaml").write_text(config, encoding="utf-8")
    made = pack(PackOptions(asr=fbank_asr, lm=tmp_path / "lm", out=tmp_path / "model.zip"))
    shutil.rmtree(tmp_path / "lm")
    opened = open_model(made, OpenOptions(beam=1))
    packed, kept = opened.beam_search.full_scorers["lm"].state_dict(), model.lm.state_dict()
    assert packed.keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in packed.items())


@espnet
def test_mistakes_are_explained(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"there.*valid\.acc\.ave\.pth"):
        pack(PackOptions(asr=trained, model="5epoch.pth", out=tmp_path / "model.zip"))
    with pytest.raises(ValueError, match="is not empty"):
        pack(PackOptions(asr=trained, out=trained))
    arguments = ["--asr", str(tmp_path), "--out", str(tmp_path / "model.zip")]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"error: There is no training in .*stage 11"):
        packing.main(arguments)


@pytest.mark.parametrize(
    "name",
    ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "a\\..\\out.txt", "C:/out.txt"],  # noqa: S108
)
def test_no_member_leaves_the_folder(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("meta.yaml", "files: {}\n")
        archive.writestr(name, "gotcha")
    with pytest.raises(ValueError, match=r"bad\.zip is refused"):
        unpack(tmp_path / "bad.zip", tmp_path / "in" / "side")
    assert not list((tmp_path / "in" / "side").iterdir())


def test_a_link_is_not_made(tmp_path: Path) -> None:
    """A link to /etc, and then a file below it."""
    link = zipfile.ZipInfo("exp")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, str(tmp_path / "elsewhere"))
        archive.writestr("exp/file", "gotcha")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match=r"bad\.zip is broken"):
        unpack(tmp_path / "bad.zip", tmp_path / "side")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "side" / "exp").is_symlink()


def test_what_meta_names_lies_inside(tmp_path: Path) -> None:
    """ESPnet itself follows such names out of the folder."""
    (tmp_path / "secret.yaml").write_text("a: 1\n", encoding="utf-8")
    (tmp_path / "model").mkdir()
    names = dict.fromkeys(("asr_train_config", "asr_model_file"), "../secret.yaml")
    meta = yaml.safe_dump({"yaml_files": names})
    (tmp_path / "model" / "meta.yaml").write_text(meta, encoding="utf-8")
    with pytest.raises(ValueError, match="must stay below"):
        open_model(tmp_path / "model")


@espnet
def test_weights_that_would_run_code_are_refused(
    fbank_asr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where ESPnet was told to allow it, and before ESPnet asks at the terminal."""

    class Evil:
        @override
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (tmp_path / "gotcha",)

    asr = tmp_path / "asr"
    shutil.copytree(fbank_asr, asr)
    (asr / "valid.acc.ave.pth").write_bytes(pickle.dumps(Evil()))
    monkeypatch.setenv("ESPNET_ALLOW_UNSAFE_TORCH_LOAD", "1")
    with pytest.raises(ValueError, match="is refused: it is no file of tensors"):
        open_model(asr)
    assert not (tmp_path / "gotcha").exists()


@espnet
def test_a_broken_pack_is_told(fbank_asr: Path, tmp_path: Path) -> None:
    """A download that lost some bytes in the middle."""
    made = pack(PackOptions(asr=fbank_asr, out=tmp_path / "model.zip"))
    data = bytearray(made.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    made.write_bytes(data)
    with pytest.raises(ValueError, match="is broken"):
        open_model(made)


def test_a_recipe_finds_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of the recipe in whose folder one stands: asr.sh calls them the same everywhere."""
    name, asr = Path("data/token_list/bpe.model"), tmp_path / "own" / "exp" / "asr"
    asr.mkdir(parents=True)
    others, recipe, official = tmp_path / "others", tmp_path / "own", asr.parent / OFFICIAL
    (others / name).parent.mkdir(parents=True)
    (others / name).touch()
    monkeypatch.chdir(others)
    assert near(name, asr) == name
    for folder in (recipe, official):  # the second is nearer: a checkout's asr.sh ran there
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        assert near(name, asr) == folder / name


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ASR model .*absent\.zip: there is no such file"):
        open_model(tmp_path / "absent.zip")
    with pytest.raises(ValueError, match=r"is no ASR model: .*with config\.yaml\.$"):
        open_model(tmp_path)
    (tmp_path / "expdir" / "asr_one").mkdir(parents=True)
    (tmp_path / "expdir" / "asr_one" / "config.yaml").touch()
    with pytest.raises(ValueError, match=r"trainings below it: .*asr_one\."):
        open_model(tmp_path / "expdir")
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    with pytest.raises(ValueError, match="is no zip file"):
        open_model(tmp_path / "text.zip")
    (tmp_path / "config.yaml").write_text("a: [", encoding="utf-8")
    (tmp_path / "valid.acc.ave.pth").touch()
    with pytest.raises(ValueError, match="is not valid YAML"):
        open_model(tmp_path)
    gone = "token_type: bpe\nbpemodel: data/bpe.model\n"
    (tmp_path / "config.yaml").write_text(gone, encoding="utf-8")
    with pytest.raises(ValueError, match=r"bpemodel data/bpe\.model .*in which asr\.sh ran"):
        open_model(tmp_path)
    with pytest.raises(ValueError, match=r"last\.pth is not there; .*: valid\.acc\.ave\.pth\."):
        open_model(tmp_path, OpenOptions(model_file="last.pth"))
