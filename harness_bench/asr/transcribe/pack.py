"""Model packs: a trained ASR model in one file that ESPnet opens, and the opening of any model.

`python -m harness_bench.asr.transcribe.pack` writes ESPnet's own format (its `pack` function writes
it and its `Speech2Text.from_pretrained` reads it): the config, the weights, tokens, sentencepiece
model and statistics, decoding config, and the frontend's checkpoint folder, so that it works on
another machine.
"""

import contextlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic.dataclasses import dataclass as config_dataclass

from harness_bench.asr.config import OFFICIAL, list_options, option, parse_options
from harness_bench.asr.espnet.register import NAME, register
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.config import STRICT, read_yaml
from harness_bench.core.files import atomic_path, check_given, check_writable, write_text
from harness_bench.core.log import say
from harness_bench.core.sanitize import check_relative, inside, shorten
from harness_bench.models.checkpoint import FACTS
from harness_bench.models.frozen import checkpoint_digest, type_of
from harness_bench.models.hub import locate, names, source_of

CONFIG = "config.yaml"
MODEL = "valid.acc.ave.pth"  # ESPnet's mean of the best epochs
# Where things lie in a pack. Each has a slash: espnet_model_zoo takes only such text for a path.
CONFIG_AT, FRONTEND_AT, DECODE_AT = "exp/asr/config.yaml", "exp/frontend", "exp/decode.yaml"
TOKENS_AT, BPE_AT, STATS_AT = "data/tokens.txt", "data/bpe.model", "exp/stats/feats_stats.npz"
LM_AT = "exp/lm/config.yaml"
# Options of `Speech2Text` that a pack's decoding config may set.
_DECODING = (
    "beam_size", "ctc_weight", "penalty", "maxlenratio", "minlenratio", "lm_weight",
    "normalize_length",
)  # fmt: skip
DEFAULTS = {"beam_size": 10, "ctc_weight": 0.3}  # joint decoding, as in egs/demo/asr1/conf
# Strings of a config that are no paths, whatever they look like.
_NO_PATHS = ("token_list", "preprocessor_conf", "config", "output_dir")


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class PackOptions:
    """What goes into a pack, and where the pack goes; the options of the command line."""

    asr: Path = option(..., "folder that ESPnet trained into: config.yaml and weights")
    model: str = option(MODEL, "weights in --asr")
    inference_config: Path | None = option(None, "YAML of decoding options to keep as defaults")
    leave_out_frontend: str | None = option(
        None, "do not pack the upstream's checkpoint; this path or name finds it later"
    )
    lm: Path | None = option(None, "folder of a language model that ESPnet trained")
    lm_model: str = option("valid.loss.ave.pth", "weights in --lm")
    out: Path = option(..., "NAME.zip, or a new folder that gets the unpacked pack")


def pack(options: PackOptions) -> Path:
    """Write a model pack; return where it is, `options.out`.

    Raises:
        ValueError: a file is missing, the upstream is not that of the training, or the folder has
            something in it.
    """
    out = options.out
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; name a new folder or a file NAME.zip.")
    check_writable(out, "--out", file=out.suffix == ".zip")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=out.parent) as name:
        stage, archive = Path(name) / "pack", Path(name) / "pack.zip"
        _zip(_gather(options, stage), stage, archive)
        if out.suffix == ".zip":
            with atomic_path(out) as partial:
                archive.replace(partial)
        else:
            with zipfile.ZipFile(archive) as packed:
                packed.extract("meta.yaml", stage)
            stage.replace(out)
    return out


