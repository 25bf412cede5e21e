"""HuBERT checkpoints of fairseq: read without fairseq, and without running what they hold."""

from __future__ import annotations

import ast
import re
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple, Self, override

import torch
from torch._weights_only_unpickler import _get_allowed_globals, get_globals_in_pkl

from harness_bench.core.config import build
from harness_bench.core.files import digest_file
from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.config import HubertConfig
from harness_bench.models.frozen import FrozenModel, ModelShape, ModelType
from harness_bench.models.hubert import Hubert
from harness_bench.models.types.hubert import Backbone, hubert_shape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

MAX_CONV_LAYERS = 100  # so that no text can ask for a list that fills the memory
HEAD_NAMES = ("final_proj.weight", "final_proj.bias", "label_embs_concat")
REQUIRED = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim")
# fairseq's defaults, for the settings that a file may leave out.
DEFAULTS: dict[str, Any] = {
    "encoder_attention_heads": 12,
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
    "conv_bias": False,
    "extractor_mode": "default",
    "layer_norm_first": False,
    "conv_pos": 128,
    "conv_pos_groups": 16,
}
DROPOUTS = (
    "dropout", "attention_dropout", "activation_dropout", "dropout_input", "encoder_layerdrop",
)  # fmt: skip
# Variants that have no counterpart here; the value is what every HuBERT release has.
ONLY: dict[str, Any] = {
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "conv_pos_batch_norm": False,
    "pos_conv_depth": 1,
    "target_glu": False,
}
# fairseq's name -> ours (transformers'), tried in this order.
_POSITIONS = "encoder.pos_conv_embed.conv."
RENAMES = (
    (r"mask_emb", "masked_spec_embed"),
    (r"(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    # In a stack with a layer norm, the norm stands between two transpositions.
    (r"(feature_extractor\.conv_layers\.\d+)\.2(\.1)?\.", r"\1.layer_norm."),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"layer_norm\.", "feature_projection.layer_norm."),
    (r"encoder\.pos_conv\.0\.weight_g", f"{_POSITIONS}parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v", f"{_POSITIONS}parametrizations.weight.original1"),
    (r"encoder\.pos_conv\.0\.", _POSITIONS),
    (r"(encoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.layer_norm."),
    (r"(encoder\.layers\.\d+)\.fc1\.", r"\1.feed_forward.intermediate_dense."),
    (r"(encoder\.layers\.\d+)\.fc2\.", r"\1.feed_forward.output_dense."),
)


class Imported(NamedTuple):
    """What a fairseq file holds, under our names."""

    config: HubertConfig
    tensors: dict[str, Tensor]  # float32, the state dict of our Hubert
    # final_proj.weight, final_proj.bias, label_embs_concat; None where there is not exactly one.
    head: dict[str, Tensor] | None

    def model(self) -> Hubert:
        """Build the backbone."""
        made = Hubert(self.config)
        made.load_state_dict(self.tensors)
        return made


def import_fairseq(path: Path, out: Path) -> None:
    """Write a fairseq HuBERT file as a checkpoint folder, with its head where it has one."""
    found = read_fairseq(path)
    facts = {"name": path.stem, "imported_from": path.name, "digest": digest_file(path)}
    if found.head is None:
        facts["pretraining_head"] = "left out: the file has none, or one for several label sets"
    save_checkpoint(out, found.model(), head=found.head, facts=facts)


def read_fairseq(path: Path) -> Imported:
    """Read a HuBERT checkpoint of fairseq, or one that s3prl has converted; execute nothing in it.

    Raises:
        ValueError: not such a file, a global that is no class of fairseq's, another kind of model,
            a variant that this project lacks, or weights that do not fit the settings.
    """
    state = load_inert(path)
    weights = state.get("model", state.get("model_weight"))
    if not isinstance(weights, dict):
        raise ValueError(  # noqa: TRY004 - user input
            f"{path} has no weights under `model`; it holds {sorted(map(str, state))[:8]}. Is it a "
            "checkpoint that fairseq wrote?"
        )
    settings = _settings(state, path)
    _require_hubert(settings, weights, path)
    config = _config(settings, path)
    floats = {name: value.float() for name, value in weights.items() if torch.is_tensor(value)}
    tensors = {our_name(name): value for name, value in floats.items()}
    head = {name: tensors.pop(name) for name in HEAD_NAMES if name in tensors}
    _require_fit(config, tensors, path)
    whole = len(head) == len(HEAD_NAMES) and settings["label_sets"] == 1
    return Imported(config, tensors, head if whole else None)


