"""Open a trained ASR model wherever it lies: a pack, an unpacked pack, or a training's folder."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness_bench.asr.espnet.register import NAME, register
from harness_bench.asr.transcribe.pack import DECODE_AT, FRONTEND_AT, MODEL, near, weights_of
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.config import read_yaml
from harness_bench.core.files import write_text
from harness_bench.core.sanitize import check_relative, inside, shorten

# Options of `Speech2Text` that a pack's decoding config may set.
_DECODING = (
    "beam_size", "ctc_weight", "penalty", "maxlenratio", "minlenratio", "lm_weight",
    "normalize_length",
)  # fmt: skip
DEFAULTS = {"beam_size": 10, "ctc_weight": 0.3}  # joint decoding, as in egs/demo/asr1/conf
# Strings of a config that are no paths, whatever they look like.
_NO_PATHS = ("token_list", "preprocessor_conf", "config", "output_dir")


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
    """How to open a model.

    Attributes:
        device: cpu, cuda, cuda:1, ...
        batch_size: chunks decoded at a time.
        beam: width of the search; None takes the pack's own, or 10.
        ctc_weight: share of CTC in the search, 0 to 1; None takes the pack's own, or 0.3.
        upstream_checkpoint: where the frontend's checkpoint lies, if not where the model says.
        model_file: weights of a training's folder; default: the mean of the best epochs.
    """

    device: str = "cpu"
    batch_size: int = 1
    beam: int | None = None
    ctc_weight: float | None = None
    upstream_checkpoint: Path | None = None
    model_file: str = MODEL


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
    if config.get("frontend") == NAME:
        _place_frontend(config["frontend_conf"], parts, opening)
    _check_weights(parts.weights)
    write_text(folder / "config.yaml", yaml.safe_dump(config, allow_unicode=True))
    options = DEFAULTS | {k: v for k, v in parts.decoding.items() if k in _DECODING}
    given = {"beam_size": opening.beam, "ctc_weight": opening.ctc_weight}
    options |= {name: value for name, value in given.items() if value is not None}
    if isinstance(config.get("token_list"), list):
        # ESPnet's search fails where it is wider than there are tokens.
        options["beam_size"] = min(options["beam_size"], len(config["token_list"]))
    register()
    import torch  # noqa: PLC0415 - heavy

    from harness_bench.asr.espnet.inference import Speech2Text  # noqa: PLC0415 - takes 10 s

    opened = Speech2Text(
        asr_train_config=folder / "config.yaml", asr_model_file=parts.weights,
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
        if (folder / "config.yaml").is_file():
            weights = weights_of(folder, opening.model_file)
            return _Parts(folder / "config.yaml", weights, folder)
    if not model.exists():
        raise ValueError(f"{model} is no ASR model: there is no such file or folder.")
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


def _place_frontend(settings: dict[str, Any], parts: _Parts, opening: OpenOptions) -> None:
    """Say where the upstream lies; its digest is checked when the weights are loaded."""
    said = Path(str(settings["checkpoint"]))
    places = [said, parts.root / FRONTEND_AT]
    if opening.upstream_checkpoint is not None:
        places = [opening.upstream_checkpoint]
    there = next((place for place in places if (place / "config.json").is_file()), None)
    if there is None:
        raise ValueError(
            f"The frontend's checkpoint {places[0]} is not there. Say where it lies with "
            "--upstream-checkpoint DIR."
        )
    settings["checkpoint"] = str(there.absolute())
    if "cache_mb" in settings:
        settings["cache_mb"] = 0  # every chunk is heard once


def _check_weights(path: Path) -> None:
    """Refuse a file with more than tensors; ESPnet would offer to run it."""
    import torch  # noqa: PLC0415 - heavy

    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is refused: it is no file of tensors ({reason}).") from error