def _gather(options: PackOptions, stage: Path) -> dict[str, dict[str, str]]:
    """Lay the pack's files out in a folder; return what ESPnet's meta.yaml names."""
    asr, lm = options.asr, options.lm
    if not (asr / CONFIG).is_file():
        raise ValueError(
            f"There is no training in {asr}: it has no config.yaml. Train first (stage 11), or "
            "name the folder that ESPnet trained into."
        )
    config, weights = read_yaml(asr / CONFIG), weights_of(asr, options.model)
    take = _Taker(asr, stage)
    files = {"asr_model_file": f"exp/asr/{options.model}"}
    yaml_files = {"asr_train_config": CONFIG_AT}
    take.copy(weights, files["asr_model_file"])
    if config.get("frontend") == NAME:
        _take_frontend(options, config["frontend_conf"], weights, take)
    _take_text(config, take)
    if "stats_file" in (config.get("normalize_conf") or {}):
        take.found(config["normalize_conf"], "stats_file", STATS_AT)
    take.yaml(CONFIG_AT, config)
    if options.inference_config is not None:
        take.yaml(DECODE_AT, read_yaml(options.inference_config))
    if lm is not None:
        language = read_yaml(lm / CONFIG)
        _take_text(language, take)
        take.yaml(LM_AT, language)
        files["lm_file"], yaml_files["lm_train_config"] = f"exp/lm/{options.lm_model}", LM_AT
        take.copy(lm / options.lm_model, files["lm_file"])
    return {"files": files, "yaml_files": yaml_files}


def weights_of(asr: Path, name: str) -> Path:
    """Return a training's weights; where they are not, the `ValueError` names those that are."""
    if not (asr / name).is_file():
        there = ", ".join(sorted(path.name for path in asr.glob("*.pth"))) or "none"
        raise ValueError(f"{asr / name} is not there; models of this folder: {there}.")
    return asr / name


@dataclass(frozen=True)
class _Taker:
    """Copies files of a training into the pack's folder."""

    asr: Path
    stage: Path

    def copy(self, source: Path, place: str) -> None:
        if not source.is_file():
            raise ValueError(f"{source} is missing, but is part of the model.")
        target = self.stage / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def yaml(self, place: str, values: dict[str, Any]) -> None:
        text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
        write_text(self.stage / place, text)

    def found(self, values: dict[str, Any], key: str, place: str) -> None:
        """Copy the file that a config names, and name its place in the pack there."""
        self.copy(near(Path(values[key]), self.asr), place)
        values[key] = place


def near(path: Path, asr: Path) -> Path:
    """Find what a training config names: recipes write paths from where they were started.

    Return the path from the nearest folder above the training's where it exists (our recipe starts
    a checkout's asr.sh in a folder beside the training), else from here. Here comes last, because
    files of other recipes have the same names.
    """
    above = () if path.is_absolute() else asr.absolute().parents
    places = (each / path for folder in above for each in (folder, folder / OFFICIAL))
    return next((place for place in places if place.exists()), path)


def _check_files(config: dict[str, Any], asr: Path) -> None:
    """Refuse a config whose sentencepiece model or statistics are gone; ESPnet names no way out."""
    bpe = config.get("token_type") == "bpe"
    named = {
        "bpemodel": config.get("bpemodel") if bpe else None,
        "stats_file": (config.get("normalize_conf") or {}).get("stats_file"),
    }
    for name, value in named.items():
        if value and not near(Path(value), asr).is_file():
            raise ValueError(
                f"{name} {value} of the model's config is missing: it was looked for from {asr}, "
                "from the folders above it, and from here. Put it back, or start in the folder "
                "in which asr.sh ran."
            )


def _take_text(config: dict[str, Any], take: _Taker) -> None:
    """Take what turns tokens into text; whisper's and transformers' names are no files."""
    _check_files(config, take.asr)
    if isinstance(config.get("token_list"), list):
        tokens = "".join(f"{token}\n" for token in config["token_list"])
        write_text(take.stage / TOKENS_AT, tokens)
    if config.get("bpemodel") and near(Path(config["bpemodel"]), take.asr).is_file():
        take.found(config, "bpemodel", BPE_AT)


def _take_frontend(
    options: PackOptions, settings: dict[str, Any], weights: Path, take: _Taker
) -> None:
    """Take the upstream's checkpoint, checked against the training's digest, or leave it out."""
    if "cache_mb" in settings:
        settings["cache_mb"] = 0  # of use to a training alone
    if options.leave_out_frontend is not None:
        settings["checkpoint"] = options.leave_out_frontend
        return
    source = near(Path(settings["checkpoint"]), options.asr)
    if not source.exists() and _is_named(Path(settings["checkpoint"])):
        source = locate(settings["checkpoint"])
    if not source.exists():
        raise ValueError(
            f"The upstream's checkpoint {source} does not exist any more. Restore it, or make the "
            "pack without it: --leave_out_frontend DIR, its path where the pack will be used."
        )
    state = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    trained = bytes(map(int, state["frontend.upstream_digest"].tolist())).hex()
    if trained != (now := checkpoint_digest(source)):  # such a pack would never open
        raise ValueError(
            f"{weights} was trained on an upstream with digest {trained}, but {source} has {now}: "
            "it was changed since. Put the original back, or train again."
        )
    for path in (*type_of(source).files(source), source / FACTS):
        if path.is_file():
            take.copy(path, f"{FRONTEND_AT}/{path.name}")
    # One file may stand for a model: fairseq's, or the adapters of a language.
    settings["checkpoint"] = FRONTEND_AT if source.is_dir() else f"{FRONTEND_AT}/{source.name}"


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


