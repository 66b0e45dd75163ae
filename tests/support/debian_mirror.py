"""A mirror with small Debian packages: it knows ranges, notes what is asked, and can break off."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from phantom_edge.runtime.arm.packages import DebianPackage


def package(name: str, data: bytes, **changes) -> DebianPackage:
    """The row of a table for a package file."""
    digest = hashlib.sha256(data).hexdigest()
    row = {"version": "1.0", "path": f"pool/{name}_1.0_arm64.deb", "size": len(data), "sha256": digest}
    return DebianPackage(name, **{**row, **changes})


def deb(files: dict[str, bytes | str]) -> bytes:
    """A package file with ``files``; a text is the target of a link of that name."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size, member.mode = len(content), 0o755
                archive.addfile(member, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": inner.getvalue()}
    return b"!<arch>\n" + b"".join(_entry(name, data) for name, data in parts.items())


def _entry(name: str, data: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{0o100644:<8o}{len(data):<10}`\n".encode()
    return head + data + b"\n" * (len(data) % 2)


class Mirror(ThreadingHTTPServer):
    """Serves ``files`` by path; ``breaks`` is after how many bytes of an answer the connection ends."""

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.breaks = files, None
        self.asked: list[tuple[str, str | None]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self):
        path, part = self.path.lstrip("/"), self.headers.get("Range")
        self.server.asked.append((path, part))
        if path not in self.server.files:
            self.send_error(404)
            return
        data = self.server.files[path]
        start = int(part.removeprefix("bytes=").rstrip("-")) if part else 0
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: self.server.breaks])

    def log_message(self, *_):
        pass


@contextmanager
def mirror(files: dict[str, bytes]) -> Iterator[Mirror]:
    """A mirror that serves while the block runs."""
    with Mirror(files) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
