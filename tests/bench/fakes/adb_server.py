"""An adb server: its smart-socket protocol in front of the phone in a folder (`fakes/adb`).

What OVERVIEW.TXT, SERVICES.TXT and SYNC.TXT of adb's sources describe, as far as devices, shell and push need
it: a request is four hexadecimal digits of length and a text, an answer OKAY or FAIL. A lost phone fails, and
a connection that breaks during a command is closed without the command's exit status.
"""

from __future__ import annotations

import os
import socketserver
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = 41  # of adb 1.0.41
FEATURES = b"shell_v2,cmd"
STDOUT, STDERR, EXIT = 1, 2, 3
FAKE = Path(__file__).with_name("adb")


class AdbServer(socketserver.ThreadingTCPServer):
    """On a free port; ``root`` is the phone's folder, ``serial`` its only device's."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, root: Path, serial: str):
        super().__init__(("127.0.0.1", 0), _Connection)
        self.root, self.serial = root, serial

    @property
    def gone(self) -> Path:
        return self.root / "gone"

    def fake(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-IS", str(FAKE), "-s", self.serial, *arguments]
        return subprocess.run(command, capture_output=True, env={**os.environ, "FAKE_PHONE": str(self.root)})


class _Connection(socketserver.StreamRequestHandler):
    server: AdbServer
    timeout = 60  # seconds: a test that waits for what never comes ends

    def handle(self) -> None:
        while size := self.rfile.read(4):
            if not self._answered(self.rfile.read(int(size, 16)).decode()):
                return

    def _answered(self, service: str) -> bool:
        """Whether another request may follow on this connection: after a transport was chosen one does."""
        name = service.partition(":")[2]
        if service == "host:version":
            self._okay(f"{VERSION:04x}".encode())
        elif service.startswith("host:devices"):
            self._okay((self.server.root / "devices").read_bytes())
        elif service.endswith(":wait-for-any-device"):
            self.server.fake("wait-for-device", "shell", "true")
            self.wfile.write(b"OKAYOKAY")
        elif self.server.gone.exists():
            self._fail(f"device '{self.server.serial}' not found")
        elif service.endswith(":features"):
            self._okay(FEATURES)
        elif service.startswith("host:tport:"):
            self.wfile.write(b"OKAY" + struct.pack("<Q", 1))
            return True
        elif service.startswith("host:transport:"):
            self.wfile.write(b"OKAY")
            return True
        elif service.startswith("shell"):
            self._shell(name)
        elif service == "sync:":
            self._sync()
        else:
            self._fail(f"unknown host service {service!r}")
        return False

    def _shell(self, command: str) -> None:
        self.wfile.write(b"OKAY")
        done = self.server.fake("shell", command)
        for kind, data in ((STDOUT, done.stdout), (STDERR, done.stderr), (EXIT, bytes([done.returncode]))):
            if self.server.gone.exists() and kind != STDOUT:
                return  # the connection broke: neither an error nor an exit status arrives
            if data:
                self.wfile.write(struct.pack("<BI", kind, len(data)) + data)

    def _sync(self) -> None:
        self.wfile.write(b"OKAY")
        while len(head := self.rfile.read(8)) == 8:
            kind, size = struct.unpack("<4sI", head)
            if kind == b"QUIT":
                return
            path = self.rfile.read(size).decode()
            if kind == b"STAT":
                self.wfile.write(struct.pack("<4sIII", b"STAT", *self._stat(path)))
            elif kind == b"SEND":
                if not self._received(path.rpartition(",")[0]):
                    return  # the connection broke
            else:
                raise AssertionError(f"sync request {kind!r}")

    def _stat(self, path: str) -> tuple[int, int, int]:
        try:
            entry = (self.server.root / "fs" / path.lstrip("/")).stat()
        except OSError:
            return 0, 0, 0
        return entry.st_mode, entry.st_size, int(entry.st_mtime)

    def _received(self, remote: str) -> bool:
        with tempfile.NamedTemporaryFile() as file:
            while True:
                kind, size = struct.unpack("<4sI", self.rfile.read(8))
                if kind == b"DONE":
                    break
                file.write(self.rfile.read(size))
            file.flush()
            self.server.fake("push", file.name, remote)
        if self.server.gone.exists():
            return False
        self.wfile.write(struct.pack("<4sI", b"OKAY", 0))
        return True

    def _okay(self, text: bytes) -> None:
        self.wfile.write(b"OKAY" + f"{len(text):04x}".encode() + text)

    def _fail(self, why: str) -> None:
        self.wfile.write(b"FAIL" + f"{len(why):04x}{why}".encode())