def _settings(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the model's settings, the task's `normalize` and the number of its label sets."""
    cfg = plain(state.get("cfg"))
    if isinstance(cfg, dict) and isinstance(cfg.get("model"), dict):
        model, task = cfg["model"], cfg.get("task")
    elif "model_cfg" in state:  # as s3prl converts them
        model, task = plain(state["model_cfg"]), plain(state.get("task_cfg"))
    else:
        model = task = plain(state.get("args"))
    if not isinstance(model, dict) or not isinstance(task, dict):
        raise ValueError(  # noqa: TRY004 - user input
            f"{path} has no settings under `cfg` (with `model` and `task`) or `args`: the model's "
            "shape is unknown."
        )
    if not isinstance(task.get("normalize"), bool):
        raise ValueError(  # noqa: TRY004 - user input
            f"{path}: task.normalize is {task.get('normalize')!r}, not true or false; without it "
            "the features would be silently wrong."
        )
    labels = task.get("labels")
    sets = len(labels) if isinstance(labels, list) else 1
    return {**model, "normalize": task["normalize"], "label_sets": sets}


def _require_hubert(settings: Mapping[str, Any], weights: Mapping[str, Any], path: Path) -> None:
    kind = settings.get("arch") or settings.get("_name") or "hubert"
    foreign = [name for name in weights if name.startswith(("quantizer.", "project_q.", "w2v_"))]
    if kind != "hubert" or foreign:
        raise ValueError(
            f"{path} is no pretrained HuBERT: its kind is {kind!r}, and it has weights such as "
            f"{foreign[:2]}. Of a fine-tuned model, import the pretrained one. wav2vec 2.0 opens "
            "here as a folder that transformers' script of the name "
            "convert_wav2vec2_original_pytorch_checkpoint_to_pytorch has written."
        )
    for name, value in ONLY.items():
        if settings.get(name, value) != value:
            raise ValueError(
                f"{path}: {name} = {settings[name]!r}; only {value!r} can be imported."
            )
    if missing := [name for name in REQUIRED if name not in settings]:
        raise ValueError(f"{path}: the settings lack {', '.join(missing)}.")


def _config(settings: Mapping[str, Any], path: Path) -> HubertConfig:
    known = {**DEFAULTS, **settings}
    fields = {name: known[name] for name in (*REQUIRED, *DEFAULTS, "normalize")}
    layers = _conv_layers(fields.pop("conv_feature_layers"), path)
    fields |= {name: float(settings.get(name, 0.0)) for name in DROPOUTS}
    for index, name in enumerate(("conv_dim", "conv_kernel", "conv_stride")):
        fields[name] = [layer[index] for layer in layers]
    return build(HubertConfig, fields, source=str(path))


def _conv_layers(text: Any, path: Path) -> list[tuple[int, int, int]]:
    """Read "[(512,10,5)] + [(512,3,2)] * 4": fairseq evaluates it as Python, this does not."""
    try:
        terms = _conv_term(ast.parse(text, mode="eval").body)
        return [(int(dim), int(kernel), int(stride)) for dim, kernel, stride in terms]
    except (TypeError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"{path}: conv_feature_layers = {text!r} is no list of (dim, kernel, stride)."
        ) from error


def _conv_term(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _conv_term(node.left) + _conv_term(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        times = int(ast.literal_eval(node.right))
        return _conv_term(node.left) * min(times, MAX_CONV_LAYERS)
    return ast.literal_eval(node)


def our_name(name: str) -> str:
    """Translate a weight's name from fairseq's to ours (and transformers')."""
    for pattern, ours in RENAMES:
        if found := re.match(pattern, name):
            return found.expand(ours) + name[found.end() :]
    return name


def _require_fit(config: HubertConfig, tensors: Mapping[str, Tensor], path: Path) -> None:
    with torch.device("meta"):
        expected = {name: value.shape for name, value in Hubert(config).state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    if expected != found:
        missing, surplus = sorted(expected.keys() - found), sorted(found.keys() - expected)
        wrong = sorted(name for name in expected.keys() & found if expected[name] != found[name])
        raise ValueError(
            f"{path}: the weights do not fit the settings; missing {missing[:5]}, surplus "
            f"{surplus[:5]}, of another shape {wrong[:5]}."
        )


# What fairseq's files name beside tensors: classes of settings, dictionaries and meters, types.
INERT_NAMES = re.compile(
    r"(fairseq|omegaconf)(\.[a-z_0-9]+)*\.[A-Z]\w*|argparse\.Namespace|typing\.[A-Z]\w*|"
    r"pathlib\.[A-Z]\w*|builtins\.(dict|list|tuple|int|float|str|bool|type|object)|"
    r"collections\.defaultdict|copyreg\._reconstructor|"
    r"numpy\.(dtype|ndarray)|numpy\._?core\.multiarray\.(scalar|_reconstruct)"
)
LEGACY_PICKLES = 5  # of torch.save before 1.6: magic number, protocol, system, object, keys


class Inert:
    """Stands for an object whose class is never imported: keeps its arguments and state."""

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Self:
        """Make an object that is whole: unpickling need not call `__init__`."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


def load_inert(path: Path) -> dict[str, Any]:
    """Read a file of torch.save: tensors and containers as they are, all else as `Inert`.

    A global other than fairseq's, omegaconf's and the like is a ValueError that names it.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    in_zip = zipfile.is_zipfile(path)
    try:
        named = _globals(path, in_zip=in_zip)
    except Exception as error:
        raise ValueError(f"{path} is not a complete file of torch.save: {error!r}") from error
    refused = sorted(name for name in named if not INERT_NAMES.fullmatch(name))
    if refused:
        raise ValueError(
            f"{path} names {', '.join(refused)}, which no checkpoint of fairseq needs. It was not "
            "read, since unpickling such a file can run any code. If you trust it, save its "
            "weights and settings again as only tensors and dictionaries."
        )
    # torch fills items into real dictionaries alone.
    stands = {"collections.defaultdict": _plain_dict}
    with torch.serialization.safe_globals([(stands.get(name, Inert), name) for name in named]):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=in_zip)
        except Exception as error:
            raise ValueError(f"{path} was not read: {error}") from error
    if type(state) is not dict:
        raise ValueError(f"{path} holds a {type(state).__name__}, not a dictionary.")
    return state


def plain(value: Any) -> Any:
    """Turn omegaconf's nodes, Namespaces and enumerations into dictionaries, lists and values."""
    if isinstance(value, Inert):
        inner = value.state if value.state is not None else value.arguments[:1]
        if isinstance(inner, tuple):
            return plain(inner[0]) if inner else None
        if isinstance(inner, dict):
            inner = next((inner[key] for key in ("_content", "_val") if key in inner), inner)
        return plain(inner)
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _globals(path: Path, *, in_zip: bool) -> set[str]:
    """List the globals that a file names beyond torch's own safe ones; builds nothing."""
    if in_zip:
        return {*map(str, torch.serialization.get_unsafe_globals_in_checkpoint(path))}
    named: set[str] = set()
    with path.open("rb") as stream:
        for _ in range(LEGACY_PICKLES):
            named |= get_globals_in_pkl(stream)
    return {name for name in named if name not in _get_allowed_globals()}


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


class FairseqFile(ModelType):
    """A `.pt` file: the settings stand in it, beside the weights."""

    @override
    def recognises(self, path: Path) -> bool:
        return path.is_file() and path.suffix not in (".safetensors", ".bin", ".json", ".onnx")

    @override
    def shape(self, path: Path) -> ModelShape:
        return hubert_shape(read_fairseq(path).config)

    @override
    def load(self, path: Path) -> FrozenModel:
        return Backbone(read_fairseq(path).model())

    @override
    def files(self, path: Path) -> list[Path]:
        return self.weights(path)


TYPE = FairseqFile()
