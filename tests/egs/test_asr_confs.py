"""The ASR recipes' configs, read by ESPnet itself: what they say is what is built."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness_bench.asr.features import read_config
from tests.egs.official import ROOT

QASR, DEMO = (ROOT / "egs" / name / "asr1" / "conf" for name in ("qasr", "demo"))
FBANK = ("--frontend_conf", "fs=16k", "--encoder_conf", "input_layer=conv2d")
pytestmark = pytest.mark.espnet


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.txt"
    path.write_text("<blank>\n<unk>\nا\nب\n<space>\n<sos/eos>\n", encoding="utf-8")
    return path


def trained(config: Path, tokens: Path, out: Path, *more: str) -> tuple[argparse.Namespace, Any]:
    """Return what asr_train makes of a config: its settings and the model."""
    from espnet2.tasks.asr import ASRTask  # noqa: PLC0415 - ten seconds

    words = ["--config", str(config), "--token_list", str(tokens), "--output_dir", str(out)]
    args = ASRTask.get_parser().parse_args([*words, "--token_type", "char", *more])
    return args, ASRTask.build_model(args)


@pytest.mark.parametrize("name", ["train_asr", "train_asr_1gpu"])
def test_the_papers_head_is_what_espnet_builds(tokens: Path, tmp_path: Path, name: str) -> None:
    """Typed in from the paper: 2 and 2 blocks, 8 heads, 2048 units, 70 epochs, joint CTC."""
    args, model = trained(QASR / f"{name}.yaml", tokens, tmp_path, *FBANK)
    encoders, decoders = model.encoder.encoders, model.decoder.decoders
    assert [type(model.encoder).__name__, len(encoders)] == ["ConformerEncoder", 2]
    assert [type(model.decoder).__name__, len(decoders)] == ["TransformerDecoder", 2]
    for attention in (encoders[0].self_attn, decoders[0].self_attn, decoders[0].src_attn):
        assert attention.h == 8
    for block in (encoders[0], decoders[0]):
        assert block.feed_forward.w_1.out_features == 2048
    assert args.max_epoch == 70
    assert 0 < model.ctc_weight < 1


def test_one_gpu_sees_as_much_speech_to_an_update() -> None:
    """Otherwise its figures would be those of another training."""
    many, one = (
        yaml.safe_load((QASR / f"{n}.yaml").read_text()) for n in ("train_asr", "train_asr_1gpu")
    )
    assert one.pop("batch_bins") * one.pop("accum_grad") == many.pop("batch_bins")
    assert one.pop("use_amp") is True
    assert one == many


def test_small_configs_have_the_papers_structure(tokens: Path, tmp_path: Path) -> None:
    """A smoke test of another structure would prove nothing of the real one."""
    configs = (QASR / "train_asr.yaml", QASR / "train_asr_cpu_smoke.yaml", DEMO / "demo.yaml")
    models = [trained(config, tokens, tmp_path, *FBANK)[1] for config in configs]
    large, *small = [[name for name, _ in model.named_modules()] for model in models]
    assert small == [large, large]


@pytest.mark.parametrize(
    "config", [QASR / "decode.yaml", DEMO / "decode_demo.yaml"], ids=lambda path: path.stem
)
def test_decoding_joins_ctc_and_attention(config: Path) -> None:
    """ESPnet ignores no key of a config: a misspelt one would end the run after the training."""
    from espnet2.bin.asr_inference import get_parser  # noqa: PLC0415 - ten seconds

    args = get_parser().parse_args(
        ["--config", str(config), "--output_dir", "x", "--data_path_and_name_and_type", "a,b,c"]
    )
    assert 0 < args.ctc_weight < 1
    assert args.beam_size > 1


def test_the_language_model_is_built(tokens: Path, tmp_path: Path) -> None:
    """It is off by default, so that nobody would notice a config that no ESPnet reads."""
    from espnet2.tasks.lm import LMTask  # noqa: PLC0415 - ten seconds

    words = ["--config", str(QASR / "train_lm.yaml"), "--token_list", str(tokens)]
    args = LMTask.get_parser().parse_args([*words, "--output_dir", str(tmp_path)])
    model = LMTask.build_model(args)
    assert type(model.lm).__name__ == "TransformerLM"


def test_no_config_goes_unread() -> None:
    """A config that this file does not know is one that nothing holds right."""
    assert read_config(QASR / "features.yaml").shard_mb > 0
    known = {"train_asr", "train_asr_1gpu", "train_asr_cpu_smoke", "decode", "train_lm", "features"}
    assert {path.stem for path in QASR.iterdir()} == known
    assert {path.stem for path in DEMO.iterdir()} == {"demo", "decode_demo", "train_asr", "decode"}
