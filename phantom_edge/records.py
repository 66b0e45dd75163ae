"""Frozen dataclasses as JSON and back: read strictly, written whole, and described by a JSON Schema.

The types of the fields say everything: dataclasses, ``tuple[X, ...]``, ``Mapping[str, X]``, unions, ``Any``
and plain values. ``Annotated[int, limits(minimum=1)]`` adds keywords of JSON Schema, which are checked when
reading. A class with ``parse`` is written as its text. A field's name in JSON is its own, unless
``field(metadata={"json": name})`` gives another; with ``{"optional": True}`` it may be absent, and then has
its default.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from phantom_edge.errors import MAX_SHOWN, InputError, did_you_mean, one_line, shown
from phantom_edge.system.reading import reading

Record = TypeVar("Record")
_PLAIN: Final = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}
_CHECKS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "enum": lambda value, allowed: value in allowed,
    "minimum": lambda value, least: value >= least,
    "maximum": lambda value, most: value <= most,
    "minLength": lambda text, least: len(text) >= least,
    "maxLength": lambda text, most: len(text) <= most,
    "minItems": lambda items, least: len(items) >= least,
    "maxItems": lambda items, most: len(items) <= most,
    "pattern": lambda text, pattern: re.search(_ends(pattern), text) is not None,
}


def _ends(pattern: str) -> str:
    """A pattern of JSON Schema in Python's form, whose ``$`` lets a line break follow: it is the very end."""
    return f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern


def limits(**keywords: Any) -> tuple[tuple[str, Any], ...]:
    """Keywords of JSON Schema for an ``Annotated`` type; ``title`` says in words what is expected.

    >>> limits(minimum=1, maximum=9)
    (('minimum', 1), ('maximum', 9))
    """
    return tuple(keywords.items())


def to_json(value: Any) -> Any:
    """A record as objects, lists and plain values, every field present."""
    if hasattr(value, "parse"):
        return str(value)
    if is_dataclass(value):
        return {_json_name(f): to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    return [to_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_json(kind: type[Record], value: Any) -> Record:
    """The record that :func:`to_json` wrote.

    Raises:
        InputError: a field is missing, unknown, of another type or outside its limits; begins with its path.
    """
    with reading("it", "write it anew"):
        record: Record = _read(kind, value, "")
        return record


def json_schema(kind: type) -> dict[str, Any]:
    """JSON Schema (2020-12) of a record; descriptions are the docstrings of its classes and fields."""
    definitions: dict[str, Any] = {}
    _schema(kind, definitions)
    root = definitions.pop(kind.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.__name__,
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _json_name(field: Field[Any]) -> str:
    return str(field.metadata.get("json", field.name))


def _optional(kind: Any) -> set[str]:
    """Names in JSON of the fields that may be absent, as files have it that were written before them."""
    return {_json_name(field) for field in fields(kind) if field.metadata.get("optional")}


def _read(kind: Any, value: Any, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _limited(_read(arguments[0], value, path), dict(arguments[1]), path)
    if origin in (Union, UnionType):
        if type(value) in arguments:
            return value
        records = [argument for argument in arguments if argument not in _PLAIN]
        return _read(records[0], value, path) if records else _plain(arguments, value, path)
    if origin is tuple:
        items = value if isinstance(value, list) else _refuse(path, value, "a list")
        return tuple(_read(arguments[0], item, f"{path}[{n}]") for n, item in enumerate(items))
    if origin is Mapping:
        items = value if isinstance(value, dict) else _refuse(path, value, "an object")
        return {
            _read(arguments[0], n, path): _read(arguments[1], v, _join(path, n)) for n, v in items.items()
        }
    if hasattr(kind, "parse"):
        return kind.parse(_read(str, value, path))
    if is_dataclass(kind):
        return _fields(kind, value, path)
    return value if kind is Any else _plain((kind,), value, path)


def _fields(kind: Any, value: Any, path: str) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    known = {_json_name(field): field.name for field in fields(kind)}
    if not isinstance(value, dict):
        _refuse(path, value, "an object")
    for name in known.keys() - _optional(kind):
        if name not in value:
            raise InputError(f"{_join(path, name)} is missing")
    for name in value:
        if name not in known:
            raise InputError(f"{_join(path, name)} is not a known field{did_you_mean(name, known)}")
    there = [(name, own) for name, own in known.items() if name in value]
    return kind(**{own: _read(hints[own], value[name], _join(path, name)) for name, own in there})


def _plain(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if type(value) in kinds:
        return value
    if type(value) is int and float in kinds:
        return float(value)
    return _refuse(path, value, " or ".join(_PLAIN[kind] for kind in kinds))


def _limited(value: Any, keywords: dict[str, Any], path: str) -> Any:
    title = keywords.pop("title", None)
    if all(_CHECKS[keyword](value, limit) for keyword, limit in keywords.items()):
        return value
    return _refuse(path, value, title or ", ".join(f"{word} {limit}" for word, limit in keywords.items()))


def _refuse(path: str, value: Any, expected: str) -> Any:
    raise InputError(f"{path or 'it'} is {shown(value)}, expected {expected}")


def _join(path: str, name: str) -> str:
    name = one_line(name, MAX_SHOWN)
    return f"{path}.{name}" if path else name


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _schema(arguments[0], definitions) | dict(arguments[1])
    if origin in (Union, UnionType):
        if all(argument in _PLAIN for argument in arguments):
            return {"type": [_PLAIN[argument] for argument in arguments]}
        return {"anyOf": [_schema(argument, definitions) for argument in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is Mapping:
        key, item = (_schema(argument, definitions) for argument in arguments)
        names = {} if key == {"type": "string"} else {"propertyNames": key}
        return {"type": "object", **names, "additionalProperties": item}
    if hasattr(kind, "parse"):
        return {"type": "string"}
    if is_dataclass(kind):
        name = getattr(kind, "__name__", "")
        definitions[name] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    return {} if kind is Any else {"type": _PLAIN[kind]}


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints, docs = get_type_hints(kind, include_extras=True), _field_docs(kind)
    properties = {}
    for field in fields(kind):
        described = {"description": docs[field.name]} if field.name in docs else {}
        properties[_json_name(field)] = described | _schema(hints[field.name], definitions)
    return {
        "description": " ".join(inspect.cleandoc(kind.__doc__).split("\n\n")[0].split()),
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in _optional(kind)],
        "additionalProperties": False,
    }


def _field_docs(kind: type) -> dict[str, str]:
    """The strings that stand below the fields in a class's source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            docs[ast.unparse(field.target)] = " ".join(str(ast.literal_eval(below.value)).split())
    return docs
