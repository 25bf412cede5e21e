"""The bounded memory behind features and waveforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.cache import BoundedStore

if TYPE_CHECKING:
    import pytest


@given(st.integers(0, 200), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60))))
def test_never_exceeds_its_bytes_and_never_forgets(limit: int, puts: list[tuple[int, int]]) -> None:
    """A probe of a large corpus must not run out of memory, whatever comes in which order."""
    store: BoundedStore[int, np.ndarray] = BoundedStore(limit)
    kept: dict[int, np.ndarray] = {}
    for key, size in puts:
        value = np.zeros(size, np.uint8)
        if key not in kept and sum(item.nbytes for item in kept.values()) + size <= limit:
            kept[key] = value
        store.put(key, value)
    assert store.used_bytes <= limit
    assert len(store) == len(kept)
    assert all(store.get(key) is value for key, value in kept.items())


def test_a_full_memory_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Training grows slow without it; a line per utterance would help nobody."""
    store: BoundedStore[int, np.ndarray] = BoundedStore(1, when_full="full now")
    for key in range(5):
        store.put(key, np.zeros(1, np.uint8))
    assert capsys.readouterr().err.count("full now") == 1


def test_clear_frees_the_budget() -> None:
    """After new weights are loaded the memory must be usable again."""
    store: BoundedStore[str, np.ndarray] = BoundedStore(8)
    store.put("a", np.zeros(8, np.uint8))
    store.clear()
    store.put("b", np.zeros(8, np.uint8))
    assert store.get("a") is None
    assert store.get("b") is not None