@dataclass(frozen=True)
class _Parts:
    """The files of a model, its decoding config and options of a language model."""

    config: Path
    weights: Path
    root: Path  # what the config's paths start from
    decoding: dict[str, Any] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)  # of a language model


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How to open a model."""

    device: str = "cpu"  # cpu, cuda, cuda:1, ...
    batch_size: int = 1  # chunks decoded at a time
    beam: int | None = None  # width of the search; None takes the pack's own, or 10
    ctc_weight: float | None = None  # CTC's share, 0 to 1; None takes the pack's own, or 0.3
    upstream_checkpoint: Path | None = None  # the frontend's, if not where the model says
    model_file: str = MODEL  # weights of a training's folder


def open_model(model: Path, opening: OpenOptions | None = None) -> Any:
    """Return ESPnet's `Speech2Text` of a model; nothing in the model's files is run.

    Args:
        model: a pack (.zip), the folder of an unpacked one, the folder that ESPnet trained into,
            or one that holds that as `asr`.
        opening: see `OpenOptions`.

    Raises:
        ValueError: no model there, a broken or malicious pack, the frontend's checkpoint is
            missing or not that of the training.
    """
    opening = opening or OpenOptions()
    with tempfile.TemporaryDirectory(prefix="harness-model-") as name:
        folder = Path(name)
        # ESPnet and its libraries print, where a program's answers alone belong.
        with contextlib.redirect_stdout(sys.stderr):
            return _speech2text(_parts(model, folder / "pack", opening), opening, folder)


def _speech2text(parts: _Parts, opening: OpenOptions, folder: Path) -> Any:
    config = _anchored(read_yaml(parts.config), parts.root)
    _check_files(config, parts.root)
    if config.get("frontend") == NAME:
        _place_frontend(config["frontend_conf"], parts, opening)
    _check_weights(parts.weights)
    write_text(folder / CONFIG, yaml.safe_dump(config, allow_unicode=True))
    options = DEFAULTS | {k: v for k, v in parts.decoding.items() if k in _DECODING}
    given = {"beam_size": opening.beam, "ctc_weight": opening.ctc_weight}
    options |= {name: value for name, value in given.items() if value is not None}
    if isinstance(config.get("token_list"), list):
        # ESPnet's search fails where it is wider than there are tokens.
        options["beam_size"] = min(options["beam_size"], len(config["token_list"]))
    register()
    from harness_bench.asr.espnet.inference import Speech2Text  # noqa: PLC0415 - takes 10 s

    opened = Speech2Text(
        asr_train_config=folder / CONFIG, asr_model_file=parts.weights,
        device=opening.device, batch_size=opening.batch_size, **options, **parts.more,
    )  # fmt: skip
    if opened.beam_search is None or opened.tokenizer is None:
        raise ValueError(
            f"{parts.config}: a model with decoder {config.get('decoder')!r} and tokens "
            f"{config.get('token_type')!r} cannot be transcribed with; expected an attention "
            "decoder (beside CTC), and char, bpe or word."
        )
    # What is read at first use, while the files are still there: sentencepiece, the upstream.
    opened.tokenizer.text2tokens("")
    with torch.inference_mode():
        second = torch.zeros(1, SAMPLE_RATE, device=opening.device)
        opened.asr_model.encode(second, torch.tensor([SAMPLE_RATE], device=opening.device))
    return opened


def _parts(model: Path, unpacked: Path, opening: OpenOptions) -> _Parts:
    if model.is_file():
        unpack(model, unpacked)
        return _of_pack(unpacked)
    if (model / "meta.yaml").is_file():
        return _of_pack(model)
    for folder in (model, model / "asr"):
        if (folder / CONFIG).is_file():
            weights = weights_of(folder, opening.model_file)
            return _Parts(folder / CONFIG, weights, folder)
    check_given(model, "ASR model", "file or folder")
    # A recipe's --expdir holds a folder for each training.
    below = ", ".join(str(one.parent) for one in sorted(model.glob("asr_*/config.yaml")))
    raise ValueError(
        f"{model} is no ASR model: expected a pack NAME.zip (`python -m "
        "harness_bench.asr.transcribe.pack`), its unpacked folder with meta.yaml, or a folder that "
        "ESPnet trained into, with config.yaml."
        + (f" There are trainings below it: {below}." if below else "")
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a model pack from anywhere: no member may leave the folder or be a link.

    Raises:
        ValueError: no zip file, a member that would lie elsewhere, or more than the disk holds.
    """
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"{archive} is no zip file. ESPnet's .tgz packs: unpack them first.")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        for member in members:
            try:
                check_relative(member.filename)
            except ValueError as error:
                raise ValueError(f"{archive} is refused: {error}.") from error
        size, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
        if size > free:
            raise ValueError(f"{archive} unpacks to {size} bytes; {folder} has {free} free.")
        try:
            packed.extractall(folder)  # writes links as plain files
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise ValueError(f"{archive} is broken ({error}). Get it again.") from error


