"""A hub of Hugging Face's protocol on this machine: one model, and every way in which a hub can fail."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from pathlib import Path

from hub_server import HubHandler, HubServer, running

COMMIT = "a" * 40
NAME = "someone/phantom-tiny"


class SmallHub(HubServer):
    """Serves ``folder`` as `NAME`. ``failure`` makes it fail; ``requests`` are the paths asked for.

    ``failure`` is an HTTP status with an error code (``(403, "GatedRepo")``), ``silent`` (no answer at all),
    ``dropped`` (each file's first answer ends in its middle), ``gated files`` (the list is given, files
    are not) or ``stuck`` (files are begun and never end).
    """

    def __init__(self, folder: Path):
        super().__init__(_Handler)
        self.folder = folder
        self.failure: object = None
        self.dropped: set[str] = set()


class _Handler(HubHandler):
    server: SmallHub

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub, path = self.server, self.path.split("?")[0]
        hub.requests.append(path)
        if hub.failure == "silent":
            hub.closing.wait(120)
            return
        if isinstance(hub.failure, tuple):
            self.fail(*hub.failure)
        elif path.startswith(f"/api/models/{NAME}/tree/"):
            self.answer_json([self._entry(file) for file in sorted(hub.folder.iterdir())])
        elif match := re.fullmatch(rf"/api/models/{NAME}(?:/revision/(.+))?", path):
            if match[1] not in (None, "main", "v1", COMMIT):
                self.fail(404, "RevisionNotFound")
                return
            files = [{"rfilename": f.name, "size": f.stat().st_size} for f in sorted(hub.folder.iterdir())]
            self.answer_json({"id": NAME, "sha": COMMIT, "siblings": files})
        elif match := re.fullmatch(rf"/{NAME}/resolve/[^/]+/(.+)", path):
            self._file(hub.folder / match[1], body)
        else:
            self.fail(404, "RepoNotFound")

    def _entry(self, file: Path) -> dict[str, object]:
        return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _digest(file)}

    def _file(self, file: Path, body: bool) -> None:
        hub, data = self.server, file.read_bytes()
        if hub.failure == "gated files":
            self.fail(403, "GatedRepo")
            return
        start = 0
        if value := self.headers.get("Range"):
            hub.ranges.append(f"{file.name} {value}")
            start = int(re.match(r"bytes=(\d+)-", value)[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{_digest(file)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not body:
            return
        if hub.failure == "dropped" and file.name not in hub.dropped and len(data) > 1000:
            hub.dropped.add(file.name)
            self.wfile.write(data[start : len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        if hub.failure == "stuck" and file.suffix == ".safetensors":
            self.wfile.write(data[start : start + 1000])
            self.wfile.flush()
            hub.closing.wait(120)
            return
        self.wfile.write(data[start:])


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def small_hub(folder: Path):
    """A running hub that serves a checkpoint's folder."""
    with running(SmallHub(folder)) as hub:
        yield hub
