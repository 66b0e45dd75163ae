"""Every Swift and Kotlin source parses, also where there is no compiler to say so."""

from __future__ import annotations

from pathlib import Path

import pytest

APPS = Path(__file__).parents[2] / "apps"
SOURCES = {"swift": APPS / "ios" / "PhantomEdge", "kotlin": APPS / "android" / "phantomedge"}


def first_error(node) -> str | None:
    """Where the first part of a syntax tree is that fits no rule."""
    if node.type == "ERROR" or node.is_missing:
        return f"line {node.start_point[0] + 1}: {node.text.decode()[:80]}"
    if not node.has_error:
        return None
    return next(filter(None, map(first_error, node.children)), None)


@pytest.mark.parametrize("language", SOURCES)
def test_sources_parse(language):
    tree_sitter = pytest.importorskip("tree_sitter", reason="needs tree-sitter")
    grammar = pytest.importorskip(f"tree_sitter_{language}", reason="needs tree-sitter")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    paths = [
        p
        for kind in ("*.swift", "*.kt", "*.kts")
        for p in SOURCES[language].rglob(kind)
        if ".build" not in p.parts
    ]
    assert len(paths) > 20
    wrong = {p.name: first_error(parser.parse(p.read_bytes()).root_node) for p in paths}
    assert {name: error for name, error in wrong.items() if error} == {}
    assert first_error(parser.parse(b"func { ( ]").root_node)
