"""Frames that reach CTC, held against ESPnet's own frontend and encoder."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness_bench.asr.espnet.frames import ctc_frames, subsampling_of

pytestmark = pytest.mark.espnet

_SMALL: dict[str, Any] = {
    "output_size": 8, "attention_heads": 1, "linear_units": 8, "num_blocks": 1, "dropout_rate": 0.0
}  # fmt: skip
LAYERS = ["linear", *("conv1d1", "conv1d2", "conv1d3"), "conv2d"]
LAYERS += ["conv2d1", "conv2d2", "conv2d6", "conv2d8"]


@pytest.mark.parametrize("layer", LAYERS)
@torch.inference_mode()
def test_frames_are_those_of_espnets_encoder(layer: str) -> None:
    """One frame more or less would train on what CTC cannot align, or leave out what it can.

    Lengths stand alone and in a batch with a longer one, where ESPnet raises no error.
    """
    from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder  # noqa: PLC0415
    from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import (  # noqa: PLC0415
        TooShortUttError,
    )

    encoder = EBranchformerEncoder(80, input_layer=layer, **_SMALL, cgmlp_linear_units=8).eval()
    counted = subsampling_of(layer)
    lengths = torch.arange(1, 41)
    batch = encoder(torch.zeros(40, 40, 80), lengths)[1].tolist()
    for count, frames in zip(lengths.tolist(), batch, strict=True):
        if count >= counted.least:
            assert counted.frames(count) == frames > 0
            continue
        assert counted.frames(count) == 0
        with pytest.raises(TooShortUttError):
            encoder(torch.zeros(1, count, 80), torch.tensor([count]))


@pytest.mark.parametrize("hop", [128, 160])
def test_frames_of_fbank_are_those_of_espnets_frontend(tmp_path: Path, hop: int) -> None:
    """The window is centred: an utterance has a frame more than hops."""
    from espnet2.asr.frontend.default import DefaultFrontend  # noqa: PLC0415 - heavy

    (tmp_path / "asr.yaml").write_text(f"frontend_conf: {{hop_length: {hop}}}\n")
    counted = ctc_frames(tmp_path / "asr.yaml", [], None)
    assert counted is not None
    frontend = DefaultFrontend(n_fft=512, win_length=400, hop_length=hop)
    for samples in (400, 1599, 1600, 1601, 16_000):
        _, frames = frontend(torch.zeros(1, samples), torch.tensor([samples]))
        assert counted.of_frontend(samples) == int(frames[0])


def test_settings_are_read_as_espnet_reads_them(tmp_path: Path) -> None:
    """The command line wins over the config, its last word over the others."""
    (tmp_path / "asr.yaml").write_text(
        "frontend_conf: {hop_length: 200}\nencoder_conf: {input_layer: conv2d8, num_blocks: 2}\n"
        "model_conf: {ctc_weight: 0.0}\n"
    )
    counted = ctc_frames(tmp_path / "asr.yaml", [], None)
    assert counted is not None
    assert (counted.of_frontend(4000), counted.aligned) == (21, False)
    assert counted.subsampling == subsampling_of("conv2d8")
    words = ["--seed", "1", "--encoder_conf", "input_layer=conv2d", "--model_conf"]
    words += ["ctc_weight=0.3", "--encoder_conf", "input_layer=conv2d6"]
    counted = ctc_frames(tmp_path / "asr.yaml", words, None)
    assert counted is not None
    assert (counted.subsampling, counted.aligned) == (subsampling_of("conv2d6"), True)
    assert ctc_frames(tmp_path / "asr.yaml", ["--frontend", "s3prl"], None) is None


def test_equal_labels_need_a_blank_between(tmp_path: Path) -> None:
    """CTC's loss in torch is infinite for exactly the texts that are refused."""
    (tmp_path / "asr.yaml").write_text("encoder_conf: {input_layer: linear}\n")
    counted = ctc_frames(tmp_path / "asr.yaml", ["--frontend", "harness"], lambda samples: samples)
    assert counted is not None
    for labels in ([1, 2, 3], [1, 1, 3], [1, 1, 1], [2], []):
        for frames in range(1, 7):
            loss = torch.nn.functional.ctc_loss(
                torch.zeros(frames, 1, 4).log_softmax(2), torch.tensor([labels]).long(),
                torch.tensor([frames]), torch.tensor([len(labels)]),
            )  # fmt: skip
            assert bool(counted.fault(frames, labels)) == bool(loss.isinf())
