"""ONNX Runtime's operations against each other at true sizes, one thread: what the exporter's choices rest
on.

    python -m benchmarks.kernels

The head in two forms of int8, a product of the vision encoder without and with the option against overflow,
one layer's attention over a cache in fp32 (tiled and not) and in int8, and one of the decoder's int4 products
by size of group, for one row and for many. The forms take turns, and the processor's time is read, of which
other processes take nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
import onnxruntime as ort
import typer
from onnx import TensorProto, helper, numpy_helper

from phantom_edge.bench.machine import describe
from phantom_edge.export.onnx.native import NO_SCALE
from phantom_edge.export.onnx.ops import ACCURACY_INT8, PER_CHANNEL, UNUSED_ATTENTION_INPUTS
from phantom_edge.export.onnx.writer import CONTRIB, IR_VERSIONS, OPSET
from phantom_edge.runtime.onnx_attention import untiled
from phantom_edge.runtime.onnx_int8 import EXACT_INT8

HIDDEN, FFN, HEADS, KV_HEADS = 896, 4864, 14, 2  # of the 0.5B size
VISION, VISION_FFN, TILE_ROWS = 1024, 4096, 1025
WIDTHS = (72, 80, 96, 128)  # of heads with a phantom dimension of 8, 16, 32 and 64
BLOCK = 128
GROUPS = (32, 64, 128)  # of int4; the recipe's is the first
PROMPT_ROWS = 512
COPIES = 24  # of one matrix, so that a row reads each from memory, as a step of decoding does
FLOAT_ACCURACY = 1
WARM = 3
FLOAT, INT8 = TensorProto.FLOAT, TensorProto.INT8
Call = Callable[[], object]


def head(rows: int) -> dict[str, Call]:
    """The head's product with one state, for a vocabulary of ``rows``."""
    rng = np.random.default_rng(0)
    values = rng.integers(-127, 128, (rows, HIDDEN), dtype=np.int8)
    scales = rng.random(rows, dtype=np.float32) * 0.01
    x = rng.standard_normal((1, HIDDEN), dtype=np.float32)
    blocks = (values.astype(np.int16) + 128).astype(np.uint8).reshape(rows, -1, BLOCK)
    repeated = np.repeat(scales[:, None], HIDDEN // BLOCK, axis=1)
    sizes = {"K": HIDDEN, "N": rows, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    forms = {
        "head, DynamicQuantizeMatMul": (
            "DynamicQuantizeMatMul",
            [np.ascontiguousarray(values.T), scales],
            {},
        ),
        "head, MatMulNBits of 8 bits": ("MatMulNBits", [blocks, repeated], sizes),
    }
    calls = {}
    for title, (op, arrays, attributes) in forms.items():
        constants = [numpy_helper.from_array(array, name) for array, name in zip(arrays, "bs", strict=True)]
        node = helper.make_node(op, ["x", "b", "s"], ["y"], domain=CONTRIB, **attributes)
        session = _session(
            [node], [_value("x", FLOAT, [1, HIDDEN])], [_value("y", FLOAT, [1, rows])], constants
        )
        calls[title] = lambda session=session: session.run(None, {"x": x})
    return calls


def overflow() -> dict[str, Call]:
    """The vision encoder's first MLP product, of one tile, without and with the option against 16-bit
    overflow.
    """
    rng = np.random.default_rng(0)
    values, scales = (
        rng.integers(-127, 128, (VISION, VISION_FFN), dtype=np.int8),
        np.full(VISION_FFN, 0.01, np.float32),
    )
    x = rng.standard_normal((TILE_ROWS, VISION), dtype=np.float32)
    constants = [numpy_helper.from_array(values, "b"), numpy_helper.from_array(scales, "s")]
    node = helper.make_node("DynamicQuantizeMatMul", ["x", "b", "s"], ["y"], domain=CONTRIB)
    ends = [_value("x", FLOAT, [TILE_ROWS, VISION])], [_value("y", FLOAT, [TILE_ROWS, VISION_FFN])]
    calls = {}
    for title, entries in (("plain", {}), ("with x64quantprecision", {EXACT_INT8: "1"})):
        session = _session([node], *ends, constants, entries)
        calls[f"int8 product of {TILE_ROWS} rows, {title}"] = lambda session=session: session.run(
            None, {"x": x}
        )
    return calls


def attention(cached: int, width: int) -> dict[str, Call]:
    """One layer's step behind ``cached`` tokens, heads ``width`` wide, the cache written in place."""
    rng = np.random.default_rng(0)
    names = [("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)]
    feeds = {name: rng.standard_normal((1, 1, heads * width), dtype=np.float32) for name, heads in names}
    feeds |= {"seqlens": np.array([cached], np.int32), "total": np.array(cached + 1, np.int32)}
    calls = {}
    forms = ((FLOAT, "fp32, tiled", False), (FLOAT, "fp32", True), (INT8, "int8", True))
    for element, title, whole in forms:
        with untiled(whole):
            session = _attention_session(element, names, width)
        shape, kind = (1, KV_HEADS, cached + 64, width), {FLOAT: np.float32, INT8: np.int8}[element]
        binding = session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        binding.bind_output("y")
        for past, present in (("pk", "nk"), ("pv", "nv")):
            buffer = ort.OrtValue.ortvalue_from_numpy(rng.integers(-3, 4, shape).astype(kind))
            binding.bind_ortvalue_input(past, buffer)
            binding.bind_ortvalue_output(present, buffer)
        run = lambda session=session, binding=binding: session.run_with_iobinding(binding)  # noqa: E731
        calls[f"attention, heads of {width}, {cached} cached in {title}"] = run
    return calls


def groups(rows: int) -> dict[str, Call]:
    """The decoder's largest int4 product, of ``rows``, by size of group; the last multiplies in fp32."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, HIDDEN), dtype=np.float32)
    calls = {}
    for group, accuracy in (*((group, ACCURACY_INT8) for group in GROUPS), (GROUPS[0], FLOAT_ACCURACY)):
        session = _products_session(rng, rows, group, accuracy)
        title = f"int4 product of {rows} rows, groups of {group}"
        title += ", in fp32" if accuracy == FLOAT_ACCURACY else ""
        calls[title] = lambda session=session: session.run(None, {"x": x})
    return calls


def _products_session(rng, rows: int, group: int, accuracy: int) -> ort.InferenceSession:
    sizes = {"K": HIDDEN, "N": 2 * FFN, "bits": 4, "block_size": group, "accuracy_level": accuracy}
    nodes, constants, outputs = [], [], []
    for n in range(COPIES if rows == 1 else 1):
        values = rng.integers(0, 256, (2 * FFN, HIDDEN // group, group // 2), dtype=np.uint8)
        scales = rng.random((2 * FFN, HIDDEN // group), dtype=np.float32) * 0.01
        constants += [numpy_helper.from_array(values, f"b{n}"), numpy_helper.from_array(scales, f"s{n}")]
        inputs = ["x", f"b{n}", f"s{n}"]
        nodes.append(helper.make_node("MatMulNBits", inputs, [f"y{n}"], domain=CONTRIB, **sizes))
        outputs.append(_value(f"y{n}", FLOAT, [rows, 2 * FFN]))
    return _session(nodes, [_value("x", FLOAT, [rows, HIDDEN])], outputs, constants)


def _attention_session(element: int, names: list[tuple[str, int]], width: int) -> ort.InferenceSession:
    inputs = [_value(name, FLOAT, [1, 1, heads * width]) for name, heads in names]
    inputs += [_value(name, element, [1, KV_HEADS, "held", width]) for name in ("pk", "pv")]
    inputs += [_value("seqlens", TensorProto.INT32, [1]), _value("total", TensorProto.INT32, [])]
    outputs = [_value("y", FLOAT, [1, 1, HEADS * width])]
    outputs += [_value(name, element, [1, KV_HEADS, "length", width]) for name in ("nk", "nv")]
    given, constants = [value.name for value in inputs], []
    sizes = {"num_heads": HEADS, "kv_num_heads": KV_HEADS, "do_rotary": 0, "scale": NO_SCALE}
    if element == INT8:
        scales = np.full((1, KV_HEADS, 1, width), 0.03, np.float32)
        constants = [numpy_helper.from_array(scales, name) for name in ("ks", "vs")]
        given += [*[""] * UNUSED_ATTENTION_INPUTS, "ks", "vs"]
        sizes |= {"kv_cache_bit_width": 8, "k_quant_type": PER_CHANNEL, "v_quant_type": PER_CHANNEL}
    node = helper.make_node("GroupQueryAttention", given, ["y", "nk", "nv"], domain=CONTRIB, **sizes)
    return _session([node], inputs, outputs, constants)


def _value(name: str, element: int, shape: list):
    return helper.make_tensor_value_info(name, element, shape)


def _session(
    nodes, inputs, outputs, constants, entries: Mapping[str, str] | None = None
) -> ort.InferenceSession:
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
    graph = helper.make_graph(nodes, "kernel", inputs, outputs, constants)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSIONS[OPSET])
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def in_turns(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """The median processor time of each call, in seconds; all are made once per round."""
    times: dict[str, list[float]] = {title: [] for title in calls}
    for _ in range(WARM + repeats):
        for title, call in calls.items():
            start = time.process_time()
            call()
            times[title].append(time.process_time() - start)
    return {title: median(values[WARM:]) for title, values in times.items()}


def main(repeats: int = 30, rows: int = 50_000, cached: int = 2048) -> None:
    """Measure and print a table; of each group, every form against the first."""
    print(", ".join(f"{name} {value}" for name, value in describe().items()) + "\n")
    print("| operation | ms | against the first of its kind |\n|---|--:|--:|")
    kinds = [head(rows), overflow(), *(attention(cached, width) for width in WIDTHS)]
    for calls in (*kinds, groups(1), groups(PROMPT_ROWS)):
        times = in_turns(calls, repeats)
        first = next(iter(times.values()))
        for title, seconds in times.items():
            print(f"| {title} | {seconds * 1e3:.2f} | {seconds / first:.2f} |")


if __name__ == "__main__":
    typer.run(main)
