"""Memory before disk, and what a failing disk costs: time, never the run."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from harness_bench.models.features.config import FeatureCacheConfig
from harness_bench.models.features.store import FeatureStore

if TYPE_CHECKING:
    from torch import Tensor

KEY = bytes(range(16))


def features(seed: int = 0, frames: int = 7) -> Tensor:
    return torch.randn(3, frames, 8, generator=torch.Generator().manual_seed(seed))


def store(folder: Path | None, model: str | None = "a model", **changes: Any) -> FeatureStore:
    """Make a store as a new process would."""
    return FeatureStore(
        FeatureCacheConfig(folder=folder, **changes),
        lambda: None if model is None else {"checkpoint": model},
    )


def kept(folder: Path, key: bytes = KEY, **changes: Any) -> Tensor:
    """Return what a new process finds."""
    found = store(folder, **changes).get(key)
    assert found is not None
    return found


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*.safetensors"))


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("memory_mb", [0, 1])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_first_later_and_other_runs_see_the_same_bits(
    tmp_path: Path, dtype: str, memory_mb: int, kind: torch.dtype
) -> None:
    """Else the first epoch would differ from the second, and a warm run from a cold one.

    Under bf16 autocast an upstream gives bfloat16; float32 would take another path after it.
    """
    value = features().to(kind)
    first = store(tmp_path, dtype=dtype, memory_mb=memory_mb)
    assert first.get(KEY) is None
    put, other = first.put(KEY, value), kept(tmp_path, dtype=dtype)
    again = first.get(KEY)
    assert again is not None
    assert put.dtype == again.dtype == other.dtype == kind
    assert torch.equal(put, again)
    assert torch.equal(put, other)
    assert torch.equal(put, value) == (dtype == "fp32" or kind == torch.bfloat16)
    torch.testing.assert_close(put, value, rtol=2**-11, atol=1e-7)


def test_fp16_halves_both_sizes(tmp_path: Path) -> None:
    sizes, memory = {}, {}
    for dtype in ("fp32", "fp16"):
        made = store(tmp_path / dtype, dtype=dtype)
        made.put(KEY, features(frames=1000))
        sizes[dtype] = entries(tmp_path / dtype)[0].stat().st_size
        memory[dtype] = made.memory.used_bytes
    assert memory["fp32"] == 2 * memory["fp16"] == 96_000
    assert sizes["fp32"] - sizes["fp16"] == pytest.approx(48_000, abs=100)


def test_what_fp16_cannot_hold_stays_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some large models have hidden states beyond 65504; infinities would end a training."""
    value = features()
    value[0, 0, 0] = 1e5
    for key in (KEY, KEY[::-1]):
        store(tmp_path, dtype="fp16").put(key, value)
        assert torch.equal(kept(tmp_path, key, dtype="fp16"), value)
    made = store(None, dtype="fp16")
    capsys.readouterr()
    for key in (KEY, KEY[::-1]):
        made.put(key, value)
    assert capsys.readouterr().err.count("65504") == 1


@pytest.mark.parametrize("other", [{"model": "another"}, {"dtype": "fp16"}, {"states": "mean"}])
def test_what_made_features_is_part_of_their_key(tmp_path: Path, other: dict[str, Any]) -> None:
    """One folder serves all models and forms; a mix-up would be silently wrong."""
    store(tmp_path).put(KEY, features(0))
    assert store(tmp_path, **other).get(KEY) is None
    store(tmp_path, **other).put(KEY, features(1))
    assert torch.equal(kept(tmp_path), features(0))


def test_precision_of_products_is_part_of_the_key(tmp_path: Path) -> None:
    """On a GPU TensorFloat-32 changes features in the third digit."""
    store(tmp_path).put(KEY, features())
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert store(tmp_path).get(KEY) is None
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_model_without_identity_stays_inmemory(tmp_path: Path) -> None:
    """Weights loaded by hand have no name under which another run could mean the same."""
    made = store(tmp_path, None)
    made.put(KEY, features())
    assert made.get(KEY) is not None
    assert not entries(tmp_path)


def test_identity_is_asked_for_once_and_only_for_the_disk(tmp_path: Path) -> None:
    """It reads gigabytes for a large checkpoint."""
    asked: list[int] = []

    def facts() -> dict[str, str]:
        asked.append(1)
        return {"checkpoint": "a model"}

    for folder, times in ((None, 0), (tmp_path, 1)):
        made = FeatureStore(FeatureCacheConfig(folder=folder), facts)
        for key in (KEY, KEY[::-1]):
            made.get(key)
            made.put(key, features())
        assert len(asked) == times


def test_a_broken_entry_is_told_once_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that flips bits must not change results, nor a broken entry stay broken."""
    keys = [bytes([number]) * 16 for number in range(4)]
    for number, key in enumerate(keys):
        store(tmp_path).put(key, features(number))
    for path in entries(tmp_path):
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
    capsys.readouterr()
    made = store(tmp_path)
    for number, key in enumerate(keys):
        assert made.get(key) is None
        made.put(key, features(number))
    assert capsys.readouterr().err.count("is broken (the checksum differs)") == 1
    for number, key in enumerate(keys):
        assert torch.equal(kept(tmp_path, key), features(number))


@pytest.mark.parametrize("fails", ["write_bytes", "mkdir"])
def test_a_full_disk_costs_the_cache_alone(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told once, not tried again, memory and what was there before still used."""
    store(tmp_path).put(KEY, features(0))
    tries: list[int] = []

    def full(*_: Any, **__: Any) -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, fails, full)
    made = store(tmp_path)
    for number in range(1, 4):
        assert torch.equal(made.put(bytes([number]) * 16, features(number)), features(number))
        again = made.get(bytes([number]) * 16)
        assert again is not None
        assert torch.equal(again, features(number))
    assert made.get(KEY) is not None
    assert capsys.readouterr().err.count("cannot write ([Errno 28] No space left") == 1
    assert len(tries) == 1


def test_a_full_cache_is_told_once_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = store(tmp_path, disk_mb=1)
    for number in range(6):
        made.put(bytes([number]) * 16, features(number, frames=4000))  # 384 kB each
    assert len(entries(tmp_path)) == 2
    assert capsys.readouterr().err.count("HARNESS_FEATURE_CACHE_DISK_MB") == 1


def test_a_row_of_a_batch_does_not_keep_the_batch() -> None:
    """Its bytes would be used and not counted."""
    batch = torch.randn(64, 3, 7, 8)
    made = store(None)
    made.put(KEY, batch[0])
    value = made.memory.get(KEY)
    assert value is not None
    assert value.untyped_storage().nbytes() == value.nbytes
