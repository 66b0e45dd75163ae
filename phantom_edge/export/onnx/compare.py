"""What in the three graphs is not as the exporter writes it: they are built again, without their weights.

Running a graph cannot show everything: a probe meets few inputs, and the unrounded run changes the very
attributes that say how a runtime rounds. So nodes, attributes, inputs, outputs, types, shapes and integer
constants are compared one by one. Values of weights are compared by those who read them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import onnx
from google.protobuf.message import Message

from phantom_edge.export.base import VISION, ExportOptions, all_graphs
from phantom_edge.export.onnx.build import Operations, build_graph
from phantom_edge.export.onnx.writer import DATA, GraphBuilder
from phantom_edge.export.onnx_layout import FOLDER, file_name
from phantom_edge.export.onnx_model import AGAIN, load_model
from phantom_edge.model.folded import FoldedModel
from phantom_edge.system.reading import reading

NAME_LENGTH = 60  # of what a file calls its parts, so that a message stays a line
PLACES = ("external_data", "data_location")
NUMBERS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def graph_differences(
    folder: Path, model: FoldedModel, options: ExportOptions, dtype: str, operations: Operations
) -> list[str]:
    """Differences of the graphs below ``folder`` from those that ``operations`` make of ``model``.

    Raises :class:`InputError` for a file that is missing or no ONNX model.
    """
    lines: list[str] = []
    data: set[str] = set()
    vision = folder / FOLDER / file_name(VISION, dtype)
    for name in all_graphs(model.spec):
        path = folder / FOLDER / file_name(name, dtype)
        graph = GraphBuilder(path.stem)
        build_graph(name, graph, model, options, operations)
        further = name.startswith(VISION) and path != vision
        beside = vision.with_suffix(DATA).name if further else path.with_suffix(DATA).name
        own = {path.with_suffix(DATA).name, beside}
        data = data | own if options.share_data else own
        lines += model_differences(name, path, graph.model(), data)
        if further:
            lines += [f"{name}: {line}" for line in _unshared(path, vision)]
    return lines


def _unshared(path: Path, vision: Path) -> Iterator[str]:
    """Constants of a further vision encoder that are not those of the default one, at the same place."""
    own, default = ({t.name: t for t in load_model(one).graph.initializer} for one in (path, vision))
    for name in sorted(own.keys() & default.keys()):
        if own[name] != default[name]:
            yield f"constant {name[:NAME_LENGTH]} is not that of {VISION}"


def model_differences(name: str, path: Path, expected: onnx.ModelProto, data: set[str]) -> list[str]:
    """Differences of the model in ``path`` from ``expected``, whose constants may lie in the files ``data``.

    Values of float constants aside. Raises :class:`InputError` for a file that is missing or no ONNX model.
    """
    stored = load_model(path)
    with reading(path, AGAIN):
        differences = [*_misplaced(stored.graph, data), *_differences(stored, expected)]
    return [f"{name}: {line}" for line in differences]


def _misplaced(graph: onnx.GraphProto, data: set[str]) -> Iterator[str]:
    """Constants that lie in other files: a browser fetches a graph's own alone."""
    for tensor in graph.initializer:
        files = {entry.value for entry in tensor.external_data if entry.key == "location"}
        if other := files - data:
            yield f"constant {_name(tensor)} lies in {', '.join(sorted(other))[:NAME_LENGTH]}"


def _differences(stored: onnx.ModelProto, expected: onnx.ModelProto) -> Iterator[str]:
    for model in (stored, expected):
        _drop_values(model.graph.initializer)
    if stored == expected:
        return
    lines = [*_parts(stored.graph, expected.graph), *_fields(stored, expected, "model", but=("graph",))]
    yield from lines or ["differs from the exporter's"]


def _parts(stored: onnx.GraphProto, expected: onnx.GraphProto) -> Iterator[str]:
    """Differences of a graph's inputs, outputs, constants and nodes, in their order."""
    for field, kind in (
        ("node", "node"),
        ("input", "input"),
        ("output", "output"),
        ("initializer", "constant"),
    ):
        yield from _items(getattr(stored, field), getattr(expected, field), kind)
    yield from _fields(stored, expected, "graph", but=("node", "input", "output", "initializer"))


def _items(stored: Sequence[Message], expected: Sequence[Message], kind: str) -> Iterator[str]:
    names, expected_names = ([_name(item) for item in items] for items in (stored, expected))
    if names != expected_names:
        pairs = zip_longest(names, expected_names)
        index, (one, other) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
        yield f"{kind} {index} is {one or 'missing'}, not {other or 'there'}"
        return
    for one_item, other_item in zip(stored, expected, strict=True):
        yield from _fields(one_item, other_item, f"{kind} {_name(one_item)}")


def _fields(stored: Message, expected: Message, what: str, but: Iterable[str] = ()) -> Iterator[str]:
    """Fields in which two messages differ; of a node's attributes, which."""
    for field in stored.DESCRIPTOR.fields:
        one, other = getattr(stored, field.name), getattr(expected, field.name)
        if field.name in but or (one == other and _presence(stored, field) == _presence(expected, field)):
            continue
        if field.name == "attribute":
            differing = {a.name for a in [*one, *other] if a not in one or a not in other}
            yield f"{what}: {', '.join(name[:NAME_LENGTH] for name in sorted(differing))}"
        else:
            yield f"{what}: {field.name}"


def _presence(message: Message, field: object) -> bool:
    return field in [descriptor for descriptor, _ in message.ListFields()]


def _name(item: Message) -> str:
    return str(item.name)[:NAME_LENGTH]


def _drop_values(initializers: Iterable[onnx.TensorProto]) -> None:
    """Leave of every constant name, type and shape, and of integers, which are no weights, the values."""
    for tensor in initializers:
        if tensor.data_type != onnx.TensorProto.INT64:
            for field in (*PLACES, *NUMBERS):
                tensor.ClearField(field)
