"""Bundles of Phantom-Nano for every target, small contexts, exported once; a phone for the Android driver."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_server import AdbServer
from fake_phone import SERIAL, Phone

from phantom_edge.bench.android import app, runner
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


@pytest.fixture
def device(tmp_path, monkeypatch) -> Iterator[Phone]:
    phone = Phone(tmp_path / "phone")
    monkeypatch.setattr(runner, "POLL", 0.05)
    monkeypatch.setattr(runner, "SAMPLE", 0.05)
    monkeypatch.setattr(app, "POLL", 0.05)
    with AdbServer(phone.root, SERIAL) as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.server_address[1]))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield phone
        server.shutdown()


@pytest.fixture
def program(tmp_path) -> Path:
    """A runner "built for the phone": its ELF header says AArch64."""
    path = tmp_path / "gemma3_e2e_runner"
    head = bytearray(Path(sys.executable).resolve().read_bytes()[:64])
    head[18:20] = (0xB7).to_bytes(2, "little")
    path.write_bytes(bytes(head) + b"\0" * 4000)
    return path
