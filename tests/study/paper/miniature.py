"""The paper's study in miniature: its own file, word by word, on tiny corpora in their layouts.

`python -m tests.study.paper.miniature ROOT` writes the corpora, the two checkpoints of the Hub, a
copy of egs/paper and, in the places of what that names, tiny settings of the same structure. Then
`. ROOT/environment; harness-bench study ROOT/egs/paper/study.toml` runs it.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness_bench.core.config import read_toml
from harness_bench.pretrain.config import IterationConfig, load_family
from tests.corpora.layouts import adi5, commonvoice, ksuemotions, librispeech
from tests.egs.official import HOURS, ROOT, build
from tests.models.tiny_types import save, waveforms

PAPER = ROOT / "egs" / "paper"
FAMILY = Path("harness", "pretrain1", "conf", "family.toml")
HUB = {"facebook/hubert-large-ll60k": "Hubert", "facebook/wav2vec2-xls-r-300m": "Wav2Vec2"}
# What the paper's numbers become; ratios stay, so that block averages fit where they do.
WIDTHS = {1024: 32, 512: 16, 256: 8}
INNER = {4096: 64, 2048: 32}
BLOCKS = {24: 4, 4: 2}
HEADS = {16: 4, 4: 2}
LAYERS = {None: None, 9: 2, 24: 4}
TRAIN: dict[str, Any] = {
    "max_update": 4, "max_seconds": 4.0, "num_buckets": 2, "final_dim": 16, "num_workers": 0,
    "precision": "32-true", "log_interval": 1, "save_interval_updates": 4, "tensorboard": False,
}  # fmt: skip
SOURCES = (
    {"name": "qasr", "corpus": "qasr", "folder": "$CORPORA/qasr/mgb2.1", "language": "ar",
     "options": {"train_hours": HOURS["train"], "dev_hours": HOURS["dev"]}},
    {"name": "arabic", "corpus": "commonvoice", "folder": "$CORPORA/arabic", "language": "ar"},
    {"name": "english", "corpus": "librispeech", "folder": "$CORPORA/english", "language": "en"},
)  # fmt: skip


def corpora(root: Path) -> None:
    """Write every corpus as it is published, where the study's file looks for it."""
    made = build(root / "made")
    places = {"qasr": "qasr/mgb2.1", "mgb2": "mgb2", "mgb3": "mgb3"}
    for name, folder in made.items():
        (root / places[name]).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, root / places[name])
    (root / "made").rmdir()
    others = {"ksuemotions": ksuemotions, "adi5": adi5, "arabic": commonvoice,
              "english": librispeech}  # fmt: skip
    for name, module in others.items():
        (root / name).mkdir()
        module.build(root / name)


def shrunk(step: IterationConfig) -> dict[str, Any]:
    """Return the keys of an iteration that make it small, and nothing else of it."""
    model, labels = step.model, step.labels
    return {
        "model": {
            "encoder_layers": BLOCKS[model.encoder_layers],
            "encoder_embed_dim": WIDTHS[model.encoder_embed_dim],
            "encoder_ffn_embed_dim": INNER[model.encoder_ffn_embed_dim],
            "encoder_attention_heads": HEADS[model.encoder_attention_heads],
            "conv_dim": [16] * 7, "conv_pos": 16, "conv_pos_groups": 4,
        },
        "labels": {
            "clusters": 10, "kmeans_iterations": 3,
            **({} if labels.layer is None else {"layer": LAYERS[labels.layer]}),
            **({} if labels.pca_dim is None else {"pca_dim": WIDTHS[labels.pca_dim]}),
        },
        "pretrain": TRAIN,
    }  # fmt: skip


def family(path: Path) -> None:
    """Write the paper's family with tiny numbers, on corpora in the place of shards."""
    source = ROOT / "egs" / FAMILY
    values, steps = read_toml(source), load_family(source).iterations
    values["data"] = {"sources": [*SOURCES]}
    for entry, step in zip(values["iterations"], steps, strict=True):
        for name, keys in shrunk(step).items():
            entry[name] = entry.get(name, {}) | keys
    write(path, toml(values))


