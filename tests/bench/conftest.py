"""Bundles of Phantom-Nano for every target, small contexts, exported once."""

from __future__ import annotations

from pathlib import Path

import pytest

from phantom_edge.pipeline.export import ExportRequest, export

TARGETS = ("web", "android", "ios", "desktop")
CONTEXT = 256


class Bundles:
    """By target; each is exported when it is first asked for."""

    def __init__(self, root: Path):
        self.root = root

    def __getitem__(self, target: str) -> Path:
        assert target in TARGETS
        folder = self.root / f"nano-{target}"
        if not folder.exists():
            export(ExportRequest(target=target, output=folder, context=CONTEXT, verify=False))
        return folder


@pytest.fixture(scope="session")
def bundles(tmp_path_factory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("bundles"))
