"""What in a ``.pte`` with a Core ML vision encoder is not as the exporter writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.coreml.compare import package_differences
from phantom_edge.export.coreml.package import FILES
from phantom_edge.export.coreml.programs import float32_vision_encoder
from phantom_edge.export.executorch.compare import Counted, Declared, Expected, program_differences
from phantom_edge.export.executorch.readback import StoredProgram
from phantom_edge.export.executorch_coreml import INPUT, OUTPUT, VISION, payload_of
from phantom_edge.export.executorch_coreml.lower import write_methods
from phantom_edge.export.executorch_coreml.payload import METADATA, MODEL, description, files, unpack
from phantom_edge.model.folded import FoldedModel
from phantom_edge.system.partials import temporary_folder
from phantom_edge.system.reading import parse_json


def file_differences(path: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """Of the file ``path``. Raises :class:`InputError` for a damaged one."""
    stored = StoredProgram.open(path)
    payload = payload_of(stored)
    constants, buffers = Declared(model.weights), Counted()
    # The package is compared by its meaning: a day and the order of a map's entries are among its bytes.
    plans, payloads = write_methods(model, options, payload, constants, buffers, lambda _: None)
    expected = Expected(plans, [one.data for one in payloads], constants, len(buffers.list))
    return [*program_differences(stored, expected), *_payload(payload, model, options)]


def _payload(payload: bytes, model: FoldedModel, options: ExportOptions) -> Iterator[str]:
    """Differences of what the Core ML delegate holds."""
    names = sorted(name for name, _ in files(payload))
    if names != sorted([METADATA, *(f"{MODEL}/{file}" for file in FILES)]):
        yield f"{VISION}: the delegate holds other files"
        return
    with temporary_folder() as scratch:
        package = unpack(payload, scratch)
        if _parsed(dict(files(payload))[METADATA]) != description(package, [INPUT], [OUTPUT]):
            yield f"{VISION}: the delegate's {METADATA}"
        yield from package_differences(package, VISION, float32_vision_encoder(model, options))


def _parsed(text: bytes) -> Any:
    try:
        return parse_json(text, METADATA)
    except InputError:
        return None
