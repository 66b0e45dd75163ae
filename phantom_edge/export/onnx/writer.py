"""One ONNX graph: its nodes in memory, its weights straight into the external data file if it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, save_model
from onnx.helper import np_dtype_to_tensor_dtype

CONTRIB: Final = "com.microsoft"
OPSET: Final = 17
"""The first with LayerNormalization; every runtime that has the fused attention ops reads it."""
IR_VERSIONS: Final = {17: 8, 21: 10}
"""The format's version that goes with an opset."""
INLINE_BYTES: Final = 1024  # smaller initializers stay in the .onnx file, where shape inference can see them
ALIGNMENT: Final = 64
"""Of each tensor in the data file: a cache line, so that a mapped tensor can be used in place."""
SHARED_BYTES: Final = 1 << 12  # less is not worth a file that two graphs need
PRODUCER: Final = "phantom-edge"
DATA: Final = ".onnx_data"
"""The end of a data file's name; the rest is its graph's."""
Attributes = dict[str, Any]
"""Of a node, by name."""
Place = dict[str, str | int]
"""``location``, ``offset`` and ``length`` of external data."""


class GraphBuilder:
    """Collects the nodes of one graph; :meth:`model` is the ONNX model of them, without large constants.

    Values are their ONNX names.
    """

    def __init__(self, name: str, opset: int = OPSET):
        self.name, self.opset = name, opset
        self.metadata: dict[str, str] = {}
        self.prefix = ""
        """Of the names of nodes and of what they give."""
        self._nodes: list[NodeProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._initializers: list[TensorProto] = []
        self._stored: set[str] = set()
        self._constants: dict[tuple[tuple[int, ...], bool], str] = {}

    def input(self, name: str, dtype: int, shape: Sequence[int | str]) -> str:
        """Declare an input; a dimension is a number or the name of a dynamic one."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, dtype: int, shape: Sequence[int | str]) -> None:
        """Declare that the value ``name`` is an output."""
        self._outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str] = (), domain: str = "", **attributes: Any
    ) -> str:
        """Append a node; returns its first output, named after the operation unless ``outputs`` says."""
        index = len(self._nodes)
        own = f"{self.prefix}{op}_{index}"
        names = list(outputs) or [own]
        node = helper.make_node(op, list(inputs), names, own, domain=domain, **attributes)
        self._nodes.append(node)
        return names[0]

    def initializer(self, name: str, array: NDArray[Any]) -> str:
        """Store ``array`` under ``name``, once: in the data file, or inline when it is small."""
        if name in self._stored:
            return name
        self._stored.add(name)
        array = np.ascontiguousarray(array)
        tensor = TensorProto(name=name, dims=array.shape, data_type=np_dtype_to_tensor_dtype(array.dtype))
        if array.nbytes < INLINE_BYTES:
            tensor.raw_data = array.tobytes()
        else:
            for key, value in self.place(array).items():
                tensor.external_data.add(key=key, value=str(value))
            tensor.data_location = TensorProto.EXTERNAL
        self._initializers.append(tensor)
        return name

    def scalar(self, name: str, value: np.generic) -> str:
        """Store one number, without any dimension, under ``name``, once."""
        if name not in self._stored:
            self._stored.add(name)
            kind = np_dtype_to_tensor_dtype(value.dtype)
            self._initializers.append(TensorProto(name=name, data_type=kind, raw_data=value.tobytes()))
        return name

    def number(self, value: float) -> str:
        """A float of the graph's own, not of the model's weights: an attribute, so that it is compared."""
        return self.node("Constant", [], value_float=value)

    def place(self, array: NDArray[Any]) -> Place:
        """Where the data of a large constant lie: nowhere, unless a subclass stores them."""
        return {}

    def ints(self, *values: int, scalar: bool = False) -> str:
        """An int64 constant; equal ones are one initializer."""
        key = (values, scalar)
        if key not in self._constants:
            array = np.array(values[0] if scalar else values, dtype=np.int64)
            name = "int_" if scalar else "ints_"
            self._constants[key] = self.initializer(name + "_".join(str(v) for v in values), array)
        return self._constants[key]

    def model(self) -> ModelProto:
        """The model of all nodes that an output depends on."""
        nodes = self._live_nodes()
        used = {name for node in nodes for name in node.input}
        initializers = [tensor for tensor in self._initializers if tensor.name in used]
        graph = helper.make_graph(nodes, self.name, self._inputs, self._outputs, initializers)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(CONTRIB, 1)]
        version = IR_VERSIONS[self.opset]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name=PRODUCER)
        helper.set_model_props(model, self.metadata)
        return model

    def _live_nodes(self) -> list[NodeProto]:
        # A value that has two forms (heads apart or together) may never be used in one of them.
        used = {output.name for output in self._outputs}
        live: list[NodeProto] = []
        for node in reversed(self._nodes):
            if used.intersection(node.output):
                live.append(node)
                used.update(node.input)
        return live[::-1]


class GraphWriter(GraphBuilder):
    """A graph on its way to disk; :meth:`save` writes ``{name}.onnx`` beside ``{name}.onnx_data``.

    An initializer is on disk when :meth:`initializer` returns, so a model is never in memory twice.
    ``written``, if given, is what the graphs of one folder share: an initializer of at least ``shared_bytes``
    that an earlier one has written is read from that one's file. Use as a context manager, which closes the
    data file.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        written: dict[bytes, Place] | None = None,
        opset: int = OPSET,
        shared_bytes: int = SHARED_BYTES,
    ):
        super().__init__(name, opset)
        self.path, self._written, self._shared_bytes = folder / f"{name}.onnx", written, shared_bytes
        self.data_path = folder / f"{name}{DATA}"
        self._data = self.data_path.open("wb")

    def __enter__(self) -> GraphWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()

    def place(self, array: NDArray[Any]) -> Place:
        """Where the bytes of ``array`` lie; writes them unless they are there."""
        if self._written is None or array.nbytes < self._shared_bytes:
            return self._append(array)
        digest = hashlib.sha256(array.data).digest()
        if digest not in self._written:
            self._written[digest] = self._append(array)
        return self._written[digest]

    def _append(self, array: NDArray[Any]) -> Place:
        self._data.write(bytes(-self._data.tell() % ALIGNMENT))
        place: Place = {"location": self.data_path.name, "offset": self._data.tell(), "length": array.nbytes}
        array.tofile(self._data)
        return place

    def save(self) -> None:
        """Write the ``.onnx`` file; removes the data file again when nothing went into it."""
        empty = not self._data.tell()
        self._data.close()
        if empty:
            self.data_path.unlink()
        save_model(self.model(), self.path)
