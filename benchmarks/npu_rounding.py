"""What decided how an NPU's graphs round: the width of ranges, and single operations in Qualcomm's emulator.

    python -m benchmarks.npu_rounding

Ranges are measured over drawn scenes of the train split; the pictures of the table are of another. Everything
is deterministic, so that the figures do not depend on the machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.export.qnn_chips import CHIPS, DEFAULT
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import image_tokens
from phantom_edge.model.rounded_ops import Rounding
from phantom_edge.numbers.ranges import Range
from phantom_edge.quantize.calibration import SAMPLES, drawn_set
from phantom_edge.quantize.ranges import HEADROOM, extents
from phantom_edge.runtime.npu_process import NpuProcess
from phantom_edge.system.partials import temporary_folder

PICTURES = 32
ROWS, WIDTH = 64, 128
Nodes = list[onnx.NodeProto]
Constants = list[onnx.TensorProto]


def off(values: Any, expected: Any) -> float:
    """Root mean square of the difference over that of ``expected``."""
    return float(((values - expected) ** 2).mean() ** 0.5 / (expected**2).mean() ** 0.5)


def headroom(factors: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Nano's image tokens of pictures that calibration has not seen, by the width of the ranges."""
    source = Pretrained.open()
    model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
    graphs = frozenset({"vision_encoder"})
    seen = extents(model, drawn_set(source, SAMPLES).samples, graphs)
    pictures = drawn_set(source, PICTURES, split="validation").samples
    exact = torch.cat(image_tokens(model, pictures))
    for factor in factors:
        ranges = {site: Range.of(factor * low, factor * high) for site, (low, high) in seen.items()}
        rounded = image_tokens(model.with_rounding(Rounding(graphs, ranges)), pictures)
        yield {"ranges": f"{factor:g} x what calibration saw", "off": off(torch.cat(rounded), exact)}
    rounded = image_tokens(model.with_rounding(Rounding(graphs)), pictures)
    yield {"ranges": "none, values in fp16", "off": off(torch.cat(rounded), exact)}


def on_grid(name: str, grid: Range) -> tuple[Nodes, Constants]:
    """Nodes that bring the value ``name`` to the grid, as ``name.grid``."""
    constants = [
        numpy_helper.from_array(np.array(grid.scale, np.float32), f"{name}.scale"),
        numpy_helper.from_array(np.array(grid.zero, np.uint16), f"{name}.zero"),
    ]
    ends = [f"{name}.scale", f"{name}.zero"]
    nodes = [
        helper.make_node("QuantizeLinear", [name, *ends], [f"{name}.integers"]),
        helper.make_node("DequantizeLinear", [f"{name}.integers", *ends], [f"{name}.grid"]),
    ]
    return nodes, constants


def model_of(nodes: Nodes, constants: Constants, inputs: Sequence[str], kind: int) -> onnx.ModelProto:
    """A graph from square-ish ``inputs`` to the value ``y``."""
    ends = [helper.make_tensor_value_info(name, kind, [ROWS, WIDTH]) for name in inputs]
    result = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph(nodes, "one operation", ends, [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def product() -> tuple[onnx.ModelProto, dict[str, np.ndarray], np.ndarray]:
    """a b^T of two values on grids of uint16, its result on one too."""
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((ROWS, WIDTH)).astype(np.float32) for _ in "ab")
    exact = a @ b.T
    nodes: Nodes = []
    constants: Constants = []
    for name, values in (("a", a), ("b", b)):
        more, numbers = on_grid(name, Range.of(float(values.min()), float(values.max())))
        nodes, constants = nodes + more, constants + numbers
    nodes.append(helper.make_node("Transpose", ["b.grid"], ["b.turned"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", ["a.grid", "b.turned"], ["product"]))
    more, numbers = on_grid("product", Range.of(float(exact.min()), float(exact.max())))
    more[-1].output[0] = "y"
    return (
        model_of(nodes + more, constants + numbers, ["a", "b"], TensorProto.FLOAT),
        {"a": a, "b": b},
        exact,
    )


def softmax(*, grid: bool) -> tuple[onnx.ModelProto, dict[str, np.ndarray], np.ndarray]:
    """A softmax of rows, in fp16 or onto a grid of uint16."""
    x = (3 * np.random.default_rng(1).standard_normal((ROWS, WIDTH))).astype(np.float32)
    exact = torch.tensor(x, dtype=torch.float64).softmax(-1).numpy()
    if not grid:
        nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=-1)]
        half = x.astype(np.float16)
        exact = torch.tensor(half, dtype=torch.float64).softmax(-1).numpy()
        return model_of(nodes, [], ["x"], TensorProto.FLOAT16), {"x": half}, exact
    before, numbers = on_grid("x", Range.of(float(x.min()), float(x.max())))
    after, more = on_grid("weights", Range.of(0.0, 1.0))
    after[-1].output[0] = "y"
    nodes = [*before, helper.make_node("Softmax", ["x.grid"], ["weights"], axis=-1), *after]
    return model_of(nodes, numbers + more, ["x"], TensorProto.FLOAT), {"x": x}, exact


def operations() -> Iterator[dict[str, Any]]:
    """Single operations in the emulator, and how far each is from exact arithmetic."""
    cases = {
        "product of two values in uint16": product(),
        "softmax in fp16": softmax(grid=False),
        "softmax from uint16 to uint16": softmax(grid=True),
    }
    with temporary_folder() as folder:
        process = NpuProcess(Path(folder))
        for name, (model, inputs, exact) in cases.items():
            path = Path(folder) / f"{name.replace(' ', '_')}.onnx"
            onnx.save(model, path)
            result = process.open(name, path, CHIPS[DEFAULT], {}).run(inputs)["y"]
            yield {"operation": name, "off": off(result.astype(np.float64), exact)}


def main() -> None:
    """Print both tables as JSON."""
    print(json.dumps([*headroom((1.0, HEADROOM)), *operations()], indent=2))


if __name__ == "__main__":
    main()
