"""A hub of Hugging Face's protocol on this machine that takes uploads, and every way in which it can refuse.

Repositories with branches and commits, files by git's and by LFS's rules, tokens: as far as the library asks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from hub_server import HubHandler, HubServer, running

TOKEN = "hf_secretOfTheTests"
OWNER = "someone"
LARGE = 1000  # bytes from which a file that is no text goes by LFS


@dataclass
class Repository:
    """``commits`` by their ids, each its files; ``branches`` name the last of each."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], branch: str = "main", message: str = "") -> str:
        number = hashlib.sha1(f"{len(self.commits)} {sorted(files)} {branch}".encode()).hexdigest()
        self.commits[number], self.branches[branch] = dict(files), number
        self.messages.append(message)
        return number

    def files(self, revision: str = "main") -> dict[str, bytes] | None:
        return self.commits.get(self.branches.get(revision, revision))


class ModelHub(HubServer):
    """A hub whose attributes make it fail, and count.

    ``refuse`` maps a part of a request to a status, what is ``stuck`` is never answered, the answer to a path
    of ``cut`` stops after so many bytes, that to one of ``tampered`` is other content, that to one of
    ``longer`` more than was said, and a ``pause`` comes before each piece that is received.

    ``requests`` are method and path, ``received`` the bytes of each file that was sent to the storage,
    ``sent`` those of each that was asked for, ``ranges`` the pieces that were.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.repositories: dict[str, Repository] = {}
        self.storage: dict[str, bytes] = {}
        self.refuse: dict[str, int] = {}
        self.stuck = ""
        self.cut: dict[str, int] = {}
        self.tampered: dict[str, bytes] = {}
        self.longer: dict[str, bytes] = {}
        self.pause = 0.0
        self.received: dict[str, int] = {}
        self.sent: dict[str, int] = {}

    def forget(self) -> None:
        """Count from here."""
        for counter in (self.requests, self.received, self.sent, self.ranges):
            counter.clear()


class _Handler(HubHandler):
    server: ModelHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._route()

    do_GET = do_POST = do_PUT = do_HEAD

    def _route(self) -> None:
        hub, path = self.server, unquote(self.path.split("?")[0])
        hub.requests.append(f"{self.command} {path}")
        body = self._body()
        if hub.stuck and hub.stuck in path:
            hub.closing.wait(120)
            return
        for part, status in hub.refuse.items():
            if part in f"{self.command} {path}":
                self.fail(status, "Other")
                return
        for pattern, method in _ROUTES:
            if match := re.fullmatch(pattern, path):
                getattr(self, method)(body, *match.groups())
                return
        self.fail(404, "RepoNotFound")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return self._chunks()
        left, data = int(self.headers.get("Content-Length") or 0), b""
        while left > len(data):
            time.sleep(self.server.pause)
            data += self.rfile.read(min(1 << 20, left - len(data)))
        return data

    def _chunks(self) -> bytes:
        """A body whose length was not said."""
        data = b""
        while size := int(self.rfile.readline(), 16):
            time.sleep(self.server.pause)
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    # --- what there is ----------------------------------------------------------------------------------

    def info(self, body, name, revision) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        files = repository.files(revision or "main")
        if files is None:
            self.fail(404, "RevisionNotFound")
            return
        commit = repository.branches.get(revision or "main", revision)
        siblings = [{"rfilename": path, **_facts(path, data)} for path, data in sorted(files.items())]
        card = _front(files.get("README.md", b""))
        self.answer_json(
            {"id": name, "sha": commit, "private": repository.private, "siblings": siblings, "cardData": card}
        )

    def tree(self, body, name, revision) -> None:
        repository = self._repository(name)
        if repository is not None:
            files = repository.files(revision) or {}
            self.answer_json(
                [{"type": "file", "path": p, "oid": _git(d), **_facts(p, d)} for p, d in files.items()]
            )

    def file(self, body, name, revision, path) -> None:
        hub, repository = self.server, self._repository(name)
        if repository is None:
            return
        data = (repository.files(revision) or {}).get(path)
        if data is None:
            self.fail(404, "EntryNotFound")
            return
        digest = _digest(data) if _is_large(path, len(data)) else _git(data)
        data, start = hub.tampered.get(path, data), 0
        if value := self.headers.get("Range"):
            hub.ranges.append(f"{path} {value}")
            start = int(re.match(r"bytes=(\d+)-", value)[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", repository.branches.get(revision, revision))
        if path in hub.longer and self.command == "GET":
            data = hub.longer[path]
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        part = data[start : hub.cut[path]] if path in hub.cut else data[start:]
        hub.sent[path] = hub.sent.get(path, 0) + len(part)
        self.wfile.write(part)
        self.wfile.flush()
        if path in hub.cut:
            hub.closing.wait(120)

    # --- what is sent -----------------------------------------------------------------------------------

    def create(self, body, *_) -> None:
        wish = json.loads(body)
        if not self._is_owner(wish["organization"]):
            return
        name = f"{wish['organization']}/{wish['name']}"
        if name in self.server.repositories:
            self.fail(409, "Exists")
            return
        private = wish.get("visibility") == "private" or bool(wish.get("private"))
        self.server.repositories[name] = repository = Repository(private)
        repository.commit({".gitattributes": b"*.onnx filter=lfs\n"}, message="initial commit")
        self.answer_json({"url": f"{self.server.url}/{name}"})

    def branch(self, body, name, branch) -> None:
        repository = self._repository(name, write=True)
        if repository is not None:
            repository.branches.setdefault(branch, repository.branches["main"])
            self.answer_json({})

    def preupload(self, body, name, revision) -> None:
        repository = self._repository(name, write=True)
        if repository is None:
            return
        there, rows = repository.files(revision) or {}, []
        for file in json.loads(body)["files"]:
            path, data = file["path"], there.get(file["path"])
            mode = "lfs" if _is_large(path, file["size"]) else "regular"
            oid = None if data is None else (_digest(data) if _is_large(path, len(data)) else _git(data))
            rows.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.answer_json({"files": rows})

    def batch(self, body, name) -> None:
        if self._repository(name, write=True) is None:
            return
        rows = []
        for one in json.loads(body)["objects"]:
            row = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.server.storage:
                row["actions"] = {"upload": {"href": f"{self.server.url}/storage/{one['oid']}"}}
            rows.append(row)
        self.answer_json({"transfer": "basic", "objects": rows})

    def store(self, body, digest) -> None:
        hub = self.server
        hub.received[digest] = hub.received.get(digest, 0) + len(body)
        if _digest(body) != digest:
            self.fail(400, "Digest")
            return
        hub.storage[digest] = body
        self.answer_json({})

    def commit(self, body, name, branch) -> None:
        repository = self._repository(name, write=True)
        if repository is None:
            return
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repository.branches[branch]):
            self.fail(412, "Precondition")
            return
        files = dict(repository.files(branch) or {})
        for line in lines[1:]:
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.server.storage[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        commit = repository.commit(files, branch, header["summary"])
        url = f"{self.server.url}/{name}/commit/{commit}"
        self.answer_json({"commitUrl": url, "commitOid": commit, "pullRequestUrl": None})

    def valid(self, body, *_) -> None:
        content = json.loads(body)["content"]
        wrong = content.startswith("---") and "license" not in content and "library_name" not in content
        self.answer_json({"errors": [{"message": "no metadata"}] if wrong else [], "warnings": []})

    # --- answers ----------------------------------------------------------------------------------------

    def _repository(self, name: str, write: bool = False) -> Repository | None:
        repository = self.server.repositories.get(name)
        if write and not self._is_owner(name.partition("/")[0]):
            return None
        if repository is None or (repository.private and not self._has_token()):
            self.fail(404 if self._has_token() else 401, "RepoNotFound")
            return None
        return repository

    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _is_owner(self, owner: str) -> bool:
        if not self._has_token():
            self.fail(401, "")
        elif owner != OWNER:
            self.fail(403, "")
        else:
            return True
        return False


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "valid"),
    (rf"/api/models/{_NAME}(?:/revision/(.+))?", "info"),
    (rf"/api/models/{_NAME}/tree/([^/]+)", "tree"),
    (rf"/api/models/{_NAME}/branch/(.+)", "branch"),
    (rf"/api/models/{_NAME}/preupload/(.+)", "preupload"),
    (rf"/api/models/{_NAME}/commit/(.+)", "commit"),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"/storage/(\w+)", "store"),
    (rf"/{_NAME}/resolve/([^/]+)/(.+)", "file"),
)


def _is_large(path: str, size: int) -> bool:
    return size >= LARGE and not path.endswith((".md", ".json"))


def _facts(path: str, data: bytes) -> dict[str, object]:
    facts: dict[str, object] = {"size": len(data), "blobId": _git(data)}
    if _is_large(path, len(data)):
        facts["lfs"] = {"sha256": _digest(data), "oid": _digest(data), "size": len(data), "pointerSize": 130}
    return facts


def _front(card: bytes) -> dict[str, str]:
    """The lines ``name: value`` between a card's two rules."""
    parts = card.decode().split("---\n")
    lines = parts[1].splitlines() if len(parts) > 2 else []
    return {name: value for name, _, value in (line.partition(": ") for line in lines) if value}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def model_hub() -> Iterator[ModelHub]:
    """A running hub without any model."""
    with running(ModelHub()) as hub:
        yield hub


def point_at(monkeypatch, hub: ModelHub, cache, token: str | None = TOKEN) -> None:
    """Settings of the hub's library, which reads them once: here, and in the processes that work with it."""
    for name, value in {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(cache),
        "HF_HUB_CACHE": str(cache / "hub"),
        "HF_TOKEN_PATH": str(cache / "token"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "5",
        "XDG_CACHE_HOME": str(cache / "own"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
