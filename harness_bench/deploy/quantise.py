"""Graphs in int8: products on integers, and the other large weights kept in 8 bits.

Linear layers and convolutions written as products become MatMulInteger: weights are rounded per
output channel once, activations per utterance as it comes (so a padded batch would change the
features, and such graphs take one utterance). Weights have 7 bits: without VNNI, on CPUs with AVX2
or AVX-512 alone, sums of pairs of 8-bit products saturate, and features would depend on the CPU.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.core.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LARGE = 1 << 14  # numbers of a weight that is worth a node of its own


def quantise(source: Path, target: Path, *, precise: Collection[str] = ()) -> None:
    """Write a float32 graph in int8.

    Args:
        source: ONNX file.
        target: ONNX file, written atomically.
        precise: beginnings of the names of products that stay float32, such as a spectrum's.
    """
    import onnx  # noqa: PLC0415 - an extra
    from onnxruntime import quantization  # noqa: PLC0415

    nodes = onnx.load(source, load_external_data=False).graph.node
    kept = [node.name for node in nodes if any(map(node.name.startswith, precise))]
    assert all(any(name.startswith(each) for name in kept) for each in precise), precise
    with TemporaryDirectory() as folder, _without_advice():
        products = Path(folder) / target.name
        quantization.quantize_dynamic(
            source, products, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True,
            weight_type=quantization.QuantType.QInt8, nodes_to_exclude=kept,
        )  # fmt: skip
        model = onnx.load(products)
    _store_in_int8(model)
    with atomic_path(target) as partial:
        onnx.save(model, partial)


def _store_in_int8(model: Any) -> None:
    """Keep convolutions' weights in int8; they are computed with in float32."""
    from onnx import helper, numpy_helper  # noqa: PLC0415

    graph = model.graph
    weights = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    for tensor in [each for each in graph.initializer if each.name in weights]:
        values = numpy_helper.to_array(tensor)
        if values.size < _LARGE or values.dtype != np.float32:
            continue
        scales = np.abs(values).max(axis=tuple(range(1, values.ndim))) / 127
        scales = np.where(scales > 0, scales, 1).astype(np.float32)
        rounded = np.rint(values / scales.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        name = tensor.name
        parts = {f"{name}_int8": rounded, f"{name}_scale": scales,
                 f"{name}_zero": np.zeros(len(scales), np.int8)}  # fmt: skip
        graph.initializer.extend(numpy_helper.from_array(each, key) for key, each in parts.items())
        graph.initializer.remove(tensor)
        # First, since nodes stand in the order of their use.
        graph.node.insert(0, helper.make_node("DequantizeLinear", [*parts], [name], axis=0))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence onnxruntime's advice to prepare graphs, which is for convolutions of images."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
