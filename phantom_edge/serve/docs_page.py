"""The page ``/docs``: what the API takes, from its own description, in one file that loads nothing."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any, Final

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
pre { overflow: auto; padding: .8rem; border: 1px solid #8884; border-radius: .4rem; font-size: .85rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .6rem .3rem 0;
vertical-align: top; border-bottom: 1px solid #8884 } h2 { margin-top: 2.2rem }
"""


def docs_page(description: Mapping[str, Any], address: str, model: str) -> str:
    """The page of an OpenAPI description; ``address`` is the server's, for an example that works."""
    info = description["info"]
    parts = [f"<h1>{_text(info['title'])}</h1>", f"<p>{_text(info['description'])}</p>"]
    parts += ["<h2>Try it</h2>", f"<pre>{_text(_example(address, model))}</pre>"]
    for path, methods in description["paths"].items():
        for method, facts in methods.items():
            parts.append(f"<h2><code>{_text(method.upper())} {_text(path)}</code></h2>")
            parts.append(f"<p>{_text(facts.get('description') or facts.get('summary', ''))}</p>")
            if body := facts.get("requestBody"):
                parts.append(_fields(body["content"]["application/json"]["schema"]))
    parts.append('<p><a href="openapi.json">openapi.json</a></p>')
    title = f"<title>{_text(info['title'])}</title>"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8">{title}<style>{_STYLE}</style>'
    return head + "<body>" + "\n".join(parts) + "</body></html>\n"


def _fields(schema: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{_text(name)}</code></td><td>{_text(field.get('description', ''))}</td></tr>"
        for name, field in schema["properties"].items()
    ]
    whole = json.dumps(schema, indent=2)
    details = f"<details><summary>JSON schema</summary><pre>{_text(whole)}</pre></details>"
    return f"<table><tr><th>field</th><th></th></tr>{''.join(rows)}</table>{details}"


def _example(address: str, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "What can you see?"}]}
    kind = "-H 'Content-Type: application/json'"
    return f"curl {address}v1/chat/completions {kind} -d '{json.dumps(body)}'"


def _text(value: str) -> str:
    return html.escape(value)
