"""Every field of a manifest that the Swift and Kotlin libraries read is in its schema, and of that type."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from phantom_edge.bundle import manifest

APPS = Path(__file__).parents[2] / "apps"
SWIFT = APPS / "ios" / "PhantomEdge" / "Sources" / "PhantomEdgeCore"
KOTLIN = APPS / "android" / "phantomedge" / "src" / "main" / "kotlin" / "phantom" / "edge" / "core"
SCHEMA: dict[str, Any] = json.loads(manifest.SCHEMA_FILE.read_text(encoding="utf-8"))
# What a reading function of Kotlin's `Fields` takes, as the schema says it.
TYPES = {
    "text": "string", "flag": "boolean", "whole": "integer", "size": "integer", "bytes": "integer",
    "wholes": ["integer"], "entries": "object", "texts": "object", "items": "array", "itemsOrNone": "array",
    "sentenceOrNone": "string",
}  # fmt: skip
# Variables of Kotlin's readers that hold a part of the manifest.
PARTS = {
    "fields": "", "entry": "files.*.", "rule": "recipe.rules.*.", "quantization": "quantization.",
    "npu": "npu.", "chip": "npu.compiled.*.", "other": "tiles.others.*.",
}  # fmt: skip
ONLY_KOTLIN = ("npu.", "source.", "fold.", "recipe.", "quantization.", "kv_cache")
"""Parts of the manifest that an iOS app has no use for."""
OPTIONAL = ("npu", "quantization", "knows")
OPTIONAL_LISTS = ("others",)
LARGEST = 1 << 24  # size that the libraries take
SWIFT_TYPES = {
    "Int": "integer", "String": "string", "String?": "string", "Bool": "boolean", "[Int]": ["integer"],
}  # fmt: skip


def field(path: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the schema says of a field such as ``tiles.size``; ``*`` is any member of an object or a list.

    All are required, but for what ``optional`` names.
    """
    node = SCHEMA
    for key in path.split("."):
        assert key == "*" or key in (*node["required"], *optional, *OPTIONAL_LISTS), f"{path} may be missing"
        if key == "*":
            node = node["items"] if node["type"] == "array" else node["additionalProperties"]
        else:
            node = node["properties"][key]
        if key in optional:  # an object, or null
            node = next(entry for entry in node["anyOf"] if entry != {"type": "null"})
        node = SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
    return node


def check(path: str, type_: str | list[str]) -> None:
    node = field(path, OPTIONAL)
    if isinstance(type_, list):
        assert (node["type"], [node["items"]["type"]]) == ("array", type_), path
    else:
        assert node["type"] == type_, path


def kotlin_fields() -> dict[str, str]:
    """The function that reads each path."""
    names = ("Manifest.kt", "Npu.kt", "PromptTemplate.kt")
    text = "".join((KOTLIN / name).read_text(encoding="utf-8") for name in names)
    calls = re.findall(rf'\b({"|".join(PARTS)})\.(\w+)\("([\w.]+)"\)', text)
    assert {path for part, name, path in calls if name in ("optional", "sentenceOrNone")} == set(OPTIONAL)
    return {PARTS[part] + path: name for part, name, path in calls if name != "optional"}


def swift_fields(name: str, prefix: str = "") -> dict[str, str]:
    """The type of each path that a ``Decodable`` structure has, with those inside it."""
    text = "".join(
        (SWIFT / file).read_text(encoding="utf-8") for file in ("Manifest.swift", "PromptTemplate.swift")
    )
    indent, body = re.search(
        rf"^( *)public struct {name}\b[^\n]*\{{\n(.*?)^\1\}}", text, re.M | re.S
    ).groups()
    coded = dict(re.findall(rf'^{indent}        case (\w+) = "(\w+)"', body, re.M))
    fields: dict[str, str] = {}
    for key, type_ in re.findall(rf"^{indent}    public let (\w+): (.*)$", body, re.M):
        path = prefix + coded.get(key, key)
        inner = re.fullmatch(r"(?:\[(?:String: )?)?(\w+)(?:\]\??)?", type_)
        if type_ in SWIFT_TYPES or inner is None:
            fields[path] = type_
        else:
            fields |= swift_fields(inner[1], f"{path}.*." if type_.startswith("[") else f"{path}.")
    return fields


def test_kotlin_reads_what_the_schema_has():
    fields = kotlin_fields()
    assert len(fields) > 25
    for path, function in fields.items():
        check(path, TYPES[function])
        if function == "size":
            assert field(path, OPTIONAL)["minimum"] == 1
            assert field(path, OPTIONAL)["maximum"] <= LARGEST
        if function == "texts":
            assert field(f"{path}.*", OPTIONAL)["type"] == "string"


def test_kotlin_reads_what_it_needs_of_the_npu():
    read = {path.removeprefix("npu.") for path in kotlin_fields() if path.startswith("npu.")}
    parts = SCHEMA["$defs"]
    chip = {f"compiled.*.{name}" for name in parts["CompiledGraphs"]["properties"]}
    all_of_it = set(parts["Npu"]["properties"]) | chip
    assert read <= all_of_it
    # How the graphs came about is for people, and for verify.
    assert all_of_it - read <= {"ranges", "compiled.*.compiler", "compiled.*.seconds"}


def test_swift_reads_what_the_schema_has():
    fields = swift_fields("Manifest")
    assert len(fields) > 25
    for path, type_ in fields.items():
        check(path, SWIFT_TYPES[type_])


def test_both_read_the_same():
    kotlin = {path for path in kotlin_fields() if not path.startswith(ONLY_KOTLIN)}
    assert swift_fields("Manifest").keys() == kotlin - {"files", "tiles.others"}


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        (SWIFT / "Manifest.swift", r"static let schema = (\d+)"),
        (KOTLIN / "Manifest.kt", r"val SCHEMA = (\d+)"),
    ],
)
def test_the_schemas_number(file, pattern):
    (number,) = re.findall(pattern, file.read_text(encoding="utf-8"))
    assert int(number) == manifest.SCHEMA


def test_a_field_of_another_type_is_found():
    for path, type_ in (("tiles.size", "string"), ("ids.end", "integer"), ("tiles.side", "integer")):
        with pytest.raises((AssertionError, KeyError)):
            check(path, type_)
