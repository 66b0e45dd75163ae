"""A quantisation as one file, so that every export takes the same integers.

A safetensors file of integers and changed vectors; its metadata hold one JSON document under
``phantom_edge``. Beside an artifact, which carries the integers itself, the same file without them is kept,
and the manifest has their hashes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from phantom_edge.bundle.manifest import CalibratedQuantization, ModuleRow
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.tailored import VOCABULARY_ROWS
from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import Recipe
from phantom_edge.quantize.result import Quantization
from phantom_edge.records import from_json, to_json
from phantom_edge.system import outputs
from phantom_edge.system.causes import short
from phantom_edge.system.reading import open_safetensors, parse_json, reading
from phantom_edge.system.writing import replacing_file

SUFFIX: Final = ".safetensors"
SIDECAR: Final = "quantization.safetensors"
SCHEMA: Final = 1
MAX_JSON_BYTES: Final = 16 << 20


def fingerprint(weight: QuantizedTensor) -> str:
    """SHA-256 of a weight's integers and scales, whatever file or layout they come from.

    >>> import torch
    >>> q = QuantizedTensor(torch.ones(1, 2, dtype=torch.int8), torch.ones(1, 1), 8)
    >>> fingerprint(q)[:8] == fingerprint(q)[:8]
    True
    """
    digest = hashlib.sha256(f"{weight.bits}/{weight.group}/{weight.shape}".encode())
    digest.update(weight.values.contiguous().numpy().tobytes())
    digest.update(weight.scales.contiguous().numpy().tobytes())
    return digest.hexdigest()


def save(path: str | Path, quantization: Quantization) -> Path:
    """Write a quantisation, whole or not at all. Raises :class:`InputError` where no file can be."""
    check_output(path)
    return write(Path(os.path.abspath(path)), quantization)


def write(path: Path, quantization: Quantization, *, integers: bool = True) -> Path:
    """:func:`save` to a place that is this toolkit's own, whatever is there."""
    tensors = {f"floats/{name}": t.contiguous() for name, t in quantization.floats.items()}
    tensors |= {f"cache/{name}": t.contiguous() for name, t in quantization.cache.items()}
    if integers:
        for name, weight in quantization.integers.items():
            tensors |= {f"integers/{name}/{part}": t for part, t in weight.to_state().items()}
    document = {
        "schema": SCHEMA,
        "method": quantization.method,
        "recipe": to_json(quantization.recipe),
        "modules": to_json(quantization.rows),
        "facts": quantization.facts,
    }
    with replacing_file(path) as partial:
        save_file(tensors, partial, metadata={outputs.KEY: json.dumps(document)})
    return path


def check_output(path: str | Path, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise :class:`InputError`, before any work, for a place where no such file can be written.

    ``inputs`` are read by the same command and stay.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise InputError(f"{short(path)}: a quantisation is one file; give it a name that ends in {SUFFIX}")
    outputs.check_file(path, outputs.QUANTIZATION, inputs)


def load(path: str | Path) -> Quantization:
    """Read what :func:`save` wrote.

    Raises :class:`InputError`: no such file, damaged, not of this kind, or of a newer schema.
    """
    path = Path(path)
    with open_safetensors(path, mend=f"make it with `phantom-edge quantize -o {path.name}`") as file:
        document = _document(path, (file.metadata() or {}).get(outputs.KEY))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    with reading(path, "make it again", "not a quantisation of this toolkit"):
        recipe = from_json(Recipe, document["recipe"])
        rows = tuple(from_json(ModuleRow, row) for row in document["modules"])
        integers, floats, cache = _integers(tensors), _under(tensors, "floats/"), _under(tensors, "cache/")
        method, facts = str(document["method"]), dict(document["facts"])
        return Quantization(recipe, method, integers, floats, rows, facts, cache)


def is_stored(text: str | None) -> bool:
    """Whether ``--quant`` names such a file."""
    return text is not None and text.endswith(SUFFIX)


def manifest_entry(quantization: Quantization) -> CalibratedQuantization:
    """What a bundle's manifest says of it: method, facts, the modules' table, and the integers' hashes."""
    integers = {name: fingerprint(weight) for name, weight in sorted(quantization.integers.items())}
    return CalibratedQuantization(quantization.method, quantization.facts, quantization.rows, integers)


def of_bundle(sidecar: Path, stored: Mapping[str, QuantizedTensor]) -> Quantization:
    """The quantisation of a bundle: its sidecar with the integers that its artifact holds."""
    quantization = load(sidecar)
    quantization.integers = dict(stored)
    return quantization


def check_source(quantization: Quantization, source: Pretrained) -> None:
    """Raise :class:`InputError` when a quantisation was made from another checkpoint."""
    if quantization.facts.get("source") != source.sha256():
        raise InputError(f"the quantisation was made from another checkpoint than {source.name}: quantise it")


def for_source(quantization: Quantization, source: Pretrained) -> Quantization:
    """A quantisation of a checkpoint, or of the one that it was cut from: then of the rows that are kept.

    Each row is quantised by itself, so that those of a smaller vocabulary have the same integers. Raises
    :class:`InputError` when it was made from another checkpoint.
    """
    kept, hashes = source.kept_ids, source.sha256()
    if source.whole is None or kept is None or quantization.facts.get("source") == hashes:
        check_source(quantization, source)
        return quantization
    check_source(quantization, source.whole)
    index, names = torch.tensor(kept), [name.removesuffix(".weight") for name in VOCABULARY_ROWS]
    whole = {name: quantization.integers[name] for name in names if name in quantization.integers}
    cut = {name: weight.rows(index) for name, weight in whole.items()}
    rows = tuple(
        replace(row, bytes=cut[row.name].nbytes) if row.name in cut else row for row in quantization.rows
    )
    facts = quantization.facts | {"source": hashes}
    return replace(quantization, integers=quantization.integers | cut, rows=rows, facts=facts)


def differing(recorded: Mapping[str, str], stored: Mapping[str, QuantizedTensor]) -> list[str]:
    """Names of the modules whose integers are not those of the recorded hashes."""
    names = sorted({*recorded, *stored})
    return [name for name in names if name not in stored or fingerprint(stored[name]) != recorded.get(name)]


def _document(path: Path, text: str | None) -> dict[str, Any]:
    if text is None or len(text) > MAX_JSON_BYTES:
        raise InputError(f"{path}: is no quantisation; make one with `phantom-edge quantize`")
    document = parse_json(text, path, "make it again")
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
        raise InputError(f"{path}: is no quantisation; make one with `phantom-edge quantize`")
    if document["schema"] > SCHEMA:
        raise InputError(f"{path}: schema {document['schema']} is newer than this phantom-edge; update it")
    return document


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _integers(tensors: Mapping[str, Tensor]) -> dict[str, QuantizedTensor]:
    states: dict[str, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "integers/").items():
        module, _, part = name.rpartition("/")
        states.setdefault(module, {})[part] = tensor
    return {module: QuantizedTensor.from_state(state) for module, state in states.items()}
