"""Options of the ASR recipes, by the names of ESPnet's egs2 `asr.sh`: each declared once, here."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build, typed

CORPORA = ("mgb3", "mgb2", "qasr")  # the one that takes hours comes last
_PACKAGED = Path(__file__).parent / "shipped"  # in an installed wheel: the recipes of ASR
# Recipes are named from here.
REPOSITORY = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2]
OFFICIAL = "espnet2"  # below --expdir: where a checkout's asr.sh runs
type AudioFormat = Literal["flac", "wav"]
type TokenType = Literal["char", "word", "bpe"]
type ModelKind = Literal["baseline", "random", "pretrained", "other"]
type Layers = Annotated[str, Field(pattern=r"^(weighted|mean|-?\d+)$")]
# Kept as it was typed: prepared.json of a prepared corpus has it so.
type Decimal = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")]


def recipe_folder(recipe: Path | str) -> Path:
    """Return the folder with run.sh and conf/; a wheel holds it too.

    Raises:
        ValueError: it is not there.
    """
    folder = (REPOSITORY / recipe).absolute()
    if not (folder / "run.sh").is_file():
        there = sorted(path.parent for path in REPOSITORY.glob("egs/*/asr1/run.sh"))
        known = ", ".join(str(path.relative_to(REPOSITORY)) for path in there)
        raise ValueError(
            f"There is no {folder / 'run.sh'}. Name in `recipe` one of {known}, or the absolute "
            "path of a folder with run.sh and conf/."
        )
    return folder


def option(default: Any, description: str, **limits: Any) -> Any:
    """Return a field with its default, its help and pydantic's limits of its value."""
    return Field(default=default, description=description, **limits)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AsrConfig:
    """Settings that decide an ASR model; the defaults are those of a demo ([recipe])."""

    recipe: Path = option(Path("egs/demo/asr1"), "folder with run.sh and conf/")
    asr_config: Path = option(Path("conf/demo.yaml"), "training config")
    inference_config: Path = option(Path("conf/decode_demo.yaml"), "decoding config")
    train_set: str = option("train", "set to train on")
    valid_set: str = option("dev", "set that chooses the best epochs")
    test_sets: tuple[str, ...] = option(("test",), "sets to decode, blanks between", min_length=1)
    layers: Layers = option("weighted", "hidden states: weighted, mean or a number")
    ssl_input_layer: Literal["linear", "conv2d2"] = option(
        "conv2d2",
        "of the encoder for a checkpoint: linear (frames of 20 ms) or conv2d2 (40)",
    )
    ssl_preencoder_dim: int = option(40, "width of a linear layer before it; 0 for none", ge=0)
    cache_mb: int = option(512, "memory for hidden states of utterances seen before, in MB", ge=0)
    text_profile: str = option("mgb2", "normalisation of the training text")
    token_type: TokenType = option("char", "char, word or bpe")
    nbpe: int = option(1000, "sentencepiece units (token_type bpe)", ge=8)
    max_epoch: int = option(0, "epochs; 0 leaves it to asr_config", ge=0)
    seed: int = option(0, "of training and decoding", ge=0)
    nj: int = option(0, "jobs of data stages and of loading audio; 0: the main process", ge=0)
    ngpu: int = option(0, "GPUs to train on", ge=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RecipeConfig(AsrConfig):
    """All options that both recipes have; empty text stands for what the description says."""

    cuts: str = option("", "prepared cuts; the recipe of QASR makes them: EXPDIR/cuts")
    upstream: str = option("fbank", "fbank, checkpoint, or model's name (docs/espnet.md)")
    feature_cache: str = option("", "config of features computed once (stage 10); default: online")
    expdir: str = option("exp", "everything is written below it")
    dumpdir: str = option("", "audio and texts as ESPnet reads them; default: EXPDIR/dump")
    stage: int = option(1, "first stage to run", ge=0)
    stop_stage: int = option(14, "last stage to run", ge=0)
    skip_stages: tuple[int, ...] = option((), "stages to leave out")
    speed_perturb_factors: tuple[float, ...] = option(
        (), "such as '0.9 1.0 1.1': train on all these speeds"
    )
    audio_format: AudioFormat = option("flac", "of audio that has to be rewritten: flac or wav")
    min_wav_duration: float = option(0.1, "seconds; shorter training utterances are left out", ge=0)
    max_wav_duration: float = option(20.0, "seconds; longer training utterances are left out", ge=0)
    use_lm: bool = option(default=False, description="true trains a language model, and uses it")
    lm_config: Path = option(Path("conf/train_lm.yaml"), "its training config")
    lm_args: str = option("", "further options of espnet2.bin.lm_train")
    lm_tag: str = option("", "name of the language model's folder")
    lm_exp: str = option("", "its folder; default: EXPDIR/lm_TAG")
    lm_train_text: tuple[str, ...] = option(
        (), "its text, files of lines 'id words'; default: that of the training set"
    )
    inference_lm: str = option("valid.loss.ave.pth", "language model to decode with")
    asr_args: str = option("", "further options of espnet2.bin.asr_train")
    asr_tag: str = option("", "name of the training's folder")
    asr_exp: str = option("", "the training's folder; default: EXPDIR/asr_TAG")
    inference_args: str = option("", "further options of espnet2.bin.asr_inference")
    inference_tag: str = option("", "name of the decoding's folder")
    inference_asr_model: str = option("valid.acc.ave.pth", "model to decode with")
    inference_nj: int = option(1, "processes that decode at a time", ge=1)
    gpu_inference: Literal["auto", "true", "false"] = option(
        "auto", "auto decodes on a GPU if training has one"
    )
    scoring: bool = option(default=True, description="false stops at predictions")
    score_profile: str = option("", "text profile that ranks; default: the corpus's")
    pretraining_data: str = option("", "of the upstream, in words, for the results")
    model: str = option("", "row of the leaderboard; default: the upstream's name")
    model_kind: ModelKind | Literal[""] = option("", "default: by the upstream")
    synthetic: bool = option(default=False, description="true marks the speech as computer-made")
    pack: str = option("", ".zip file or folder for a model pack (stage 14); empty: none")
    python: str = option("", "Python with ESPnet and this project; default: .venv, or python3")

    def runs(self, number: int) -> bool:
        """Whether a stage was asked for."""
        return self.stage <= number <= self.stop_stage and number not in self.skip_stages


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PreparedConfig(RecipeConfig):
    """Options of a recipe on one prepared corpus."""

    corpus: str = option("", "its name in results; default: that of the folder of cuts")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BroadcastConfig(RecipeConfig):
    """Options of the recipe on QASR, MGB-2 and MGB-3; test_sets auto: their tests, as given."""

    qasr: str = option("", "folder of QASR as it came (mgb2.1)")
    mgb2: str = option("", "folder of MGB-2 as it came")
    mgb3: str = option("", "folder of MGB-3 as it came")
    train_hours: Decimal = option("300", "hours of QASR to train on, drawn by a seed; 0 takes all")
    dev_hours: Decimal = option("6", "hours of our dev, of other programmes; only with train_hours")
    split_seed: int = option(0, "of the drawing", ge=0)
    max_skipped: float = option(0.05, "largest share of utterances that may be unfit", ge=0, le=1)
    audio_check: Literal["decode", "header"] = option("decode", "header trusts the files' headers")


def corpus_of(name: str) -> str:
    """Return the corpus of a set: what stands before `_`, or qasr."""
    before, divided, _ = name.partition("_")
    return before if divided and before in CORPORA else "qasr"


def split_of(name: str) -> str:
    """Return the split of its corpus that a set is."""
    return name.removeprefix(f"{corpus_of(name)}_")


def parse_options[T](kind: type[T], words: Sequence[str], **values: Any) -> T:
    """Read `--name value ...` as egs2's parse_options.sh does; the last value of a name counts.

    Tuples take blanks or commas between values; `values` are those of fields that are no options.

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
        shown = " ".join(words_of(x=value)[1:])
        lines.append(f"  --{name} {f'({shown})' if shown else ''}  {field.description}\n")
    return "".join(lines)
