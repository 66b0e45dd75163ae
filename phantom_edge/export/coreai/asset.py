"""A saved asset read again: what it holds, counted in the file itself, and its integers."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from phantom_edge.errors import CheckError, InputError
from phantom_edge.export.coreai.convert import WEIGHTS
from phantom_edge.export.coreai.modules import attention_ops
from phantom_edge.export.coreai.toolkit import open_asset
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.grid import QuantizedTensor, unpack_nibbles
from phantom_edge.system.reading import reading

QUANTIZED, LOOKUP, CONSTANT = "coreai.blockwise_shift_scale", "coreai.gather_nd", "coreai.constant"
SDPA: Final = "scaled_dot_product_attention"  # Core AI's name of the fused op
BLOB = re.compile(r'\s*(resource_\d+): "0x([0-9A-F]*)"')
REFERENCE = re.compile(r"dense_resource<(resource_\d+)>")
SYMBOL = re.compile(r"@([\w$.]+)")
MATRIX: Final = 2  # dimensions
ROPE_TABLES: Final = 2  # cos and sin
ALIGNMENT_BYTES: Final = 4  # before a blob's contents, in a program's text
BITS: Final = {"si4": 4, "si8": 8}


@dataclass(frozen=True)
class Asset:
    """One ``.aimodel``: its program, the description of its weights, and the operations of each function."""

    path: Path
    program: Any
    described: list[list[Any]]
    functions: dict[str, list[Any]]
    attention: frozenset[str]
    graphs: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Asset:
        """Raises :class:`InputError` for an asset that is missing or damaged, or not this toolkit's."""
        asset = open_asset(path)
        with reading(path, "export it again", "is not a Core AI asset of this toolkit"):
            described = list(asset.metadata.creator_defined_metadata[WEIGHTS])
            # Apple's facade gives a program as text only; the operations are those of the module behind it.
            program = asset.program._module._mlir_module.operation
            graphs = {op.attributes["sym_name"].value: op for op in _body(program)}
            named = {name: op.attributes for name, op in graphs.items()}
            composites = {
                name: str(a["composite_decl"]) for name, a in named.items() if "composite_decl" in a
            }
            functions = {name: list(_body(op)) for name, op in graphs.items() if name not in composites}
        if not functions:
            raise InputError(f"{path}: has no function; export it again")
        attention = frozenset(name for name, said in composites.items() if SDPA in said)
        return cls(Path(path), program, described, functions, attention, graphs)

    def counts(self) -> dict[str, int]:
        """Attention ops, states and quantised weights. Raises :class:`CheckError` if the functions differ."""
        first, *others = self.functions
        expected = self._counts(first)
        for name in others:
            if self._counts(name) != expected or self._sources(name) != self._sources(first):
                raise CheckError(
                    f"{self.path.name}: function {name} is not {first} at another length or size"
                )
        return dict(expected)

    def weights(self) -> dict[str, QuantizedTensor]:
        """Every quantised weight by module name. Raises :class:`InputError` for other forms of them."""
        pairs = list(self._integers(next(iter(self.functions))))
        if len(pairs) != len(self.described):
            raise InputError(f"{self.path}: {len(pairs)} quantised weights, {len(self.described)} described")
        blobs = self._blobs({_source(value) for pair in pairs for value in pair})
        with reading(self.path, "export it again", "its weights are damaged"):
            return {
                str(name): _weight(*pair, blobs, int(bits), int(group) or None)
                for (name, bits, group), pair in zip(self.described, pairs, strict=True)
            }

    def _counts(self, function: str) -> Counter[str]:
        ops = self.functions[function]
        widths = Counter(f"int{BITS.get(_kind(values), 0)} weight" for values, _ in self._integers(function))
        calls = [SYMBOL.search(str(op.attributes["callee"])) for op in ops if op.name == "coreai.invoke"]
        widths["attention"] = sum(call is not None and call[1] in self.attention for call in calls)
        widths["states"] = sum(op.name == "coreai.write_handle" for op in ops)
        return widths

    def _integers(self, function: str) -> Iterator[tuple[Any, Any]]:
        """Values and scales of each quantised matrix, or looked-up table, in the order of their use."""
        ops = self.functions[function]
        tables = [op.operands[0] for op in ops if op.name == LOOKUP and op.operands[0].owner.name == CONSTANT]
        if tables and _kind(tables[0]) in BITS:
            yield tables[0], tables[1]
        for op in ops:
            if op.name == QUANTIZED:
                yield op.operands[0], op.operands[1]

    def _sources(self, function: str) -> list[str]:
        return [_source(value) for pair in self._integers(function) for value in pair]

    def signature(self, function: str) -> dict[str, str]:
        """Types of a function's arguments, states among them, and of its results, by name."""
        attributes = self.graphs[function].attributes
        types = attributes["function_type"].value
        names = [
            [part["coreai.name"].value for part in attributes[f"{kind}_attrs"]] for kind in ("arg", "res")
        ]
        results = dict(zip(names[1], map(str, types.results), strict=True))
        return results | dict(zip(names[0], map(str, types.inputs), strict=True))

    def floats(self) -> dict[str, dict[str, int]]:
        """The float constants of each function: SHA-256 of their bytes, and how many numbers they are."""
        constants = {
            function: [op.results[0] for op in ops if op.name == CONSTANT and _kind(op.results[0]) == "f32"]
            for function, ops in self.functions.items()
        }
        values = {_source(value): value for stored in constants.values() for value in stored}
        forms = {
            name: _form(_array(values[name], {name: data})) for name, data in self._contents(set(values))
        }
        inline = values.keys() - forms.keys()
        forms |= {name: _form(_array(values[name], {})) for name in inline}
        return {
            function: dict(forms[_source(value)] for value in stored)
            for function, stored in constants.items()
        }

    def rotary_tables(self) -> list[torch.Tensor]:
        """cos and sin [context, D/2] of a decoder, as its functions look them up: alike in all of them."""
        lookups = [
            [op.operands[0] for op in ops if op.name == LOOKUP and op.operands[0].owner.name == CONSTANT]
            for ops in self.functions.values()
        ]
        if len(lookups[0]) != ROPE_TABLES or any(
            list(map(_source, values)) != list(map(_source, lookups[0])) for values in lookups
        ):
            raise InputError(f"{self.path}: its functions do not share two rotary tables; export it again")
        blobs = self._blobs({_source(value) for value in lookups[0]})
        with reading(self.path, "export it again", "its tables are damaged"):
            return [torch.from_numpy(_array(value, blobs)) for value in lookups[0]]

    def _blobs(self, names: set[str]) -> dict[str, bytes]:
        return dict(self._contents(names))

    def _contents(self, names: set[str]) -> Iterator[tuple[str, bytes]]:
        """Contents of the constants that are stored apart: a program gives them in its text alone."""
        with tempfile.TemporaryFile("w+", encoding="ascii", errors="replace") as text:
            self.program.print(file=text)
            text.seek(0)
            for line in text:
                match = BLOB.match(line)
                if match and match[1] in names:
                    yield match[1], bytes.fromhex(match[2])[ALIGNMENT_BYTES:]


