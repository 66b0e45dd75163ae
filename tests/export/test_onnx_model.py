"""The list of operations is what the exporter writes, no more and no less."""

from __future__ import annotations

import ast
from pathlib import Path

import phantom_edge
from phantom_edge.export.onnx_model import OPERATIONS

WRITERS = ("node", "make_node")
FREE = {"domain", "outputs"}  # parameters of the writers that are no attributes


def written() -> dict[tuple[str, str], set[str]]:
    """Operations by domain and name with the attributes that are spelled out where they are written."""
    operations: dict[tuple[str, str], set[str]] = {}
    for path in Path(phantom_edge.__path__[0], "export", "onnx").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            if getattr(call.func, "attr", getattr(call.func, "id", "")) not in WRITERS:
                continue
            if not call.args or not isinstance(call.args[0], ast.Constant):
                continue  # the writer itself, which hands a name on
            domain = any(keyword.arg == "domain" for keyword in call.keywords)
            key = ("com.microsoft" if domain else "", call.args[0].value)
            names = {keyword.arg for keyword in call.keywords if keyword.arg} - FREE
            operations.setdefault(key, set()).update(names)
    return operations


def test_every_operation_that_is_written_is_allowed_and_no_other():
    assert set(written()) == set(OPERATIONS)


def test_every_attribute_that_is_written_is_allowed():
    for operation, attributes in written().items():
        assert attributes <= OPERATIONS[operation], operation
