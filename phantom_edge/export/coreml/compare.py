"""What in a package is not as the exporter writes it: the same program is built again, and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from phantom_edge.errors import InputError
from phantom_edge.export.base import GRAPHS, ExportOptions
from phantom_edge.export.coreml.operations import function_differences, rest, short
from phantom_edge.export.coreml.package import MANIFEST, WEIGHTS, described
from phantom_edge.export.coreml.programs import BuiltProgram, build
from phantom_edge.export.coreml.toolkit import coremltools
from phantom_edge.export.coreml.weight_comparison import WeightComparison
from phantom_edge.mil.blob import BlobFile
from phantom_edge.mil.package import Package
from phantom_edge.model.folded import FoldedModel
from phantom_edge.system.reading import read_json

MOST: Final = 3  # of one kind that are listed; more follow from the first as a rule


def packages_differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """Of the three packages in ``folder``. Raises :class:`InputError` for a damaged one."""
    lines = []
    for graph in GRAPHS:
        path = Path(folder) / f"{graph}.mlpackage"
        lines += package_differences(path, graph, build(graph, model, options))
    return lines


def package_differences(path: Path, graph: str, built: BuiltProgram) -> list[str]:
    """Of one package from the program that it should hold; raises as :func:`packages_differences`."""
    coremltools()  # in silence, before a part of it is imported
    stored, weights = Package(path).model, WeightComparison(BlobFile(path / WEIGHTS))
    expected, manifest = described(built, graph, weights)
    lines = [
        *_manifest(path, manifest),
        *_description(stored, expected),
        *_program(stored.mlProgram, expected.mlProgram),
        *_weights(weights, expected.mlProgram),
    ]
    return [f"{graph}: {line}" for line in lines]


def _manifest(path: Path, expected: dict[str, Any]) -> Iterator[str]:
    try:
        same = _items(read_json(path / MANIFEST)) == _items(expected)
    except (InputError, KeyError, TypeError, AttributeError):
        same = False
    if not same:
        yield f"{MANIFEST} names other files"


def _items(manifest: dict[str, Any]) -> tuple[Any, ...]:
    """A package's manifest without its identifiers, which are drawn at random."""
    items, root = manifest["itemInfoEntries"], manifest["rootModelIdentifier"]
    others = {key: value for key, value in manifest.items() if value not in (items, root)}
    return others, items[root], sorted(json.dumps(item, sort_keys=True) for item in items.values())


def _description(stored: Any, expected: Any) -> Iterator[str]:
    """Inputs, outputs, states, which function is the default, and what the model says of itself."""
    functions = [{f.name: f for f in model.description.functions} for model in (stored, expected)]
    for name in sorted(functions[0].keys() | functions[1].keys()):
        one, other = (by_name.get(name) for by_name in functions)
        if one is None or other is None or rest(one) != rest(other):
            yield f"{short(name)}: declared inputs, outputs or states"
    parts = [type(model)() for model in (stored, expected)]
    for part, model in zip(parts, (stored, expected), strict=True):
        part.CopyFrom(model)
        part.description.ClearField("functions")
        # The day and the versions of an export change nothing that runs.
        part.description.metadata.ClearField("userDefined")
        part.description.metadata.ClearField("versionString")
    if rest(parts[0], "mlProgram") != rest(parts[1], "mlProgram"):
        yield "the model's description"


def _program(stored: Any, expected: Any) -> Iterator[str]:
    missing = expected.functions.keys() - stored.functions.keys()
    yield from (f"{name}: function missing" for name in sorted(missing))
    yield from (
        f"{short(name)}: function too many"
        for name in sorted(stored.functions.keys() - expected.functions.keys())
    )
    for name in sorted(stored.functions.keys() & expected.functions.keys()):
        lines = function_differences(stored.functions[name], expected.functions[name])
        yield from (f"{name}: {line}" for line in islice(lines, MOST))
    parts = ("functions", "attributes")  # the attributes' values are versions
    if (
        rest(stored, *parts) != rest(expected, *parts)
        or stored.attributes.keys() != expected.attributes.keys()
    ):
        yield "the program's fields"


def _weights(weights: WeightComparison, expected: Any) -> Iterator[str]:
    """Constants in the weight file that hold other values than they should."""
    if weights.wrong:
        names = _places(expected)
        yield from (f"values of {names[offset]}" for offset in weights.wrong[:MOST])
    if weights.end != weights.stored.size:
        yield f"{weights.stored.size} bytes of weights, not {weights.end}"


def _places(program: Any) -> dict[int, str]:
    """What lies at each place of the weight file."""
    names: dict[int, str] = {}
    for function in program.functions.values():
        for operation in function.block_specializations[function.opset].operations:
            values = list(operation.attributes.values())
            values += [b.value for argument in operation.inputs.values() for b in argument.arguments]
            for value in values:
                if value.WhichOneof("value") == "blobFileValue":
                    names[value.blobFileValue.offset] = operation.outputs[0].name
    return names