def expected_counts(graph: str, spec: FoldedSpec, widths: list[int]) -> dict[str, int]:
    """One attention op per layer, integers of these ``widths`` (a table's as int8), one write per cache."""
    bits = Counter(f"int{8 if graph == 'token_embedding' else width} weight" for width in widths)
    states = 2 * spec.config.decoder.layers if graph == "text_decoder" else 0
    counted = {name: bits[name] for name in ("int4 weight", "int8 weight", "int0 weight")}
    return {"attention": attention_ops(graph, spec), "states": states} | counted


def _body(op: Any) -> Iterator[Any]:
    return (inner for region in op.regions for block in region.blocks for inner in block.operations)


def _kind(value: Any) -> str:
    return str(value.type.element_type)


def _source(value: Any) -> str:
    """The blob of a constant; one that is written into the program is its own."""
    text = str(value.owner.attributes["value"])
    match = REFERENCE.match(text)
    return match[1] if match else text


def _weight(
    values: Any, scales: Any, blobs: dict[str, bytes], bits: int, group: int | None
) -> QuantizedTensor:
    integers = torch.from_numpy(_array(values, blobs))
    return QuantizedTensor(integers, torch.from_numpy(_array(scales, blobs)), bits, group)


def _form(array: np.ndarray) -> tuple[str, int]:
    """SHA-256 of an array's bytes and how many numbers they are; of equal matrices, of one.

    The converter repeats a matrix for each step where it takes a product for a batch of them.
    """
    while array.ndim > MATRIX and bool((array == array[:1]).all()):
        array = array[0]
    return sha256(np.ascontiguousarray(array).tobytes()).hexdigest(), len(np.unique(array))


def _array(value: Any, blobs: dict[str, bytes]) -> np.ndarray:
    """int8 of any width, or float32, in the constant's shape."""
    shape, kind = tuple(value.type.shape), _kind(value)
    if kind not in (*BITS, "f32"):
        raise ValueError(f"a constant of type {kind}")
    if REFERENCE.match(str(value.owner.attributes["value"])) is None:
        inline = np.array(value.owner.attributes["value"]).astype(np.int8 if kind in BITS else np.float32)
        return np.broadcast_to(inline, shape).copy()
    data = blobs[_source(value)]
    if kind == "si4":
        packed = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return unpack_nibbles(packed, int(np.prod(shape))).numpy().reshape(shape)
    return np.frombuffer(data, np.int8 if kind == "si8" else "<f4").reshape(shape).copy()
