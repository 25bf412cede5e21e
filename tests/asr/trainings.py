"""Trainings by ESPnet that take a second: data of noise, a model of one block, our frontend."""

import shutil
from pathlib import Path

import numpy as np
import soundfile as sf

from harness_bench.asr.config import words_of
from harness_bench.asr.kaldi import write_table

LETTERS = "abcd"
TOKENS = ("<blank>", "<unk>", *LETTERS, "<space>", "<sos/eos>")
SMALL = {
    "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 1,
    "input_layer": "linear",
}  # fmt: skip
DROPOUT = ("dropout_rate", "positional_dropout_rate", "attention_dropout_rate")
DECODER_DROPOUT = (*DROPOUT[:2], "self_attention_dropout_rate", "src_attention_dropout_rate")
# As in the recipe: ESPnet's old kinds, its defaults, see the padding.
CONFORMER = {
    "rel_pos_type": "latest", "pos_enc_layer_type": "rel_pos",
    "selfattention_layer_type": "rel_selfattn",
}  # fmt: skip


def other_checkpoint(checkpoint: Path, folder: Path) -> Path:
    """Copy a checkpoint so that its digest is another: with a blank more in its config."""
    shutil.copytree(checkpoint, folder)
    with (folder / "config.json").open("a", encoding="utf-8") as stream:
        stream.write(" ")
    return folder


def write_data(folder: Path, count: int = 8) -> Path:
    """Write `count` utterances of noise, 0.3 to 0.6 s, with texts, as ESPnet reads them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows: dict[str, dict[str, object]] = {"wav.scp": {}, "text": {}, "speech_shape": {}}
    for number in range(count):
        name, samples = f"u{number}", int(rng.integers(4800, 9600))
        rows["wav.scp"][name], rows["speech_shape"][name] = folder / f"{name}.wav", samples
        sf.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(samples), 16_000)
        rows["text"][name] = "".join(rng.choice(list(LETTERS), 4))
    for file, table in rows.items():
        write_table(folder / file, table)
    (folder / "tokens.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return folder


def arguments(
    data: Path, checkpoint: Path, out: Path, *, dropout: float = 0.1, encoder: str = "conformer",
    **options: object,
) -> list[str]:  # fmt: skip
    """Return the command line of `espnet2.bin.asr_train` for a folder of `write_data`.

    Args:
        data: the folder.
        checkpoint: the upstream's folder.
        out: gets the training.
        dropout: everywhere in encoder and decoder.
        encoder: ESPnet's name; a conformer has BatchNorm, a transformer has none.
        options: further options or other values.
    """
    values: dict[str, object] = {
        "frontend": "harness", "encoder": encoder, "decoder": "transformer",
        "token_type": "char", "token_list": data / "tokens.txt", "bpemodel": "none",
        "use_preprocessor": True, "normalize": "utterance_mvn", "output_dir": out,
        "train_shape_file": data / "speech_shape", "valid_shape_file": data / "speech_shape",
        "batch_type": "unsorted", "batch_size": 4, "max_epoch": 2, "keep_nbest_models": 2,
        "optim": "adam", "num_workers": 0, "ngpu": 0, "num_att_plot": 0, "use_matplotlib": False,
        "use_tensorboard": False, "resume": True, "seed": 0,
        "best_model_criterion": ("valid,acc,max",),
    } | options  # fmt: skip
    configs: dict[str, dict[str, object]] = {
        "frontend": {"checkpoint": checkpoint},
        "encoder": SMALL | (CONFORMER if encoder == "conformer" else {}),
        "decoder": {"attention_heads": 2, "linear_units": 16, "num_blocks": 1},
        "model": {"ctc_weight": 0.3, "extract_feats_in_collect_stats": "false"},
        "optim": {"lr": 0.01},
    }
    configs["encoder"] |= dict.fromkeys(DROPOUT, dropout)
    configs["decoder"] |= dict.fromkeys(DECODER_DROPOUT, dropout)
    values |= {
        f"{name}_conf": [f"{k}={v}" for k, v in conf.items()] for name, conf in configs.items()
    }
    for part in ("train", "valid"):
        files = [f"{data / 'wav.scp'},speech,sound", f"{data / 'text'},text,text"]
        values[f"{part}_data_path_and_name_and_type"] = files
    return words_of(**values)
