"""Two bundles that servers serve: Nano, which answers, and a random model that goes on to its last token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, api_server
from PIL import Image

import phantom_edge as pe
from phantom_edge.scenes.write import write_scenes

pytest.importorskip("fastapi", reason="needs the extra phantom-edge[serve]")
pytest.importorskip("openai", reason="needs the openai client")


@pytest.fixture(scope="session")
def nano(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "nano"
    pe.export(pe.ExportRequest(target="desktop", output=folder, verify=False))
    return folder


@pytest.fixture(scope="session")
def endless(tmp_path_factory, tiny_dirs) -> Path:
    """A model that says nothing of sense for 4,000 tokens."""
    folder = tmp_path_factory.mktemp("serve") / "endless"
    request = pe.ExportRequest(
        target="desktop", model=str(tiny_dirs["qwen2"]), output=folder, verify=False, context=4096
    )
    pe.export(request)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> list[Image.Image]:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, split="train", count=3)
    return [Image.open(folder / f"{n:06}.png").convert("RGB") for n in range(3)]


@pytest.fixture(scope="module")
def server(nano) -> Iterator[ApiServer]:
    """Nano's, which has no key and few limits."""
    with api_server("--model", str(nano), "--max-body", "2", "--queue", "8") as running:
        yield running


@pytest.fixture(scope="module")
def session(nano) -> pe.Session:
    """What the server must answer like."""
    return pe.Session.open(nano)
