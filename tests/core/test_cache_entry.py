"""One entry as bytes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from harness_bench.core.cache_entry import CorruptEntryError, pack, unpack

KEY = bytes(range(16))
FEATURES = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
WHOLE = pack(KEY, FEATURES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_round_trip_keeps_every_bit(dtype: torch.dtype) -> None:
    """Infinities, NaN and negative zero included, and the numbers of fingerprints."""
    odd = torch.tensor([[[float("nan"), float("inf"), -0.0, 1e-7]]], dtype=dtype)
    for features in (odd, FEATURES.to(dtype), FEATURES.to(dtype).transpose(1, 2)):
        back = unpack(KEY, pack(KEY, features))
        assert back.dtype == dtype
        assert back.shape == features.shape
        kind = torch.int32 if dtype == torch.float32 else torch.int16
        assert torch.equal(back.view(kind), features.contiguous().view(kind))
    numbers = torch.tensor([0, -1, 2**31 - 1, -(2**31)], dtype=torch.int32)
    assert torch.equal(unpack(KEY, pack(KEY, numbers)), numbers)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_truncated_entry_is_seen(length: int) -> None:
    with pytest.raises(CorruptEntryError):
        unpack(KEY, WHOLE[:length])


@given(st.integers(0, 8 * len(WHOLE) - 1))
def test_a_changed_bit_is_seen_or_harmless(bit: int) -> None:
    """Wherever it is: in the values, the header or the checksum itself."""
    changed = bytearray(WHOLE)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        back = unpack(KEY, bytes(changed))
    except CorruptEntryError:
        return
    assert torch.equal(back, FEATURES)  # a blank of the header's padding, at most


@pytest.mark.parametrize(
    ("key", "data"),
    [(KEY, b""), (KEY, b"no file"), (KEY, save({"x": FEATURES})), (KEY[::-1], WHOLE)],
)
def test_foreign_bytes_and_other_keys_are_refused(key: bytes, data: bytes) -> None:
    """A file copied or renamed by hand would give one utterance the features of another."""
    with pytest.raises(CorruptEntryError):
        unpack(key, data)