def _of_pack(folder: Path) -> _Parts:
    meta = read_yaml(folder / "meta.yaml")
    named = {**(meta.get("files") or {}), **(meta.get("yaml_files") or {})}
    paths = {key: inside(folder, str(place)) for key, place in named.items()}
    for key in ("asr_train_config", "asr_model_file"):
        if key not in paths or not paths[key].is_file():
            what = shorten(str(named.get(key)), 80)
            raise ValueError(f"{folder}/meta.yaml: {key} is {what}; the pack holds no ASR model.")
    decoding = read_yaml(folder / DECODE_AT) if (folder / DECODE_AT).is_file() else {}
    more = {key: str(paths[key]) for key in ("lm_train_config", "lm_file") if key in paths}
    return _Parts(paths["asr_train_config"], paths["asr_model_file"], folder, decoding, more)


def _anchored(value: Any, root: Path) -> Any:
    """Make relative paths absolute where they lead to something."""
    if isinstance(value, dict):
        return {k: v if k in _NO_PATHS else _anchored(v, root) for k, v in value.items()}
    if isinstance(value, list):
        return [_anchored(each, root) for each in value]
    if isinstance(value, str) and "/" in value and not Path(value).is_absolute():
        below = root / value
        found = below if below.exists() else near(Path(value), root)
        return str(found.absolute()) if found.exists() else value
    return value


def _is_named(checkpoint: Path) -> bool:
    """Return whether a config names a model that can be had without its path."""
    return str(checkpoint) in names() or bool(source_of(checkpoint))


def _place_frontend(settings: dict[str, Any], parts: _Parts, opening: OpenOptions) -> None:
    """Say where the upstream lies; its digest is checked when the weights are loaded."""
    told = Path(str(settings["checkpoint"]))
    places = [told if _is_named(told) else near(told, parts.root), parts.root / FRONTEND_AT]
    if opening.upstream_checkpoint is not None:
        places = [locate(opening.upstream_checkpoint, "--upstream-checkpoint")]
    elif not any(place.exists() for place in places) and _is_named(places[0]):
        places = [locate(places[0])]  # of the Hub, fetched elsewhere, or part of this package
    there = next((at for at in places if at.is_file() or (at / "config.json").is_file()), None)
    if there is None:
        raise ValueError(
            f"The frontend's checkpoint {places[0]} is missing. Give its path with "
            "--upstream-checkpoint DIR."
        )
    settings["checkpoint"] = str(there.absolute())
    if "cache_mb" in settings:
        settings["cache_mb"] = 0  # every chunk is heard once


def _check_weights(path: Path) -> None:
    """Refuse a file with more than tensors; ESPnet would offer to run it."""
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is refused: it is no file of tensors ({reason}).") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack by the command line; bad input ends it with one line."""
    words = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"} & {*words}:
        sys.stdout.write(list_options(PackOptions))
        return
    try:
        say(f"packed {pack(parse_options(PackOptions, words))}")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
