"""Advice names what exists: every `--option` and every `phantom-edge COMMAND` in the package's own words."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer

import phantom_edge
from phantom_edge.cli import app

PACKAGE = Path(phantom_edge.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
COMMAND = re.compile(r"`phantom-edge ([a-z]+)")
FOREIGN = {"--es", "--hash", "--head", "--host-resolver-rules", "--local-dir"}
"""Of Android's `am`, of pip's requirements, of `ray start`, of Chromium, and of `hf download`."""


def commands(group: Any) -> list[Any]:
    """Every command, those inside groups too."""
    known = list(group.commands.values())
    return known + [inner for command in known if hasattr(command, "commands") for inner in commands(command)]


ROOT = typer.main.get_command(app)
COMMANDS = {command.name for command in commands(ROOT)}
OPTIONS = {
    option
    for command in (ROOT, *commands(ROOT))
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
}


def sentences(source: str) -> list[str]:
    """Texts with a space that are no docstrings, the parts of one sentence joined."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values]
            texts.append("".join(parts))
        elif isinstance(node, ast.Constant) and id(node) not in documentation | inside:
            texts.append(str(node.value))
    return [text for text in texts if " " in text]


def unknown(text: str) -> set[str]:
    """What a text advises that the command line does not have."""
    options = set(OPTION.findall(text)) - OPTIONS - FOREIGN - {"--help"}
    return options | {name for name in COMMAND.findall(text) if name not in COMMANDS}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_advice_names_what_exists(path):
    wrong = {text[:120]: names for text in sentences(path.read_text("utf-8")) if (names := unknown(text))}
    assert not wrong


def test_what_does_not_exist_is_seen():
    text = '"""Docs of --nothing."""\nraise E(f"{x} is bad; use --recipe fp32 " "or `phantom-edge fly`")'
    assert [unknown(one) for one in sentences(text)] == [{"--recipe", "fly"}]
    assert len(OPTIONS) > 60
    assert {"export", "serve"} <= COMMANDS
