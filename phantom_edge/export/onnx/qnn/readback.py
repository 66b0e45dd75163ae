"""Integers, scales, floats and ranges read back out of an NPU's graphs and those for the CPU beside them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch

from phantom_edge.errors import InputError
from phantom_edge.export.base import StoredWeights
from phantom_edge.export.onnx.ops import SCALES
from phantom_edge.export.onnx.qnn.fixed import NUMBER, POWERS, STEP
from phantom_edge.export.onnx.qnn.fixed import ZERO as WHOLE
from phantom_edge.export.onnx.qnn.rounded import SCALE, ZERO
from phantom_edge.export.onnx.readback import floats_of, modules_of
from phantom_edge.export.onnx.readback import stored_cache as cpu_cache
from phantom_edge.export.onnx.stored import load_array
from phantom_edge.export.onnx_layout import FOLDER, NPU_GRAPHS, find, is_there, npu_file
from phantom_edge.export.onnx_model import AGAIN, load_model
from phantom_edge.model.weights import LazyWeights, Maker
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.ranges import STEPS, Range
from phantom_edge.quantize.kv import KVScales
from phantom_edge.system.reading import reading

NPU = "npu "
"""Before the name of a graph that an NPU runs."""
Reader = Callable[[], QuantizedTensor]


def graph_paths(folder: Path) -> dict[str, Path]:
    """Every graph of the artifact by its name, an NPU's with :data:`NPU` before it, and those for the CPU."""
    paths = {NPU + name: folder / FOLDER / npu_file(name) for name in NPU_GRAPHS}
    present = {name: path for name, path in paths.items() if path.exists()}
    if f"{NPU}vision_encoder" not in present:
        raise InputError(f"{folder / FOLDER}: no {npu_file('vision_encoder')}; export the bundle again")
    if (f"{NPU}prefill" in present) != (f"{NPU}decode" in present):
        raise InputError(
            f"{folder / FOLDER}: one of the NPU's two decoders is missing; export the bundle again"
        )
    present["token_embedding"] = find(folder, "token_embedding")
    if f"{NPU}decode" not in present or is_there(folder, "text_decoder"):
        present["text_decoder"] = find(folder, "text_decoder")
    return present


def stored_weights(folder: Path) -> StoredWeights:
    """As :func:`phantom_edge.export.onnx.readback.stored_weights`; a module in two graphs is read in both.

    Raises :class:`InputError` for two that differ, when the weight is read.
    """
    readers: dict[str, Reader] = {}
    for path in graph_paths(folder).values():
        with reading(path, AGAIN):
            for name, reader in modules_of(path, load_model(path).graph):
                readers[name] = partial(_both, name, readers[name], reader) if name in readers else reader
    return StoredWeights(readers)


def _both(name: str, first: Reader, second: Reader) -> QuantizedTensor:
    one, other = first(), second()
    same = one.shape == other.shape and one.scales.shape == other.scales.shape
    if not same or not bool((one.values == other.values).all() and (one.scales == other.scales).all()):
        raise InputError(f"{name}: two graphs hold different integers; {AGAIN}")
    return one


def stored_cache(folder: Path) -> KVScales | None:
    """As :func:`phantom_edge.export.onnx.readback.stored_cache`, of whichever decodes.

    Raises :class:`InputError`, too, where the NPU's two decoders have different ones.
    """
    paths = graph_paths(folder)
    if f"{NPU}decode" not in paths:
        return cpu_cache(folder)
    one, other = (_cache_of(paths[f"{NPU}{name}"]) for name in ("prefill", "decode"))
    if (one and one.fingerprint()) != (other and other.fingerprint()):
        raise InputError(f"{folder}: the two decoders' caches have other scales; {AGAIN}")
    return one


def _cache_of(path: Path) -> KVScales | None:
    """The scales of a decoder's cache, None for one in float."""
    with reading(path, AGAIN):
        stored = {tensor.name: tensor for tensor in load_model(path).graph.initializer}
        if STEP not in stored:
            return None
        if load_array(path, stored[STEP]) != 1 or load_array(path, stored[WHOLE]) != 0:
            raise InputError(f"{path}: its cache's integers are not used as they are; {AGAIN}")
        count = sum(name.startswith("cache.") and name.endswith(SCALES) for name in stored) // 2
        keys, values = (
            tuple(_scales(path, stored[f"cache.{n}.{kind}{SCALES}"]) for n in range(count))
            for kind in ("key", "value")
        )
        return KVScales(keys, values)


def _scales(path: Path, tensor: onnx.TensorProto) -> torch.Tensor:
    """Scales [1, Hkv, 1, W] of a half of a layer's cache as [Hkv, W]."""
    return torch.from_numpy(load_array(path, tensor).copy())[0, :, 0]


def stored_floats(folder: Path) -> LazyWeights[torch.Tensor]:
    """As :func:`phantom_edge.export.onnx.readback.stored_floats`, constants of grids aside."""
    makers: dict[str, Maker[torch.Tensor]] = {}
    for path in graph_paths(folder).values():
        with reading(path, AGAIN):
            for name, maker in floats_of(path, load_model(path).graph):
                if not name.endswith((SCALE, POWERS)) and not name.startswith((NUMBER, STEP)):
                    makers[name] = _same(name, makers[name], maker) if name in makers else maker
    return LazyWeights(makers)


def _same(name: str, first: Maker[torch.Tensor], second: Maker[torch.Tensor]) -> Maker[torch.Tensor]:
    def make() -> torch.Tensor:
        one, other = first.make(), second.make()
        if one.shape != other.shape or not bool((one == other).all()):
            raise InputError(f"{name}: two graphs hold different values; {AGAIN}")
        return one

    return Maker(first.shape, make)


def stored_ranges(folder: Path) -> dict[str, Range]:
    """The grid of every value in uint16, by its site, read from the nodes that use it.

    Raises :class:`InputError` for a grid that is none, and for two of one name that differ.
    """
    ranges: dict[str, Range] = {}
    for name, path in graph_paths(folder).items():
        if not name.startswith(NPU):
            continue
        with reading(path, AGAIN):
            graph = load_model(path).graph
            for site, grid in _grids(path, graph).items():
                if ranges.setdefault(site, grid) != grid:
                    raise InputError(f"{path}: {site} has another range than in the other decoder; {AGAIN}")
    return ranges


def _grids(path: Path, graph: onnx.GraphProto) -> dict[str, Range]:
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    grids: dict[str, Range] = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[1] != STEP:
            scale, zero = node.input[1:]
            site = scale.removesuffix(SCALE)
            if zero != site + ZERO or not {scale, zero} <= initializers.keys():
                raise InputError(
                    f"{path}: {node.name} rounds to a grid that this toolkit does not write; {AGAIN}"
                )
            if site not in grids:
                arrays = [load_array(path, initializers[each]) for each in (scale, zero)]
                grids[site] = _range(path, site, *arrays)
    return grids


def _range(path: Path, site: str, scale: np.ndarray, zero: np.ndarray) -> Range:
    good = scale.shape == zero.shape == () and scale.dtype == np.float32 and zero.dtype == np.uint16
    if not good or not np.isfinite(scale) or scale <= 0 or int(zero) > STEPS:
        raise InputError(f"{path}: {site} lies on no grid of uint16; {AGAIN}")
    return Range(float(scale), int(zero))