def settings(root: Path) -> None:
    """Write what the study's file names beside itself: family, heads, the ASR recipe."""
    family(root / FAMILY)
    for recipe in ("ksuemotions/ser1", "adi5/did1"):
        grid = {"learning_rates": [1e-2, 1e-3], "seeds": [1337, 1338, 1339]}
        probe = {"total_steps": 4, "eval_step": 2, "batch_size": 4, "eval_batch_size": 4,
                 "input_norm": "none", "hidden": 8, "dropout": 0.4}  # fmt: skip
        write(root / recipe / "conf" / "probe.toml", toml(grid | {"probe": probe}))
    shutil.copy(ROOT / "egs" / "python.sh", root)
    conf = root / "qasr" / "asr1" / "conf"
    shutil.copytree(ROOT / "egs" / "qasr" / "asr1", conf.parent)
    small = (conf / "train_asr_cpu_smoke.yaml").read_text(encoding="utf-8")
    for before, after in (("max_epoch: 12", "max_epoch: 1"), ("output_size: 96", "output_size: 32"),
                          ("linear_units: 256", "linear_units: 32")):  # fmt: skip
        assert before in small
        small = small.replace(before, after)
    write(conf / "train_asr_1gpu.yaml", small)
    decode = (conf / "decode.yaml").read_text(encoding="utf-8")
    write(conf / "decode.yaml", decode.replace("beam_size: 10", "beam_size: 2"))


def hub(root: Path) -> None:
    """Write the cache of the Hub with a tiny checkpoint under each of the study's names."""
    for number, (name, kind) in enumerate(HUB.items()):
        cache, commit = root / f"models--{name.replace('/', '--')}", f"{number}" * 40
        (cache / "snapshots").mkdir(parents=True)
        large = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
        save(waveforms(kind, **large), cache / "snapshots" / commit)
        write(cache / "refs" / "main", commit)


def study(root: Path) -> Path:
    """Write the whole miniature; return the study's file.

    Of that, few things are others: the hours of QASR, units, the seeds of ASR, which are two for
    the clock, that speech is made, and the machine.
    """
    path = root / "egs" / "paper" / "study.toml"
    if (root / "environment").is_file():  # it is whole: the study goes on where it was
        return path
    corpora(root / "corpora")
    hub(root / "hub")
    shutil.copytree(PAPER, root / "egs" / "paper")
    settings(root / "egs")
    text, _, machine = path.read_text(encoding="utf-8").partition("# The machine.")
    assert "[needs" in machine
    hours = "{{ train_hours = {train:g}, dev_hours = {dev:g} }}".format
    for before, after in (
        (hours(train=300, dev=6), hours(**HOURS)), ("synthetic = false", "synthetic = true"),
        ("seeds = [0, 1, 2]", "seeds = [0, 1]"),
        ('token_type = "bpe"', 'token_type = "bpe"\nnbpe = 22'),
    ):  # fmt: skip
        assert text.count(before) == 1
        text = text.replace(before, after)
    write(path, text)
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment(root).items()]
    write(root / "environment", "".join(lines))
    return path


def environment(root: Path) -> dict[str, str]:
    """Return the variables under which the study finds its corpora and checkpoints."""
    root = root.resolve()
    return {
        "CORPORA": str(root / "corpora"), "HF_HUB_CACHE": str(root / "hub"), "HF_HUB_OFFLINE": "1"
    }  # fmt: skip


def toml(values: Mapping[str, Any]) -> str:
    """Write a table whose values are inline tables, lists, texts and numbers."""
    return "".join(f"{key} = {_inline(value)}\n" for key, value in values.items())


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_inline(each)}' for key, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value, ensure_ascii=False)


def write(path: Path, text: str) -> None:
    """Write a text into a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.write(f"{study(Path(sys.argv[1]))}\n")
