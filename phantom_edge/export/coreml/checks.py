"""What a saved package holds, counted in the file itself, and what it should hold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from pathlib import Path

from phantom_edge.checkpoint.tailored import POSITIONS
from phantom_edge.errors import CheckError
from phantom_edge.export.coreml.readback import mil_name
from phantom_edge.mil import MilModel
from phantom_edge.mil.constants import Constant, ConstExpr
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.grid import QuantizedTensor

ATTENTION, QUANTIZED = "scaled_dot_product_attention", "constexpr_blockwise_shift_scale"
PHANTOM_SOFTMAXES = 3  # query, key, value: no other softmax stands outside an attention op
RMS_NORMS = 2  # per decoder layer
LAYER_NORMS = 2  # per vision layer
LARGE = 64  # elements; smaller constants are written into the program, and some differ between functions


def count_ops(path: Path) -> dict[str, int]:
    """Operations by type in a saved package; quantised weights also by their stored type, as ``int4 weight``.

    Raises :class:`CheckError` unless all its functions are the same operations over the same stored weights.
    """
    model = MilModel.load(path)
    values = {name: list(model.constants(name)) for name in model.functions}
    first = model.functions[0]
    for name, stored in values.items():
        if model.op_counts(name) != model.op_counts(first) or _large(stored) != _large(values[first]):
            raise CheckError(f"{path.name}: function {name} is not {first} at another length or size")
    kinds = Counter(v.params["data"].dtype.name for v in values[first] if isinstance(v, ConstExpr))
    return model.op_counts() | {f"{name} weight": count for name, count in kinds.items()}


def _large(values: list[Constant | ConstExpr]) -> set[Hashable]:
    """Which bytes of the weight file the constants are that a function would be heavy with.

    Position embeddings aside, which are of one size of tiles.
    """
    large = (value for value in values if math.prod(value.shape) > LARGE)
    return {value.key for value in large if not value.name.startswith(mil_name(POSITIONS))}


def expected_counts(
    graph: str, spec: FoldedSpec, weights: list[QuantizedTensor], float_type: str
) -> dict[str, int]:
    """One fused attention op per layer, ``weights`` as integers, one write per cache, no stray cast."""
    bits = Counter(f"int{weight.bits} weight" for weight in weights)
    expected = {name: bits[name] for name in ("int4 weight", "int8 weight")}
    expected |= {QUANTIZED: len(weights), ATTENTION: 0, "softmax": 0, "cast": 0, "write_state": 0}
    d, v = spec.config.decoder, spec.config.vision
    if graph == "vision_encoder":
        expected |= {ATTENTION: v.layers, "layer_norm": LAYER_NORMS * v.layers + 1, "conv": 1}
    if graph == "text_decoder":
        tables = 0 if float_type == "fp32" else 2
        expected |= {
            ATTENTION: d.layers,
            "layer_norm": RMS_NORMS * d.layers + 1,
            "softmax": PHANTOM_SOFTMAXES * sum(size > 0 for size in spec.phantom_dims),
            "write_state": 2 * d.layers,
            "slice_update": 2 * d.layers,
            # The mask, the rotary tables, and with fp32 every update of the fp16 cache and its reading.
            "cast": 1 + tables + (4 * d.layers if float_type == "fp32" else 0),
        }
    return expected
