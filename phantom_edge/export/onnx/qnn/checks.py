"""What an NPU's graph must hold."""

from __future__ import annotations

from collections import Counter

from phantom_edge.export.onnx.checks import PHANTOM_SOFTMAXES
from phantom_edge.export.onnx.qnn.graphs import VISION
from phantom_edge.model.spec import FoldedSpec

INTEGERS = ("MatMulNBits", "MatMul int8")


def expected_counts(graph: str, spec: FoldedSpec, kinds: dict[str, str]) -> dict[str, int]:
    """A softmax for every attention and phantom, a norm for each that the model has, ``kinds`` by module."""
    d, v = spec.config.decoder, spec.config.vision
    by_kind = Counter(kinds.values())
    expected = {op: by_kind[op] for op in INTEGERS}
    if graph == VISION:
        return expected | {"Softmax": v.layers, "LayerNormalization": 2 * v.layers + 1}
    phantoms = sum(size > 0 for size in spec.phantom_dims)
    return expected | {
        "Softmax": d.layers + PHANTOM_SOFTMAXES * phantoms,
        "SimplifiedLayerNormalization": 2 * d.layers + 1,
    }
