"""check-model: each fault is found by its own check, and the types here have none."""

import json
from pathlib import Path
from typing import override

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from harness_bench.cli.app import app
from harness_bench.core.files import read_json, write_json
from harness_bench.models import check
from harness_bench.models.frozen import FrozenModel, ModelShape
from tests.models.tiny_types import MAKERS

SHAPE = ModelShape(hidden_size=2, num_layers=1, downsample_rate=160, receptive_field=400)


class Loudness(FrozenModel):
    """A sound model: two numbers a frame, a hidden state and its double."""

    def __init__(self) -> None:
        super().__init__(SHAPE)

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        windows = waveforms.unfold(1, 400, 160)
        state = torch.stack([windows.mean(2), windows.square().mean(2).sqrt()], dim=2)
        return [state, 2 * state], (lengths - 400) // 160 + 1


class Padded(Loudness):
    """Normalises over the padding too, as fairseq's first models do."""

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        size = waveforms.square().mean(1, keepdim=True).sqrt()
        return super().forward(waveforms / size.clamp_min(1e-9), lengths)


class Together(Loudness):
    """Normalises over the batch, whose NaN reaches all of it."""

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        return super().forward(waveforms + 1e-9 * waveforms.mean(), lengths)


class Silent(Loudness):
    """Divides by the utterance's own size, which may be zero."""

    @override
    def encode(self, wavs: list[Tensor]) -> list[Tensor]:  # type: ignore[override]
        return super().encode([wav / wav.abs().max() for wav in wavs])


class Dropping(Loudness):
    """Keeps its dropout on."""

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        states, frames = super().forward(waveforms, lengths)
        return [state + torch.rand(1) for state in states], frames


class Remembering(Loudness):
    """Running statistics of what it heard move its features."""

    heard = 0.0

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        if waveforms.shape[1] != len(check.made_up_audio()):
            self.heard += 1e-6
        states, frames = super().forward(waveforms, lengths)
        return [state + self.heard for state in states], frames


class Hiding(Loudness):
    """Makes numbers of what is none."""

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        return super().forward(waveforms.nan_to_num(), lengths)


class Late(Loudness):
    """Gives a frame less than it says."""

    @override
    def encode(self, wavs: list[Tensor]) -> list[Tensor]:  # type: ignore[override]
        return [
            states[:, :-1] if states.shape[1] > 1 else states for states in super().encode(wavs)
        ]


class Wide(Loudness):
    """Has one state more than it says."""

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        states, frames = super().forward(waveforms, lengths)
        return [states[0], *states], frames


class Huge(Loudness):
    """Has numbers that float16 does not."""

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        states, frames = super().forward(waveforms, lengths)
        return [1e7 * state for state in states], frames


class Filling(Loudness):
    """Fills up what is too short for it."""

    @override
    def encode(self, wavs: list[Tensor]) -> list[Tensor]:  # type: ignore[override]
        return super().encode(
            [torch.nn.functional.pad(wav, (0, max(0, 400 - len(wav)))) for wav in wavs]
        )


FAULTS: dict[type[Loudness], set[str]] = {
    Loudness: set(),
    Padded: {"alone_and_in_a_batch", "broken_neighbour"},
    Together: {"broken_neighbour"},
    Silent: {"silence"},
    Dropping: {"alone_and_in_a_batch", "repeated", "broken_neighbour"},
    Remembering: {"alone_and_in_a_batch", "repeated"},
    Hiding: {"broken_neighbour"},
    Late: {"frames"},
    Wide: {"layers"},
    Huge: {"half_precision"},
    Filling: {"too_short"},
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_fails_its_own_check(kind: type[Loudness]) -> None:
    """A check that fails for anything else would be switched off in CI."""
    subject = check.Tested(kind().eval(), check.made_up_audio())
    failed = {each.__name__ for each in check.CHECKS if each(subject).verdict == "fail"}
    assert failed == FAULTS[kind]


class Broken(Loudness):
    """Gives NaN to what is padded."""

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        return super().forward(waveforms / (len(waveforms) == 1), lengths)


def test_what_is_not_finite_is_valid_json() -> None:
    """Python would write Infinity, which no other program reads."""
    subject = check.Tested(Broken().eval(), check.made_up_audio())
    found = check.alone_and_in_a_batch(subject)
    assert (found.verdict, found.value) == ("fail", float("inf"))
    told = json.loads(json.dumps(check.report("x", [found]), allow_nan=False))
    assert (told["passed"], told["checks"][0]["value"]) == (False, None)


@pytest.mark.parametrize("name", MAKERS)
def test_every_type_passes(name: str, tmp_path: Path) -> None:
    """A new type is checked as users check a model; FBANK hears how loud it is."""
    found = {each.name: each for each in check.check_model(MAKERS[name](tmp_path))}
    assert check.passed([*found.values()]), check.render([*found.values()])
    loud = found[f"level, {check.GAIN:g} of it"].value
    assert loud is not None
    if name in ("fbank", "hubert"):
        assert (loud < check.SAME) == (name == "fbank")
    assert (found["parameters"].value == 0) == (name == "fbank")


def test_a_users_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """It may be of another rate; too little of it is told before the table."""
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(44_100), 44_100)
    found = check.check_model(tiny_checkpoint, tmp_path / "a.wav")
    assert check.passed(found)
    sf.write(tmp_path / "short.wav", np.zeros(500), 16_000)
    with pytest.raises(ValueError, match=r"short\.wav: 500 samples"):
        check.check_model(tiny_checkpoint, tmp_path / "short.wav")


@pytest.mark.parametrize("broken", [None, "weights", "settings", "nothing"])
def test_the_exit_status_is_for_ci(
    tiny_checkpoint: Path, tmp_path: Path, broken: str | None
) -> None:
    """1 where a check fails, with the same table as valid JSON: NaN weights, another type."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_checkpoint.iterdir() if broken != "nothing" else ():
        (folder / path.name).write_bytes(path.read_bytes())
    if broken == "weights":
        tensors = load_file(folder / "model.safetensors")
        tensors["encoder.layers.0.final_layer_norm.weight"][0] = torch.nan
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if broken == "settings":
        config = read_json(folder / "config.json")
        write_json(folder / "config.json", config | {"model_type": "no_such_type"})
    done = CliRunner().invoke(app, ["check-model", str(folder), "--no-costs", "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["passed"]) == ((0, True) if broken is None else (1, False))
    failed = [each for each in told["checks"] if each["verdict"] == "fail"]
    assert bool(failed) == (broken is not None)
    if broken == "settings":
        assert [each["name"] for each in failed] == ["opens"]
        assert "no_such_type" in failed[0]["figure"]
