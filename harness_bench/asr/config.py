"""Options of the ASR recipes, by the names of ESPnet's egs2 `asr.sh`: each declared once, here."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build, typed

if TYPE_CHECKING:
    from collections.abc import Sequence

type AudioFormat = Literal["flac", "wav"]
type ModelKind = Literal["baseline", "random", "pretrained", "other"]
# Kept as it was typed: prepared.json of a prepared corpus has it so.
type Decimal = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AsrConfig:
    """Settings that decide an ASR model; the defaults are those of a demo ([recipe])."""

    recipe: Path = Field(
        default=Path("egs/demo/asr1"), description="folder with run.sh and conf/, in the repository"
    )
    asr_config: Path = Field(default=Path("conf/demo.yaml"), description="training config")
    inference_config: Path = Field(
        default=Path("conf/decode_demo.yaml"), description="decoding config"
    )
    train_set: str = Field(default="train", description="set to train on")
    valid_set: str = Field(default="dev", description="set that chooses the best epochs")
    test_sets: tuple[str, ...] = Field(
        default=("test",), min_length=1, description="sets to decode, blanks between them"
    )
    layers: str = Field(
        default="weighted",
        pattern=r"^(weighted|mean|-?\d+)$",
        description="hidden states of a checkpoint: weighted, mean or a number",
    )
    ssl_input_layer: Literal["linear", "conv2d2"] = Field(
        default="conv2d2",
        description="of the encoder for a checkpoint: linear (20 ms frames) or conv2d2 (40 ms)",
    )
    ssl_preencoder_dim: int = Field(
        default=40, ge=0, description="a linear layer to so many numbers before it; 0 for none"
    )
    cache_mb: int = Field(
        default=512, ge=0, description="memory for hidden states of utterances seen before, in MB"
    )
    text_profile: str = Field(default="mgb2", description="normalisation of the training text")
    token_type: Literal["char", "word", "bpe"] = Field(
        default="char", description="char, word or bpe"
    )
    nbpe: int = Field(default=1000, ge=8, description="sentencepiece units (token_type bpe)")
    max_epoch: int = Field(default=0, ge=0, description="epochs; 0 leaves it to asr_config")
    seed: int = Field(default=0, ge=0, description="of training and decoding")
    nj: int = Field(
        default=0, ge=0, description="jobs of data stages and of loading audio; 0: the main process"
    )
    ngpu: int = Field(default=0, ge=0, description="GPUs to train on")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RecipeConfig(AsrConfig):
    """All options that both recipes have; empty text stands for what the description says."""

    upstream: str = Field(
        default="fbank",
        description="fbank, a checkpoint folder, or a model's name (docs/espnet.md)",
    )
    feature_cache: str = Field(
        default="",
        description="config of features computed once (stage 10); empty computes them online",
    )
    expdir: str = Field(default="exp", description="everything is written below it")
    dumpdir: str = Field(
        default="", description="audio and texts as ESPnet reads them; default: EXPDIR/dump"
    )
    stage: int = Field(default=1, ge=0, description="first stage to run")
    stop_stage: int = Field(default=14, ge=0, description="last stage to run")
    skip_stages: tuple[int, ...] = Field(default=(), description="stages to leave out")
    speed_perturb_factors: tuple[float, ...] = Field(
        default=(), description='such as "0.9 1.0 1.1": train on all these speeds'
    )
    audio_format: AudioFormat = Field(
        default="flac", description="of audio that has to be rewritten: flac or wav"
    )
    min_wav_duration: float = Field(
        default=0.1, ge=0, description="seconds; shorter training utterances are left out"
    )
    max_wav_duration: float = Field(
        default=20.0, ge=0, description="seconds; longer training utterances are left out"
    )
    use_lm: bool = Field(
        default=False, description="true trains a language model and decodes with it"
    )
    lm_config: Path = Field(default=Path("conf/train_lm.yaml"), description="its training config")
    lm_args: str = Field(default="", description="further options of espnet2.bin.lm_train")
    lm_tag: str = Field(default="", description="name of the language model's folder")
    lm_exp: str = Field(default="", description="its folder; default: EXPDIR/lm_TAG")
    lm_train_text: tuple[str, ...] = Field(
        default=(),
        description='its text, files of lines "id words"; default: that of the training set',
    )
    inference_lm: str = Field(
        default="valid.loss.ave.pth", description="language model to decode with"
    )
    asr_args: str = Field(default="", description="further options of espnet2.bin.asr_train")
    asr_tag: str = Field(default="", description="name of the training's folder")
    asr_exp: str = Field(default="", description="the training's folder; default: EXPDIR/asr_TAG")
    inference_args: str = Field(
        default="", description="further options of espnet2.bin.asr_inference"
    )
    inference_tag: str = Field(default="", description="name of the decoding's folder")
    inference_asr_model: str = Field(
        default="valid.acc.ave.pth", description="model to decode with"
    )
    inference_nj: int = Field(default=1, ge=1, description="processes that decode at a time")
    gpu_inference: Literal["auto", "true", "false"] = Field(
        default="auto", description="true or false; auto decodes on a GPU if training has one"
    )
    scoring: bool = Field(default=True, description="false stops at predictions")
    score_profile: str = Field(
        default="", description="text profile that ranks; default: the corpus's"
    )
    pretraining_data: str = Field(
        default="", description="what the upstream was pretrained on, in words, for the results"
    )
    model: str = Field(
        default="", description="row of the leaderboard; default: the upstream's name"
    )
    model_kind: ModelKind | Literal[""] = Field(
        default="", description="baseline, random, pretrained or other; default: by the upstream"
    )
    synthetic: bool = Field(default=False, description="true marks the speech as computer-made")
    pack: str = Field(
        default="", description=".zip file or folder for a model pack (stage 14); empty: none"
    )
    python: str = Field(
        default="", description="Python with ESPnet and this project; default: .venv, or python3"
    )

    def runs(self, number: int) -> bool:
        """Whether a stage was asked for."""
        return self.stage <= number <= self.stop_stage and number not in self.skip_stages


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PreparedConfig(RecipeConfig):
    """Options of a recipe on one prepared corpus."""

    cuts: str = Field(default="", description="a prepared corpus: cuts.<split>.jsonl.gz")
    corpus: str = Field(
        default="", description="its name in results; default: that of the folder of cuts"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BroadcastData:
    """Where QASR, MGB-2 and MGB-3 are, and how they are prepared."""

    qasr: str = Field(default="", description="folder of QASR as it came (mgb2.1)")
    mgb2: str = Field(default="", description="folder of MGB-2 as it came")
    mgb3: str = Field(default="", description="folder of MGB-3 as it came")
    train_hours: Decimal = Field(
        default="300", description="hours of QASR to train on, drawn by a seed; 0 takes all"
    )
    dev_hours: Decimal = Field(
        default="6", description="hours of our dev, of other programmes; only with train_hours"
    )
    split_seed: int = Field(default=0, ge=0, description="of the drawing")
    max_skipped: float = Field(
        default=0.05, ge=0, le=1, description="largest share of utterances that may be unfit"
    )
    audio_check: Literal["decode", "header"] = Field(
        default="decode", description="decode reads all audio once, header trusts the headers"
    )
    cuts: str = Field(default="", description="prepared corpora; default: EXPDIR/cuts")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BroadcastConfig(BroadcastData, RecipeConfig):
    """Options of the recipe on QASR, MGB-2 and MGB-3; test_sets auto: their tests, as given."""


def parse_options[T](kind: type[T], words: Sequence[str], **values: Any) -> T:
    """Read `--name value ...` as egs2's parse_options.sh does; the last value of a name counts.

    Args:
        kind: a config dataclass; fields that are tuples take their values between blanks.
        words: of the command line.
        values: of fields that are no options.

    Raises:
        ValueError: names the option, its value and what was expected.
    """
    known = getattr(kind, "__pydantic_fields__", {})
    rest = iter(words)
    for word in rest:
        name = word.removeprefix("--")
        if name == word:
            raise ValueError(f"unexpected argument {word!r}; options start with --")
        if name not in known:
            near = " or --".join(difflib.get_close_matches(name, known, n=3))
            hint = f"did you mean --{near}?" if near else "--help lists all"
            raise ValueError(f"unknown option --{name}; {hint}")
        if (value := next(rest, None)) is None:
            raise ValueError(f"option --{name} needs a value")
        values[name] = value
    return build(kind, typed(kind, values), source="options")


def words_of(**options: Any) -> list[str]:
    """Write options as words: `--name value`, in this order.

    None and "" are left out; a list repeats the name, a tuple gives one name several values.
    """
    words: list[str] = []
    for name, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            if each is None or each in ("", ()):
                continue
            parts = each if isinstance(each, tuple) else (each,)
            texts = (str(part).lower() if isinstance(part, bool) else str(part) for part in parts)
            words += [f"--{name}", *texts]
    return words


def list_options(kind: type, given: object = None) -> str:
    """Return one line for each option: its name, default (or value in `given`) and meaning."""
    lines = []
    for name, field in getattr(kind, "__pydantic_fields__", {}).items():
        if name == "recipe":  # told by the script
            continue
        value = getattr(given, name, None if field.is_required() else field.default)
        shown = (
            " ".join(words_of(x=value)[1:])
            if not isinstance(value, tuple)
            else " ".join(map(str, value))
        )
        lines.append(f"  --{name} {f'({shown})' if shown else ''}  {field.description}\n")
    return "".join(lines)
