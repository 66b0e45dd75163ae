"""Sphinx's settings: pages in Markdown, the API from docstrings, nothing loaded from elsewhere.

Some pages lie elsewhere in the repository, where a reader of the code looks for them. In this folder each has
a page that names its source; the text is read when the site is built.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import phantom_edge

project = "phantom-edge"
version = release = phantom_edge.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
myst_enable_extensions = ["html_image"]
myst_heading_anchors = 3
default_role = "code"
highlight_language = "none"
python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
pygments_style, pygments_dark_style = "default", "monokai"
html_theme = "furo"
html_title = f"phantom-edge {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = html_show_sphinx = False
html_copy_source = False

ROOT = Path(__file__).parents[1]
PAGES = {
    "index": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
    "comparison": "benchmarks/README.md",
    "nano": "phantom_edge/nano/README.md",
}
LINK = re.compile(r'(?<=\]\()(?!https?:|#)([^)#\s]+)|(?<=src=")([^"]+)')


def setup(app: Sphinx) -> None:
    app.connect("source-read", _source)
    app.connect("missing-reference", _root_name)


def _source(app: Sphinx, page: str, text: list[str]) -> None:
    """Fill the pages that name their source, and lead links from page to page."""
    if page in PAGES:
        text[0] = (ROOT / PAGES[page]).read_text(encoding="utf-8") + text[0].partition("-->")[2]
    elif page == "reference/commands":
        text[0] = _commands()
    text[0] = LINK.sub(_moved, text[0])


def _moved(match: re.Match[str]) -> str:
    outside = match[0].removeprefix("../")
    page = next((page for page, source in PAGES.items() if source == outside), None)
    if page is not None:
        return f"{page}.md"
    return outside.removeprefix("docs/") if outside.startswith("docs/") else match[0]


def _root_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> Any:
    """A public name is documented at the root, wherever it is defined."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") == "py" and name in phantom_edge.__all__:
        target = f"phantom_edge.{name}"
        return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)
    return None


def _commands() -> str:
    """The help of every command, as tables."""
    from phantom_edge.cli import app

    root: Any = typer.main.get_command(app)
    parts = ["# Command line", root.help or ""]
    for name, command in sorted(root.commands.items()):
        parts += _command(name, command, root.context_class(root, info_name="phantom-edge"), "##")
    return "\n\n".join(parts)


def _command(name: str, command: Any, parent: Any, heading: str) -> list[str]:
    context = command.context_class(command, info_name=name, parent=parent)
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"{heading} {name}", command.help or "", f"```text\n{usage}\n```"]
    for sub, inner in sorted(getattr(command, "commands", {}).items()):
        parts += _command(sub, inner, context, f"{heading}#")
    rows = filter(None, (param.get_help_record(context) for param in command.get_params(context)))
    lines = [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in rows if name != "--help"]
    if lines:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *lines]))
    if command.epilog:
        label, _, examples = command.epilog.partition(": ")
        lines = [example.strip() for example in examples.split("  |  ")]
        parts.append("\n".join([f"{label}:\n", "```text", *lines, "```"]))
    return parts
