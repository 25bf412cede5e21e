"""The preview: what a user hears and sees is what training would do."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from harness_bench.cuts.store import read_cuts
from harness_bench.pretrain.augment.preview import always, preview, versions, with_everything
from harness_bench.pretrain.config import AugmentConfig
from tests.pretrain.augment.conftest import noise

EFFECTS = {"speed", "noise", "reverb", "time_masks", "channel_masks"}


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Return a file of one second, of another rate and two channels."""
    path = tmp_path / "two words.wav"
    sf.write(path, np.stack([noise(8_000, 1), noise(8_000, 2)], axis=1), 8_000)
    return path


def waves(folder: Path) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    found = {path.stem: sf.read(path) for path in folder.glob("*.wav")}
    assert {rate for _, rate in found.values()} == {16_000}
    return {name: wave for name, (wave, _) in found.items()}


def test_everything_is_written(speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pictures = preview(with_everything(AugmentConfig()), speech, out)
    assert pictures == [out / "two words.png"]
    assert pictures[0].read_bytes().startswith(b"\x89PNG")
    found = waves(out / "two words")
    assert {*found} == EFFECTS | {"clean", "all"}
    speed = len(found["clean"]) / len(found["speed"])
    assert speed == pytest.approx(0.9, rel=1e-3) or speed == pytest.approx(1.1, rel=1e-3)
    for name in EFFECTS - {"speed"}:
        assert len(found[name]) == len(found["clean"])
        assert not np.allclose(found[name], found["clean"], atol=1e-3), name
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["config"]["noise_prob"] == 1.0


def test_a_share_becomes_all(rng: np.random.Generator) -> None:
    """With a chance of 1 %, a preview of three utterances would nearly always show nothing."""
    config = always(AugmentConfig(noise_prob=0.01, speed=(1.0, 1.1, 1.0)))
    clean, sped, noisy, together = versions(config, noise(16_000), rng)
    assert sped.title == "speed × 1.1"
    assert not np.array_equal(noisy.wave, clean.wave)
    assert len(together.wave) == len(sped.wave)


def test_alone_and_together_draw_the_same(rng: np.random.Generator) -> None:
    config = always(AugmentConfig(noise_prob=1.0, time_masks=1))
    _, noisy, masked, together = versions(config, noise(16_000), rng)
    kept = masked.wave != 0
    assert not kept.all()
    np.testing.assert_array_equal(together.wave[kept], noisy.wave[kept])
    assert not together.wave[~kept].any()


def test_the_seed_decides(speech: Path, tmp_path: Path) -> None:
    """Files of an earlier preview, with other effects, do not stay as if they were of this."""
    config, out = AugmentConfig(noise_prob=0.01), tmp_path / "out"
    preview(with_everything(AugmentConfig()), speech, out)
    files = []
    for seed in (0, 0, 1):
        preview(config, speech, out, seed=seed)
        assert {*waves(out / "two words")} == {"clean", "noise"}
        files.append((out / "two words" / "noise.wav").read_bytes())
    assert files[0] == files[1] != files[2]


def test_loud_versions_are_not_clipped(tmp_path: Path) -> None:
    """All versions of an utterance are scaled alike, so that their levels can be compared."""
    sf.write(tmp_path / "loud.wav", np.clip(noise(8000, level=0.5), -1, 1), 16_000)
    preview(AugmentConfig(noise_prob=1.0, noise_snr=(0.0, 0.0)), tmp_path / "loud.wav", tmp_path)
    found = waves(tmp_path / "loud")
    assert (np.abs(found["noise"]) > 0.9999).sum() <= 1
    ratio = np.square(found["clean"]).sum() / np.square(found["noise"] - found["clean"]).sum()
    assert 10 * np.log10(ratio) == pytest.approx(0, abs=0.1)


def test_a_prepared_folder(tone_corpus: Path, tmp_path: Path) -> None:
    pictures = preview(AugmentConfig(time_masks=1), tone_corpus, tmp_path, count=2)
    names = [cut.id for cut in read_cuts(tone_corpus, "train")[:2]]
    assert [picture.stem for picture in pictures] == names
    first, second = (waves(tmp_path / name)["time_masks"] for name in names)
    assert np.flatnonzero(first == 0)[0] != np.flatnonzero(second == 0)[0]


def test_nothing_to_see_teaches(speech: Path, tmp_path: Path) -> None:
    for config in (AugmentConfig(), AugmentConfig(speed=(1.0,))):
        with pytest.raises(ValueError, match=r"Nothing is changed by this config.*--all"):
            preview(config, speech, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_set_stays_with_all() -> None:
    config = with_everything(AugmentConfig(time_masks=7, speed=(1.0,), noise_snr=(1.0, 2.0)))
    assert (config.time_masks, config.noise_snr) == (7, (1.0, 2.0))
    assert config.speed == (0.9, 1.1)
    assert always(config) == config


def test_no_audio_teaches(tmp_path: Path) -> None:
    path, config = tmp_path / "x.wav", AugmentConfig(time_masks=1)
    for content in (b"no audio", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.wav cannot be read as audio"):
            preview(config, path, tmp_path / "out")
    sf.write(path, noise(399), 16_000)
    with pytest.raises(ValueError, match="399 samples"):
        preview(config, path, tmp_path / "out")
