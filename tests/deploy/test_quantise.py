"""Int8: what is rounded, by how much, and what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")
from harness_bench.deploy.quantise import quantise  # noqa: E402
from harness_bench.models.runtime import open_session  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept, self.product, self.conv = (
            nn.Linear(64, 96),
            nn.Linear(96, 64),
            nn.Conv1d(64, 64, 5),
        )

    @override
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(self.product(self.kept(x).relu()).transpose(1, 2))
        return out


@pytest.fixture
def graphs(tmp_path: Path) -> tuple[Path, Path]:
    torch.manual_seed(0)
    whole, small = tmp_path / "whole.onnx", tmp_path / "small.onnx"
    torch.onnx.export(
        _Net().eval(), (torch.randn(1, 30, 64),), whole, dynamo=False, opset_version=20,
        input_names=["x"], dynamic_axes={"x": {1: "frames"}},
    )  # fmt: skip
    quantise(whole, small, precise=("/kept",))
    return whole, small


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_products_are_of_integers_and_large_weights_of_one_byte(graphs: tuple[Path, Path]) -> None:
    """The named product stays as it is; weights have 7 bits, or CPUs without VNNI overflow."""
    whole, small = (onnx.load(path) for path in graphs)
    kinds = [node.op_type for node in small.graph.node]
    assert kinds.count("MatMulInteger") == 1
    assert kinds.count("DequantizeLinear") == 1
    assert kinds.count("MatMul") == 1
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in small.graph.initializer}
    (product,) = (w for name, w in weights.items() if name.endswith("_quantized") and w.ndim == 2)
    assert np.abs(product.astype(int)).max() <= 64
    floats = sum(w.size for w in weights.values() if w.dtype == np.float32)
    assert floats < 64 * 96 + 1_000  # the kept product, biases and scales
    assert graphs[1].stat().st_size < graphs[0].stat().st_size / 2
    assert len(whole.graph.initializer) > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_outputs_move_by_what_rounding_moves(graphs: tuple[Path, Path]) -> None:
    """Some 1 % of the norm, of any number of frames; not more, and not nothing."""
    x = np.random.default_rng(0).standard_normal((1, 77, 64)).astype(np.float32)
    one, other = (open_session(path, 1).run(None, {"x": x})[0] for path in graphs)
    share = np.linalg.norm(one - other) / np.linalg.norm(one)
    assert 1e-4 < share < 0.03
