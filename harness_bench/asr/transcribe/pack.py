"""Pack a trained ASR model into one file that ESPnet opens: `-m harness_bench.asr.transcribe.pack`.

The pack is ESPnet's own (its `pack` function writes it and its `Speech2Text.from_pretrained` reads
it): the config, the weights, tokens, sentencepiece model and statistics, decoding config, and the
frontend's checkpoint folder, so that it works on another machine.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic.dataclasses import dataclass as config_dataclass

from harness_bench.asr.config import list_options, option, parse_options
from harness_bench.asr.espnet.register import NAME
from harness_bench.core.config import STRICT, read_yaml
from harness_bench.core.files import atomic_path, write_text
from harness_bench.core.log import say
from harness_bench.models.checkpoint import FACTS
from harness_bench.models.frozen import checkpoint_digest, type_of

MODEL = "valid.acc.ave.pth"  # ESPnet's mean of the best epochs
LM_MODEL = "valid.loss.ave.pth"
if TYPE_CHECKING:
    from collections.abc import Sequence

# Where things lie in a pack. Each has a slash: espnet_model_zoo takes only such text for a path.
CONFIG_AT, FRONTEND_AT, DECODE_AT = "exp/asr/config.yaml", "exp/frontend", "exp/decode.yaml"
TOKENS_AT, BPE_AT, STATS_AT = "data/tokens.txt", "data/bpe.model", "exp/stats/feats_stats.npz"
LM_AT = "exp/lm/config.yaml"


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class Sources:
    """What goes into a pack; the options of the command line."""

    asr: Path = option(..., "folder that ESPnet trained into: config.yaml and weights")
    model: str = option(MODEL, "weights in --asr")
    inference_config: Path | None = option(None, "YAML of decoding options to keep as defaults")
    leave_out_frontend: str | None = option(
        None, "do not pack the upstream's checkpoint; this path or name finds it later"
    )
    lm: Path | None = option(None, "folder of a language model that ESPnet trained")
    lm_model: str = option(LM_MODEL, "weights in --lm")


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class PackOptions(Sources):
    """Options of the program."""

    out: Path = option(..., "NAME.zip, or a new folder")


def pack(sources: Sources, out: Path) -> Path:
    """Write a model pack; return `out`.

    Args:
        sources: see `Sources`.
        out: a name that ends in .zip, or a folder (new or empty) that gets the unpacked pack.

    Raises:
        ValueError: a file is missing, the upstream is not that of the training, or the folder has
            something in it.
    """
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; name a new folder or a file NAME.zip.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=out.parent) as name:
        stage = Path(name) / "pack"
        meta = _gather(sources, stage)
        archive = Path(name) / "pack.zip"
        _zip(meta, stage, archive)
        if out.suffix == ".zip":
            with atomic_path(out) as partial:
                archive.replace(partial)
        else:
            with zipfile.ZipFile(archive) as packed:
                packed.extract("meta.yaml", stage)
            stage.replace(out)
    return out


def _gather(sources: Sources, stage: Path) -> dict[str, dict[str, str]]:
    """Lay the pack's files out in a folder; return what ESPnet's meta.yaml names."""
    if not (sources.asr / "config.yaml").is_file():
        raise ValueError(
            f"There is no training in {sources.asr}: it has no config.yaml. Train first (stage "
            "11), or name the folder that ESPnet trained into."
        )
    config = read_yaml(sources.asr / "config.yaml")
    weights = weights_of(sources.asr, sources.model)
    take = _Taker(sources.asr, stage)
    take.copy(weights, f"exp/asr/{sources.model}")
    if config.get("frontend") == NAME:
        _take_frontend(sources, config, weights, take)
    _take_text(config, take)
    if "stats_file" in (config.get("normalize_conf") or {}):
        take.found(config["normalize_conf"], "stats_file", STATS_AT)
    take.text(CONFIG_AT, _dump(config))
    if sources.inference_config is not None:
        take.text(DECODE_AT, _dump(read_yaml(sources.inference_config)))
    files = {"asr_model_file": f"exp/asr/{sources.model}"}
    yaml_files = {"asr_train_config": CONFIG_AT}
    if sources.lm is not None:
        language = read_yaml(sources.lm / "config.yaml")
        _take_text(language, take)
        take.text(LM_AT, _dump(language))
        files["lm_file"] = f"exp/lm/{sources.lm_model}"
        take.copy(sources.lm / sources.lm_model, files["lm_file"])
        yaml_files["lm_train_config"] = LM_AT
    return {"files": files, "yaml_files": yaml_files}


def weights_of(asr: Path, name: str) -> Path:
    """Return a training's weights; where they are not, the `ValueError` names those that are."""
    if not (asr / name).is_file():
        there = ", ".join(sorted(path.name for path in asr.glob("*.pth"))) or "none"
        raise ValueError(f"{asr / name} is not there; models of this folder: {there}.")
    return asr / name


