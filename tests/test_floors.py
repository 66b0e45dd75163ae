"""A room imports what is on its own floor or below, never what is above, and never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "phantom_edge"

# From the ground up. Rooms of one floor may know each other as long as they form no circle.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "progress", "records", "versions", "system", "numbers"),
    ("text", "images", "crop", "checkpoint", "scenes"),
    ("model",),
    ("bundle", "mil", "report"),
    ("training", "quantize", "export", "targets"),
    ("runtime",),
    ("evaluate", "tune"),
    ("pipeline",),
    ("apps", "bench", "publish"),
    ("serve", "sweep"),
    ("", "cli", "__main__", "optimum_register"),
)
FORMATS = ("coreai", "coreml", "executorch", "executorch_coreml", "onnx")


def _modules() -> dict[str, Path]:
    """Every module's dotted name below the package, the root itself as an empty name."""
    names = {}
    for path in (ROOT / PACKAGE).rglob("*.py"):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = _modules()


def _imports(name: str) -> set[str]:
    """Modules of the package that a module names in an import, at its top or inside a function."""
    targets = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            base = node.module.removeprefix(PACKAGE).removeprefix(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".removeprefix(".")
                targets.add(full if full in MODULES else base)
        elif isinstance(node, ast.Import):
            targets |= {
                alias.name.removeprefix(f"{PACKAGE}.")
                for alias in node.names
                if alias.name.startswith(f"{PACKAGE}.")
            }
    return targets - {name}


IMPORTS = {name: _imports(name) for name in MODULES}
ROOMS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def _room(name: str) -> str:
    return name.split(".")[0]


def test_every_room_has_a_floor():
    assert {_room(name) for name in MODULES} == set(ROOMS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_arrow_leads_up(name):
    # The root's own facts (the version) are for everyone; its public names are loaded lazily.
    above = [t for t in IMPORTS[name] if t and ROOMS[_room(t)] > ROOMS[_room(name)]]
    assert not above, f"{name} imports {', '.join(sorted(above))}, which stand above it"


def test_no_circles():
    """Neither between modules nor between rooms."""
    rooms: dict[str, set[str]] = {}
    for name, targets in IMPORTS.items():
        rooms.setdefault(_room(name), set()).update(
            _room(t) for t in targets if t and _room(t) != _room(name)
        )
    assert not _circle(rooms)
    # A package may name its own modules, and they what it exports.
    assert not _circle({n: {t for t in ts if t and not n.startswith(f"{t}.")} for n, ts in IMPORTS.items()})


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """The first circle, as the names along it; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if circle := visit(target, [*path, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := visit(name, []))), [])


def test_a_circle_is_noticed():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert not _circle({"a": {"b", "c"}, "b": {"c"}})


def test_formats_do_not_know_each_other():
    """One package per format; the one that is made of two composes them and is imported by neither."""
    for name, targets in IMPORTS.items():
        if name.startswith("export.") and (own := name.split(".")[1]) in FORMATS:
            others = {t.split(".")[1] for t in targets if t.startswith("export.") and t.count(".")} & set(
                FORMATS
            )
            allowed = {own, "coreml", "executorch"} if own == "executorch_coreml" else {own}
            assert others <= allowed, f"{name} imports {sorted(others - allowed)}"


def test_private_names_stay_at_home():
    """What begins with an underscore is used in its own module only."""
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
                private = [
                    a.name for a in node.names if a.name.startswith("_") and not a.name.startswith("__")
                ]
                assert not private, f"{name} imports {private} from {node.module}"