def _dump(value: dict[str, Any]) -> str:
    return str(yaml.safe_dump(value, allow_unicode=True, sort_keys=False))


@dataclass(frozen=True)
class _Taker:
    """Copies files of a training into the pack's folder."""

    asr: Path
    stage: Path

    def copy(self, source: Path, place: str) -> None:
        if not source.is_file():
            raise ValueError(f"{source} is not there, but belongs to the model.")
        target = self.stage / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def text(self, place: str, text: str) -> None:
        write_text(self.stage / place, text)

    def found(self, values: dict[str, Any], key: str, place: str) -> None:
        """Copy the file that a config names, and name its place in the pack there."""
        self.copy(near(Path(values[key]), self.asr), place)
        values[key] = place


def near(path: Path, asr: Path) -> Path:
    """Find what a training config names: recipes write paths from where they were started.

    Return the path from here, or from the nearest folder above the training's where it exists.
    """
    folders = () if path.is_absolute() else asr.absolute().parents
    return next((each for f in folders if (each := f / path).exists() and not path.exists()), path)


def _take_text(config: dict[str, Any], take: _Taker) -> None:
    """Take what turns tokens into text; whisper's and transformers' names are no files."""
    if isinstance(config.get("token_list"), list):
        take.text(TOKENS_AT, "".join(f"{token}\n" for token in config["token_list"]))
    if config.get("bpemodel") and near(Path(config["bpemodel"]), take.asr).is_file():
        take.found(config, "bpemodel", BPE_AT)


def _take_frontend(sources: Sources, config: dict[str, Any], weights: Path, take: _Taker) -> None:
    """Take the upstream's checkpoint, checked against the training's digest, or leave it out."""
    settings = config["frontend_conf"]
    if "cache_mb" in settings:
        settings["cache_mb"] = 0  # of use to a training alone
    if sources.leave_out_frontend is not None:
        settings["checkpoint"] = sources.leave_out_frontend
        return
    folder = near(Path(settings["checkpoint"]), sources.asr)
    if not folder.is_dir():
        raise ValueError(
            f"The upstream's checkpoint {folder} is not there any more. Put it back, or leave it "
            "out of the pack and say where it will be found: --leave_out_frontend DIR."
        )
    _check_digest(folder, weights)
    for path in (*type_of(folder).files(folder), folder / FACTS):
        if path.is_file():
            take.copy(path, f"{FRONTEND_AT}/{path.name}")
    settings["checkpoint"] = FRONTEND_AT


def _check_digest(folder: Path, weights: Path) -> None:
    """Refuse an upstream that the model was not trained on: the pack would never open."""
    import torch  # noqa: PLC0415 - heavy

    state = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    trained = bytes(int(value) for value in state["frontend.upstream_digest"].tolist()).hex()
    if trained != (now := checkpoint_digest(folder)):
        raise ValueError(
            f"{weights} was trained on an upstream with digest {trained}, but {folder} has {now}: "
            "it was changed since. Put the original back, or train again."
        )


def _zip(meta: dict[str, dict[str, str]], stage: Path, archive: Path) -> None:
    """Let ESPnet pack a folder; it names members as they are seen from the working folder."""
    from harness_bench.asr.espnet.inference import espnet_pack  # noqa: PLC0415 - heavy

    files = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
    named = {*meta["files"].values(), *meta["yaml_files"].values()}
    others = [str(path) for path in files if path.as_posix() not in named]
    with contextlib.chdir(stage), contextlib.redirect_stdout(sys.stderr):
        espnet_pack(**meta, option=others, outpath=archive.absolute())
    if (stage / FRONTEND_AT).is_dir():
        # ESPnet makes those paths of the config absolute that are members of the archive, and
        # packs files alone: without this the frontend's folder would stay relative.
        with zipfile.ZipFile(archive, "a") as packed:
            packed.mkdir(FRONTEND_AT)


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack by the command line; bad input ends it with one line."""
    words = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"} & {*words}:
        sys.stdout.write(list_options(PackOptions))
        return
    try:
        options = parse_options(PackOptions, words)
        say(f"packed {pack(options, options.out)}")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
